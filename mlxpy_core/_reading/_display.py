"""Results as people see them in a terminal: a table as wide as it is."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlxpy_core._io._text import as_unicode
from mlxpy_core._reading._tables._columns import MISSING

from ._column_widths import WIDEST, column_widths, shortened_cells, shortened_heads, with_others
from ._drawable import LAZY_CELL, Drawable
from ._shown_columns import IDENTITY, differing_info, differing_settings, metrics_by_importance

_SHOWN = 60  # rows
_FLOAT = 12  # characters; a number that is cut would be another one
_GAP = "..."


def render_text(rows: Drawable, noun: str = "runs") -> str:
    """Draws as many columns as the terminal is wide; of many rows the first and the last.

    What tells runs apart is drawn before other columns, and narrowed to find room.
    """
    places = ends_of(len(rows), _SHOWN)
    shown = rows.take(places)
    fields, lazy = rows.fields, rows.lazy_fields
    cells = {
        field: [LAZY_CELL] * len(places) if field in lazy else texts(shown.column(field))
        for field in fields
    }
    layout = _layout(rows, cells, shutil.get_terminal_size().columns)
    drawn = {
        field: [_printable(layout.heads[field]), *shortened_cells(cells[field], width)]
        for field in fields
        if (width := layout.widths.get(field))
    }
    columns = list(drawn.values())
    if layout.gap:
        before = next((place for place, field in enumerate(drawn) if field in lazy), len(columns))
        columns.insert(before, [_GAP] * (1 + len(places)))
    blank = " " * layout.blanks
    sizes = [max(map(len, column)) for column in columns]
    border = "+" + "+".join("-" * (size + 2 * layout.blanks) for size in sizes) + "+"
    lines = [
        "|"
        + "|".join(f"{blank}{cell:>{size}}{blank}" for cell, size in zip(line, sizes, strict=True))
        + "|"
        for line in zip(*columns, strict=True)
    ]
    if len(places) < len(rows):
        lines.insert(1 + len(places) // 2, f"|{_GAP:^{len(border) - 2}}|")
    hidden = len(fields) - len(drawn)
    more = f", {hidden} not shown" if hidden else ""
    count = f"[{len(rows)} {noun} x {len(fields)} columns{more}]"
    return "\n".join([border, *lines[:1], border, *lines[1:], border, count]) if drawn else count


def texts(values: Sequence[Any]) -> list[str]:
    """Returns values as a table shows them, each in one line that steers no terminal."""
    return ["" if value is MISSING else _text(value) for value in values]


def _text(value: Any) -> str:
    text = str(value)
    if isinstance(value, float) and len(text) > _FLOAT:
        text = f"{value:.{_FLOAT - 2}g}"
    return _printable(as_unicode(" ".join(text.split())))


def _printable(text: str) -> str:
    # What another user wrote must not steer the terminal.
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def ends_of(count: int, most: int) -> list[int]:
    """Returns the places of rows that are shown: all, or of more than `most` the first and the last."""
    if count <= most:
        return list(range(count))
    half = most // 2
    return [*range(half), *range(count - half, count)]


@dataclass(frozen=True)
class _Layout:
    """What of a table is drawn.

    Attributes:
        widths: the widths of the columns that are.
        heads: what stands above them.
        gap: whether to mark that there are others.
        blanks: how many blanks stand on both sides of a cell.
    """

    widths: dict[str, int]
    heads: dict[str, str]
    gap: bool
    blanks: int


def _layout(rows: Drawable, cells: Mapping[str, Sequence[str]], width: int) -> _Layout:
    (settings, incidental), metrics = differing_settings(rows), metrics_by_importance(rows)
    kept = [*(field for field in IDENTITY if field in cells), *metrics[:1]]
    wanted = settings if kept or settings else rows.fields[:1]
    more = [*metrics, *differing_info(rows)] if settings else []
    others = [
        name for name in dict.fromkeys([*more, *cells]) if name not in {*kept, *wanted, *incidental}
    ]
    needed = {field: max(map(len, column), default=0) for field, column in cells.items()}
    blanks = 1

    def fits(widths: Mapping[str, int]) -> bool:
        return 1 + sum(widths.values()) + (2 * blanks + 1) * len(widths) <= width

    def fit_with_gap(widths: Mapping[str, int]) -> bool:
        return len(widths) == len(cells) or fits({**widths, _GAP: len(_GAP)})

    widths = column_widths(needed, kept, wanted, fits)
    if any(widths.get(field, 0) < min(len(field), WIDEST) for field in wanted):
        blanks = 0  # names are worth more
        widths = column_widths(needed, kept, wanted, fits)
    widths = with_others(widths, needed, incidental, others, fit_with_gap)
    gap = len(widths) < len(cells) and fit_with_gap(widths)
    return _Layout(widths, shortened_heads(widths, wanted), gap, blanks)
