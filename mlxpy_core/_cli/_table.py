"""Columns of text: for people as wide as their terminal and in colours, for pipes whole and plain.

Rich's own tables take a millisecond a row, which 10,000 runs cannot wait for.
"""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.cells import cell_len, set_cell_size

from mlxpy_core._io._text import clean
from mlxpy_core._runs._status import STATUS_COLORS

_GAP = "  "
_WIDEST, _NARROWEST = 40, 8  # characters of a cell in a terminal
_NUMBERS = {int, float, type(None)}


def print_table(
    columns: Mapping[str, Sequence[Any]], kept: Sequence[str] = (), wanted: Sequence[str] = ()
) -> None:
    """Prints columns under their names.

    Args:
        columns: the values by name, equally many in each.
        kept: columns that are shown in any case; if none is named, all are, cut if need be.
        wanted: columns in order of importance: in a terminal that is too narrow, others are left out
            before these, and these from the last.
    """
    terminal = sys.stdout.isatty()
    table = {
        name: clean_all(list(map(_rounded, values)) if terminal else values)
        for name, values in columns.items()
    }
    widths = {name: max(_lengths([name, *cells])) for name, cells in table.items()}
    heads = dict(zip(widths, clean_all(list(widths)), strict=True))
    width_of_terminal = shutil.get_terminal_size().columns
    if terminal and kept:
        widths, heads = _fitting(table, kept, wanted, width_of_terminal)
    elif terminal:
        widths = _narrowed(widths, width_of_terminal)
    drawn = [
        _drawn(
            name, [heads[name], *table[name]], width, numeric=set(map(type, columns[name])) <= _NUMBERS
        )
        for name in columns
        if (width := widths.get(name))
    ]
    lines = [_GAP.join(line).rstrip() for line in zip(*drawn, strict=True)]
    if hidden := [name for name in (*wanted, *columns) if name not in widths]:
        names = ", ".join(dict.fromkeys(hidden))
        count = len(set(hidden))
        what = "1 column is" if count == 1 else f"{count} columns are"
        lines.append(_cut(f"{what} not shown: {names}", width_of_terminal))
    click.echo("\n".join(lines))


def clean_all(values: Sequence[Any]) -> list[str]:
    """Gives many values as `clean` does."""
    texts = ["-" if value is None else str(value) for value in values]
    # Of most columns no text needs a look of its own.
    return texts if all(texts) and "".join(texts).isprintable() else list(map(clean, values))


def colored_status(status: str) -> str:
    """Returns a status in its colour if standard output is a terminal that wants colours."""
    # https://no-color.org
    color = STATUS_COLORS.get(status)
    wanted = color and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return click.style(status, fg=color) if wanted else status


def _rounded(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def _fitting(
    table: Mapping[str, Sequence[str]], kept: Sequence[str], wanted: Sequence[str], width: int
) -> tuple[dict[str, int], dict[str, str]]:
    """Returns the widths and the heads of the columns that fit."""
    from mlxpy_core._reading._column_widths import column_widths, shortened_heads, with_others

    def fits(widths: Mapping[str, int]) -> bool:
        return _total(widths) <= width

    needed = {name: max(_lengths(cells), default=0) for name, cells in table.items()}
    others = [name for name in reversed(list(table)) if name not in wanted]
    widths = with_others(column_widths(needed, kept, wanted, fits), needed, (), others, fits)
    return widths, dict(
        zip(widths, clean_all(list(shortened_heads(widths, wanted).values())), strict=True)
    )


def _narrowed(widths: Mapping[str, int], width: int) -> dict[str, int]:
    """Narrows what is wide."""
    narrowed = {name: min(needed, _WIDEST) for name, needed in widths.items()}
    while narrowed and _total(narrowed) > width and max(narrowed.values()) > _NARROWEST:
        narrowed[max(narrowed, key=narrowed.__getitem__)] -= 1
    return narrowed


def _total(widths: Mapping[str, int]) -> int:
    return sum(widths.values()) + len(_GAP) * (len(widths) - 1)


def _drawn(name: str, cells: Sequence[str], width: int, *, numeric: bool) -> list[str]:
    """Returns a column's cells of one width: numbers to the right, statuses in colours."""
    lengths = _lengths(cells)
    if max(lengths) > width:
        cells = _shortened(cells, width)
        lengths = _lengths(cells)
    if name in ("status", "info.status"):
        colored = {cell: colored_status(cell) for cell in set(cells[1:])}
        cells = [cells[0], *(colored[cell] for cell in cells[1:])]
    blanks = [" " * (width - length) for length in lengths]
    pairs = zip(blanks, cells, strict=True) if numeric else zip(cells, blanks, strict=True)
    return [left + right for left, right in pairs]


def _shortened(cells: Sequence[str], width: int) -> list[str]:
    from mlxpy_core._reading._column_widths import shortened_cells

    if "".join(cells[1:]).isascii():
        return [_cut(cells[0], width), *shortened_cells(cells[1:], width)]
    return [_cut(cell, width) for cell in cells]


def _lengths(cells: Sequence[str]) -> list[int]:
    return list(map(len if "".join(cells).isascii() else cell_len, cells))


def _cut(text: str, width: int) -> str:
    return text if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"
