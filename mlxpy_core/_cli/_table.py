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

_GAP = "  "
_WIDEST, _NARROWEST = 40, 8  # characters of a cell in a terminal
_NUMBERS = {int, float, type(None)}
_COLORS = {
    "SUBMITTED": "cyan",
    "RUNNING": "blue",
    "COMPLETE": "green",
    "FAILED": "red",
    "INTERRUPTED": "yellow",
    "KILLED": "magenta",
}


def print_table(columns: Mapping[str, Sequence[Any]], optional: Sequence[str] = ()) -> None:
    """Prints columns under their names.

    Args:
        columns: the values by name, equally many in each.
        optional: columns that are left out of a terminal too narrow for them, and named below.
    """
    terminal = sys.stdout.isatty()
    table = {
        name: clean_all([name, *(map(_rounded, values) if terminal else values)])
        for name, values in columns.items()
    }
    lengths = {name: _lengths(cells) for name, cells in table.items()}
    widths = {name: max(lengths_here) for name, lengths_here in lengths.items()}
    width_of_terminal = shutil.get_terminal_size().columns
    if terminal:
        widths = _fitting(widths, optional, width_of_terminal)
    drawn = [
        _drawn(table[name], lengths[name], width, numeric=set(map(type, columns[name])) <= _NUMBERS)
        for name, width in widths.items()
    ]
    lines = [_GAP.join(line).rstrip() for line in zip(*drawn, strict=True)]
    if left_out := [name for name in optional if name not in widths]:
        lines.append(_cut(f"left out: {', '.join(left_out)}", width_of_terminal))
    click.echo("\n".join(lines))


def clean_all(values: Sequence[Any]) -> list[str]:
    """Gives many values as `clean` does."""
    texts = ["-" if value is None else str(value) for value in values]
    # Of most columns no text needs a look of its own.
    return texts if all(texts) and "".join(texts).isprintable() else list(map(clean, values))


def clean(value: Any) -> str:
    """Gives a value as one line without control characters; ``-`` for none."""
    if value is None:
        return "-"
    text = str(value)
    if not text.isprintable():
        text = " ".join(text.split())
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text or "''"


def status_word(word: str) -> str:
    """Gives a status in its colour if standard output is a terminal that wants colours."""
    # https://no-color.org
    color = _COLORS.get(word)
    wanted = color and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return click.style(word, fg=color) if wanted else word


def _rounded(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


def _fitting(widths: Mapping[str, int], optional: Sequence[str], width: int) -> dict[str, int]:
    """Narrows what is wide and leaves out the last of what does not fit."""
    fitting = {name: min(needed, _WIDEST) for name, needed in widths.items()}
    names = list(optional)
    while names and _total(fitting) > width:
        del fitting[names.pop()]
    while fitting and _total(fitting) > width and max(fitting.values()) > _NARROWEST:
        fitting[max(fitting, key=fitting.__getitem__)] -= 1
    return fitting


def _total(widths: Mapping[str, int]) -> int:
    return sum(widths.values()) + len(_GAP) * (len(widths) - 1)


def _drawn(texts: Sequence[str], lengths: Sequence[int], width: int, *, numeric: bool) -> list[str]:
    """Gives a column's cells of one width: numbers to the right, status words in colours."""
    cells = [_cut(text, width) for text in texts] if max(lengths) > width else list(texts)
    if cells[0] in ("status", "info.status"):
        words = {word: status_word(word) for word in set(cells[1:])}
        cells[1:] = [words[word] for word in cells[1:]]
    blanks = [" " * (width - length) for length in lengths]
    pairs = zip(blanks, cells, strict=True) if numeric else zip(cells, blanks, strict=True)
    return [left + right for left, right in pairs]


def _lengths(cells: Sequence[str]) -> list[int]:
    return list(map(len if "".join(cells).isascii() else cell_len, cells))


def _cut(text: str, width: int) -> str:
    return text if cell_len(text) <= width else set_cell_size(text, width - 1) + "…"
