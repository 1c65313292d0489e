"""The table of runs: only the lines that are on the screen are drawn, so 10,000 cost what 20 do."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from mlxpy_core._io._text import clean
from mlxpy_core._reading._column_widths import shortened_heads
from mlxpy_core._runs._status import STATUS_COLORS

from ._live_run import Live
from ._runs import ID, METRIC, PROGRESS, STATUS, View
from ._texts import bar_text, curve_text, fitted, outlook_text, value_text

_GAP = "  "
_QUEUE, _CURVE = "queue", "curve"
_NARROW, _WIDE = 8, 24  # characters of a setting
_LOOKED_AT = 200  # runs, for the width of a column
_MARK = "*"


@dataclass(frozen=True)
class _Column:
    """A column.

    Attributes:
        name: its name, which no other has.
        head: its head.
        width: its width.
        right: whether its cells stand at the right.
    """

    name: str
    head: str
    width: int
    right: bool = False


class RunTable(ScrollView):
    """Shows runs, one of which is under the cursor, and which can be marked.

    Attributes:
        marked: the numbers of the marked runs.
    """

    can_focus = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home,g", "move(-1000000000)", show=False),
        Binding("end,G", "move(1000000000)", show=False),
    ]
    DEFAULT_CSS = """
    RunTable { height: 1fr; overflow-x: hidden; }
    """

    class Opened(Message):
        """A run was clicked twice.

        Attributes:
            log_id: its number.
        """

        def __init__(self, log_id: int) -> None:
            super().__init__()
            self.log_id = log_id

    class Moved(Message):
        """Other runs are on the screen."""

    def __init__(self) -> None:
        super().__init__()
        self.marked: set[int] = set()
        self._view = View()
        self._live: dict[int, Live] = {}
        self._cursor = 0
        self._columns: list[_Column] = []

    @property
    def current(self) -> int | None:
        """The number of the run under the cursor; None if there is none."""
        ids = self._view.log_ids
        return ids[self._cursor] if self._cursor < len(ids) else None

    @property
    def chosen(self) -> list[int]:
        """The numbers of the marked runs, or of that under the cursor."""
        return sorted(self.marked) or [one for one in (self.current,) if one is not None]

    @property
    def on_screen(self) -> list[int]:
        """The numbers of the runs that are on the screen."""
        first = self.scroll_offset.y
        return list(self._view.log_ids[first : first + max(1, self.size.height)])

    def show_view(self, view: View) -> None:
        """Shows other rows; the cursor stays on its run."""
        current = self.current
        self._view = view
        self.marked &= set(view.log_ids)
        if current in view.log_ids and self._cursor:
            self._cursor = view.log_ids.index(current)
        self._cursor = max(0, min(self._cursor, len(view.log_ids) - 1))
        self._lay_out()
        self._scroll_to_cursor()

    def show_live(self, live: Mapping[int, Live]) -> None:
        """Shows how far runs are now; lines that stay the same are not drawn again."""
        changed = {log_id for log_id, one in live.items() if self._live.get(log_id) != one}
        self._live.update(live)
        if changed:
            self.refresh()

    def forget_live(self) -> None:
        """Forgets what was shown of a metric."""
        self._live.clear()

    def mark(self, log_ids: Iterable[int]) -> None:
        """Marks runs, or takes their marks away if all of them are marked."""
        ids = set(log_ids)
        self.marked = self.marked - ids if ids <= self.marked else self.marked | ids
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draws a line of the screen."""
        if y == 0:
            return self._line(self._heads(), Style(bold=True, underline=True))
        row = self.scroll_offset.y + y - 1
        if row >= len(self._view.log_ids):
            return Strip.blank(self.size.width)
        log_id, status = self._view.log_ids[row], self._view.statuses[row]
        style = Style(reverse=row == self._cursor, bold=log_id in self.marked)
        color = None if row == self._cursor else STATUS_COLORS.get(status)
        return self._line(self._cells(row), style, Style(color=color))

    def on_resize(self) -> None:
        """Fits the columns to another width."""
        self._lay_out()
        self._scroll_to_cursor()
        self.post_message(self.Moved())

    def on_click(self, event: events.Click) -> None:
        """Moves the cursor; a second click opens the run."""
        row = self.scroll_offset.y + event.y - 1
        if event.y == 0 or row >= len(self._view.log_ids):
            return
        self._cursor = row
        self.refresh()
        if event.chain == 2 and self.current is not None:
            self.post_message(self.Opened(self.current))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Tells that other runs are on the screen."""
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self.post_message(self.Moved())

    def action_move(self, lines: int) -> None:
        """Moves the cursor."""
        self._cursor = max(0, min(self._cursor + lines, len(self._view.log_ids) - 1))
        self._scroll_to_cursor()
        self.refresh()

    def action_page(self, pages: int) -> None:
        """Moves the cursor by what is on the screen."""
        self.action_move(pages * max(1, self.size.height - 2))

    def _scroll_to_cursor(self) -> None:
        first, lines = self.scroll_offset.y, max(1, self.size.height - 1)
        if not first <= self._cursor < first + lines:
            top = self._cursor if self._cursor < first else self._cursor - lines + 1
            self.scroll_to(y=top, animate=False, force=True)

    def _lay_out(self) -> None:
        """Chooses the columns that fit, and their widths."""
        view = self._view
        digits = max(map(len, map(str, view.log_ids[:_LOOKED_AT])), default=2)
        columns = [
            _Column(ID, "id", max(len("id▲"), digits + len(_MARK)), right=True),
            _Column(STATUS, "status", max(map(len, STATUS_COLORS))),
            _Column(_QUEUE, _QUEUE, 11),
            _Column(PROGRESS, PROGRESS, 13),
        ]
        if view.metric:
            (head,) = shortened_heads({view.metric: 10}, []).values()
            columns += [_Column(METRIC, clean(head), 10, right=True), _Column(_CURVE, "", 12)]
        left = self.size.width - sum(column.width + len(_GAP) for column in columns)
        needed = {
            name: min(
                _WIDE, max(_NARROW, *(cell_len(value_text(value)) for value in values[:_LOOKED_AT]))
            )
            for name, values in view.settings.items()
        }
        whole = {name: max(width, min(_WIDE, len(name))) for name, width in needed.items()}
        fits = sum(width + len(_GAP) for width in whole.values()) <= left
        for name, width in (whole if fits else needed).items():
            values = view.settings[name]
            if width > left:
                break
            (head,) = list(shortened_heads({name: width}, list(view.settings)).values())[-1:]
            numeric = all(isinstance(value, int | float) for value in values[:_LOOKED_AT])
            columns.append(_Column(name, clean(head), width, right=numeric))
            left -= width + len(_GAP)
        self._columns = columns
        self.virtual_size = Size(self.size.width, len(view.log_ids) + 1)
        self.refresh()

    def _heads(self) -> dict[str, str]:
        arrow = "▲" if self._view.ascending else "▼"
        return {
            column.name: fitted(column.head, min(cell_len(column.head), column.width - 1)) + arrow
            if column.name == self._view.sort
            else column.head
            for column in self._columns
        }

    def _cells(self, row: int) -> dict[str, str]:
        view = self._view
        log_id = view.log_ids[row]
        live = self._live.get(log_id, Live())
        settings = {name: value_text(values[row]) for name, values in view.settings.items()}
        return {
            ID: f"{_MARK if log_id in self.marked else ''}{log_id}",
            STATUS: clean(view.statuses[row]),
            _QUEUE: outlook_text(view.outlooks.get(log_id)),
            PROGRESS: bar_text(live.fraction),
            METRIC: value_text(live.last),
            _CURVE: curve_text(live.values, 12),
            **settings,
        }

    def _line(self, cells: Mapping[str, str], style: Style, of_status: Style | None = None) -> Strip:
        segments = []
        for column in self._columns:
            text = fitted(cells[column.name], column.width, right=column.right)
            own = style + of_status if of_status and column.name == STATUS else style
            segments += [Segment(text, own), Segment(_GAP, style)]
        return Strip(segments).adjust_cell_length(self.size.width, style)
