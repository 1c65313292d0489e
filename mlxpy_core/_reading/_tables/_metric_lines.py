"""The rows of a metrics file: a JSON object on each line."""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlxpy_core._io._files import read_bytes
from mlxpy_core._io._flatten import flat_row
from mlxpy_core._io._retries import Retries

_DEEPEST = 100  # levels
_LARGEST = 2**31  # bytes of a metrics file; a sparse one of another user could exceed memory

Row = dict[str, Any]


def read_rows(path: Path, damaged: list[str], logs: Path) -> list[Row]:
    """Reads a metrics file as `rows_in`; one that cannot be read holds no rows."""
    try:
        return rows_in(path, damaged, logs, Retries())
    except OSError as error:
        damaged.append(f"{path} ({error.strerror})")
        return []


def rows_in(path: Path, damaged: list[str], logs: Path, retries: Retries) -> list[Row]:
    """Reads a metrics file; a torn last line is no row yet.

    Rows with nested dicts have the leaves of these besides, see `flat_row`.

    Args:
        path: the file; one that does not exist holds no rows.
        damaged: gets a note on each line that is no row.
        logs: the directory of all runs.
        retries: bounds the time that a file system is waited for.

    Raises:
        OSError: it cannot be read.
    """
    try:
        content = retries(lambda: read_bytes(path, logs, limit=_LARGEST))
    except FileNotFoundError:
        return []
    return rows_of_lines(content, path, damaged)


def rows_of_lines(content: bytes, path: str | Path, damaged: list[str]) -> list[Row]:
    """Reads what a metrics file holds, see `rows_in`."""
    lines = content.split(b"\n")[:-1]
    rows = _parsed(lines, content, path, damaged)
    # The dicts themselves stay, too: for MLXP they are the column.
    return [row | flat_row(row) for row in rows] if content.count(b"{") > len(lines) else rows


def _parsed(lines: Sequence[bytes], content: bytes, path: str | Path, damaged: list[str]) -> list[Row]:
    # Rows could nest deeper than anything can read.
    if content.count(b"{") + content.count(b"[") < len(lines) + _DEEPEST:
        with contextlib.suppress(ValueError):
            rows = json.loads(b"[" + b",".join(lines) + b"]")
            if len(rows) == len(lines) and all(type(row) is dict for row in rows):
                return list(rows)
    return [row for number, line in enumerate(lines, 1) for row in _row(line, path, number, damaged)]


def _row(line: bytes, path: str | Path, number: int, damaged: list[str]) -> list[Row]:
    row = None
    with contextlib.suppress(ValueError, RecursionError):
        row = json.loads(line)
    if isinstance(row, dict) and not _nests(row, _DEEPEST):
        return [row]
    if line.strip():
        damaged.append(f"{path}, line {number}")
    return []


def _nests(value: Any, depth: int) -> bool:
    """Returns whether containers nest deeper than `depth`."""
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_nests(one, depth - 1) for one in inner)
