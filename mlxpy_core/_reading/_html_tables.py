"""Results as a notebook shows them: tables that scroll and are sorted by a click, and bear 200 columns.

Without JavaScript they are tables all the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from mlxpy_core._io._text import as_unicode, printable

from ._column_widths import WIDEST, shortened_cells
from ._display import ends_of, texts
from ._drawable import LAZY_CELL, Drawable
from ._shown_columns import IDENTITY

_FEWEST, _MOST = 60, 1000  # rows
_CELLS = 20_000  # a table with more than these has fewer rows

_STYLE = """<style>
.mlxpy {overflow: auto; max-height: 32em; border: 1px solid #8884}
.mlxpy table {border-collapse: separate; border-spacing: 0; margin: 0}
.mlxpy th, .mlxpy td {padding: .2em .6em; text-align: right; white-space: nowrap}
.mlxpy th {position: sticky; top: 0; background: Canvas; border-bottom: 1px solid #8888}
.mlxpy td:first-child, .mlxpy th:first-child {position: sticky; left: 0; background: Canvas}
.mlxpy th:first-child {z-index: 1}
.mlxpy th[tabindex] {cursor: pointer}
.mlxpy th[aria-sort=ascending]::after {content: " \\2191"}
.mlxpy th[aria-sort=descending]::after {content: " \\2193"}
.mlxpy-same td:first-child {text-align: left; font-weight: bold}
</style>"""


def render_html(rows: Drawable, varying: Sequence[str], noun: str = "runs") -> str:
    """Draws a table that scrolls; columns that are the same for all runs are folded away below it.

    `varying` are the fields of the config that differ: they are not among these.
    """
    lazy = rows.lazy_fields
    most = min(_MOST, max(_FEWEST, _CELLS // max(1, len(rows.fields))))
    places = ends_of(len(rows), most)
    shown = rows.take(places)
    columns = {field: shown.column(field) for field in rows.fields if field not in lazy}
    same = [field for field in columns if len(rows) > 1 and _is_same(field, columns[field], varying)]
    cells = {field: shortened_cells(texts(values), WIDEST) for field, values in columns.items()}
    cells.update(dict.fromkeys(lazy, [LAZY_CELL] * len(places)))
    fields = [field for field in rows.fields if field not in same]
    table = _table(fields, zip(*(cells[field] for field in fields), strict=True))
    count = f"{len(rows):,} {noun}, {len(rows.fields):,} columns"
    if len(places) < len(rows):
        half = len(places) // 2
        left = len(rows) - len(places)
        count += (
            f". The first {half} and the last {half} are shown; {left:,} more are not, and not sorted."
        )
    return _sortable(table, count) + _folded({field: cells[field][0] for field in same}, noun)


def render_directory(
    directory: str, statuses: Mapping[str, int], kinds: Mapping[str, Sequence[str]]
) -> str:
    """Draws what a directory of runs holds.

    Args:
        directory: its path.
        statuses: how many runs have each status.
        kinds: the names of the columns of each kind.
    """
    table = _table(["status", "runs"], ([shown(status), f"{n:,}"] for status, n in statuses.items()))
    columns = "".join(
        f"<details><summary>{escape(shown(kind))}: {len(names):,} columns</summary>"
        f"<p>{', '.join(f'<code>{escape(shown(name))}</code>' for name in names)}</p></details>"
        for kind, names in kinds.items()
    )
    count = f"{sum(statuses.values()):,} runs in <code>{escape(shown(directory))}</code>"
    return f"<p>{count}</p>{_sortable(table)}{columns}"


def shown(text: str) -> str:
    """Returns a text that drives no terminal, and can be written down."""
    return printable(as_unicode(" ".join(text.split())))


def _sortable(table: str, count: str = "") -> str:
    below = f"<p>{escape(count)}</p>" if count else ""
    return f"{_STYLE}{table}{below}<script>{_program()}</script>"


@cache
def _program() -> str:
    return files(__package__).joinpath("sortable.js").read_text("utf-8")


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(shown(one))}</th>" for one in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f'<div class="mlxpy"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _folded(cells: Mapping[str, str], noun: str) -> str:
    if not cells:
        return ""
    lines = "".join(
        f"<tr><td>{escape(shown(field))}</td><td>{escape(cell)}</td></tr>"
        for field, cell in cells.items()
    )
    summary = f"<summary>{len(cells)} columns are the same in all {noun}</summary>"
    return f'<details>{summary}<div class="mlxpy mlxpy-same"><table>{lines}</table></div></details>'


def _is_same(field: str, values: Sequence[Any], varying: Sequence[str]) -> bool:
    if field in IDENTITY or field in varying:
        return False
    return all(type(value) is type(values[0]) and value == values[0] for value in values)
