"""Results as people see them: a table in a terminal, and one in a notebook that bears 200 columns."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from mlxpy_core._io._text import as_unicode
from mlxpy_core._reading._tables._columns import MISSING

from ._column_widths import WIDEST, column_widths, shortened_cells, shortened_heads, with_others
from ._drawable import LAZY_CELL, Drawable
from ._shown_columns import IDENTITY, differing_info, differing_settings, metrics_by_importance

_SHOWN = 60  # rows
_FLOAT = 12  # characters; a number that is cut would be another one
_GAP = "..."

_STYLE = """<style>
.mlxpy {overflow: auto; max-height: 32em; border: 1px solid #8884}
.mlxpy table {border-collapse: separate; border-spacing: 0; margin: 0}
.mlxpy th, .mlxpy td {padding: .2em .6em; text-align: right; white-space: nowrap}
.mlxpy th {position: sticky; top: 0; background: Canvas; border-bottom: 1px solid #8888}
.mlxpy td:first-child, .mlxpy th:first-child {position: sticky; left: 0; background: Canvas}
.mlxpy th:first-child {z-index: 1}
.mlxpy-same td:first-child {text-align: left; font-weight: bold}
</style>"""


def render_text(rows: Drawable, noun: str = "runs") -> str:
    """Draws as many columns as the terminal is wide; of many rows the first and the last.

    What tells runs apart is drawn before other columns, and narrowed to find room.

    Args:
        rows: what to draw.
        noun: what the rows are.
    """
    places = _shown_places(len(rows))
    shown = rows.take(places)
    fields, lazy = rows.fields, rows.lazy_fields
    cells = {
        field: [LAZY_CELL] * len(places) if field in lazy else _texts(shown.column(field))
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


def render_html(rows: Drawable, varying: Sequence[str], noun: str = "runs") -> str:
    """Draws a table that scrolls; columns that are the same for all runs are folded away below it.

    Args:
        rows: what to draw.
        varying: the fields of the config that differ.
        noun: what the rows are.
    """
    places = _shown_places(len(rows))
    shown = rows.take(places)
    lazy = rows.lazy_fields
    columns = {field: shown.column(field) for field in rows.fields if field not in lazy}
    same = [field for field in columns if len(rows) > 1 and _is_same(field, columns[field], varying)]
    cells = {field: shortened_cells(_texts(values), WIDEST) for field, values in columns.items()}
    cells.update(dict.fromkeys(lazy, [LAZY_CELL] * len(places)))
    fields = [field for field in rows.fields if field not in same]
    head = "".join(f"<th>{escape(field)}</th>" for field in fields)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cells[field][index])}</td>" for field in fields) + "</tr>"
        for index in range(len(places))
    )
    table = (
        f'<div class="mlxpy"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )
    more = f", {len(places)} shown" if len(places) < len(rows) else ""
    count = f"<p>{len(rows)} {noun}, {len(rows.fields)} columns{more}</p>"
    return _STYLE + table + count + _folded({field: cells[field][0] for field in same}, noun)


def _folded(cells: Mapping[str, str], noun: str) -> str:
    if not cells:
        return ""
    lines = "".join(
        f"<tr><td>{escape(field)}</td><td>{escape(cell)}</td></tr>" for field, cell in cells.items()
    )
    summary = f"<summary>{len(cells)} columns are the same in all {noun}</summary>"
    return f'<details>{summary}<div class="mlxpy mlxpy-same"><table>{lines}</table></div></details>'


def _is_same(field: str, values: Sequence[Any], varying: Sequence[str]) -> bool:
    if field in ("info.log_id", "info.status") or field in varying:
        return False
    return all(type(value) is type(values[0]) and value == values[0] for value in values)


def _texts(values: Sequence[Any]) -> list[str]:
    return ["" if value is MISSING else _text(value) for value in values]


def _text(value: Any) -> str:
    text = str(value)
    if isinstance(value, float) and len(text) > _FLOAT:
        text = f"{value:.{_FLOAT - 2}g}"
    return _printable(as_unicode(" ".join(text.split())))


def _printable(text: str) -> str:
    # What another user wrote must not steer the terminal.
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def _shown_places(count: int) -> list[int]:
    if count <= _SHOWN:
        return list(range(count))
    half = _SHOWN // 2
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
