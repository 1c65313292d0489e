"""Results as people see them: a table in a terminal, and one in a notebook that bears 200 columns."""

import shutil
from collections.abc import Sequence
from html import escape
from typing import Any

from mlxpy_core._reading._tables._columns import MISSING

from ._rows import LAZY_CELL, Rows

_SHOWN = 60  # rows
_CELL = 40  # characters
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


def render_text(rows: Rows, varying: Sequence[str]) -> str:
    """Draws as many columns as the terminal is wide; of many rows the first and the last.

    Args:
        rows: what to draw.
        varying: the fields of the config that differ; they are drawn rather than others.
    """
    places = _shown_places(len(rows))
    shown = rows.take(places)
    columns = {field: [_printable(field), *_cells(shown, field)] for field in rows.fields}
    fitting = _fitting(columns, varying, shutil.get_terminal_size().columns)
    drawn: list[list[str]] = []
    for field, cells in columns.items():
        if field in fitting:
            drawn.append(cells)
        elif not drawn or drawn[-1][0] != _GAP:
            drawn.append([_GAP] * len(cells))
    widths = [max(map(len, cells)) for cells in drawn]
    border = "+" + "+".join("-" * (width + 2) for width in widths) + "+"
    lines = [
        "|" + "|".join(f" {cell:>{width}} " for cell, width in zip(line, widths, strict=True)) + "|"
        for line in zip(*drawn, strict=True)
    ]
    if len(places) < len(rows):
        lines.insert(1 + len(places) // 2, f"|{_GAP:^{len(border) - 2}}|")
    count = f"[{len(rows)} runs x {len(columns)} columns]"
    return "\n".join([border, *lines[:1], border, *lines[1:], border, count]) if drawn else count


def render_html(rows: Rows, varying: Sequence[str]) -> str:
    """Draws a table that scrolls; columns that are the same for all runs are folded away below it.

    Args:
        rows: what to draw.
        varying: the fields of the config that differ.
    """
    places = _shown_places(len(rows))
    shown = rows.take(places)
    lazy = rows.lazy_fields
    columns = {field: shown.column(field) for field in rows.fields if field not in lazy}
    same = [field for field in columns if len(rows) > 1 and _is_same(field, columns[field], varying)]
    fields = [field for field in rows.fields if field not in same]
    head = "".join(f"<th>{escape(field)}</th>" for field in fields)
    body = "".join(
        "<tr>" + "".join(f"<td>{_cell(columns, field, index)}</td>" for field in fields) + "</tr>"
        for index in range(len(places))
    )
    table = (
        f'<div class="mlxpy"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )
    more = f", {len(places)} shown" if len(places) < len(rows) else ""
    count = f"<p>{len(rows)} runs, {len(rows.fields)} columns{more}</p>"
    return _STYLE + table + count + _folded(same, columns)


def _folded(fields: Sequence[str], columns: dict[str, list[Any]]) -> str:
    if not fields:
        return ""
    lines = "".join(
        f"<tr><td>{escape(field)}</td><td>{_cell(columns, field, 0)}</td></tr>" for field in fields
    )
    summary = f"<summary>{len(fields)} columns are the same in all runs</summary>"
    return f'<details>{summary}<div class="mlxpy mlxpy-same"><table>{lines}</table></div></details>'


def _is_same(field: str, values: Sequence[Any], varying: Sequence[str]) -> bool:
    if field in ("info.log_id", "info.status") or field in varying:
        return False
    return all(type(value) is type(values[0]) and value == values[0] for value in values)


def _cell(columns: dict[str, list[Any]], field: str, index: int) -> str:
    return escape(_text(columns[field][index], "")) if field in columns else LAZY_CELL


def _text(value: Any, missing: str) -> str:
    if value is MISSING:
        return missing
    text = _printable(" ".join(str(value).split()))
    return text if len(text) <= _CELL else text[: _CELL - 1] + "…"


def _printable(text: str) -> str:
    # What another user wrote must not steer the terminal.
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def _shown_places(count: int) -> list[int]:
    if count <= _SHOWN:
        return list(range(count))
    half = _SHOWN // 2
    return [*range(half), *range(count - half, count)]


def _cells(rows: Rows, field: str) -> list[str]:
    if field in rows.lazy_fields:
        return [LAZY_CELL] * len(rows)
    return [_text(value, "") for value in rows.column(field)]


def _fitting(columns: dict[str, list[str]], varying: Sequence[str], width: int) -> set[str]:
    """Chooses the columns to draw: what tells runs apart, then results, then the rest."""
    lazy = [field for field, cells in columns.items() if LAZY_CELL in cells]
    first = [field for field in ("info.log_id", "info.status") if field in columns]
    fitting: set[str] = set()
    for field in dict.fromkeys([*first, *varying, *reversed(lazy), *columns]):
        if fitting and _drawn_width(columns, fitting | {field}) > width:
            break
        fitting.add(field)
    return fitting


def _drawn_width(columns: dict[str, list[str]], fitting: set[str]) -> int:
    width, in_gap = 1, False
    for field, cells in columns.items():
        if field in fitting:
            width += max(map(len, cells)) + 3
        elif not in_gap:
            width += len(_GAP) + 3
        in_gap = field not in fitting
    return width
