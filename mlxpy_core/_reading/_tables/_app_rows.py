"""The rows of the files that an app wrote: TensorBoard's event files, CSV and JSON lines.

What lies in a run's directory need not be metrics. A CSV file or one of JSON lines is taken for metrics
if it is named so (``metrics.csv``, or by a pattern of the user's), or if its first rows hold numbers
only, and one column counts: a step, an epoch.
"""

import contextlib
import csv
import io
import json
import os
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mlxpy_core._io._files import LARGEST_METADATA
from mlxpy_core._io._text import is_unicode
from mlxpy_core._runs._app_files import CSV, EVENTS, AppFile

from ._event_files import can_read_events, read_events
from ._metric_lines import Row, rows_of_lines

_LARGEST = LARGEST_METADATA  # bytes of a file of text
_JUDGED = 2**16  # bytes at its beginning that tell what it holds
_COUNTER = re.compile(
    r"(?:.*[/_ .])?(?:batch|epoch|episode|iter|iteration|round|step|update)(?:s|_idx|_num)?",
    flags=re.IGNORECASE,
)


class Rows(NamedTuple):
    """What was read of a file.

    Attributes:
        rows: the rows.
        end: up to where it was read, in bytes; what is appended later begins there.
    """

    rows: list[Row]
    end: int


class NoMetricsError(Exception):
    """A file holds something else; the message says so of one that is named as if it held metrics."""


class NotInstalledError(Exception):
    """Event files cannot be read without the extra ``tensorboard``."""


def read_app_rows(file: AppFile, damaged: list[str], start: int = 0) -> Rows:
    """Reads a file of the app; a torn last record is no row yet.

    Args:
        file: the file.
        damaged: gets a note on what is no row.
        start: where to begin, what an earlier reading returned as `Rows.end`.

    Raises:
        NoMetricsError: it holds no metrics.
        NotInstalledError: it is an event file, and the extra is not installed.
        OSError: it cannot be read.
    """
    if file.kind == EVENTS and not can_read_events():
        raise NotInstalledError
    with os.fdopen(file.open(), "rb") as opened:
        size = os.fstat(opened.fileno()).st_size
        if file.kind == EVENTS:
            rows, end, damage = read_events(opened, start, size)
            if damage:
                damaged.append(f"{file.path}: {damage}")
            return Rows(rows, end)
        if size > _LARGEST:
            raise NoMetricsError(f"it has more than {_LARGEST} bytes, and is not read")
        opened.seek(start)
        content = opened.read(size - start) if size > start else b""
    if file.path.lower().endswith(".json"):
        content = _lines_of_document(content)
    content = content[: content.rfind(b"\n") + 1]
    read = _rows_of_csv if file.kind == CSV else _rows_of_json
    if not start and not file.named:
        head = content[:_JUDGED]
        if not _are_metrics(read(head[: head.rfind(b"\n") + 1], file.path, [])):
            raise NoMetricsError("it holds something else")
    return Rows(read(content, file.path, damaged), start + len(content))


def _are_metrics(rows: Sequence[Row]) -> bool:
    """Returns whether rows are metrics by their looks: numbers only, and one of them counts."""
    keys = {key for row in rows for key in row}
    counting = {key for key in keys if _COUNTER.fullmatch(key)}
    types = {type(value) for row in rows for value in row.values()}
    return bool(counting) and keys > counting and types <= {int, float, bool, type(None)}


def _rows_of_csv(content: bytes, path: str, damaged: list[str]) -> list[Row]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NoMetricsError("it is no text in UTF-8") from error
    first_line = text.partition("\n")[0]
    delimiter = next((one for one in ",;\t" if one in first_line), ",")
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = [name.strip() for name in next(lines, [])]
        if not header:  # nothing has been written yet
            return []
        if not any(type(_value(name)) is str and name for name in header):
            raise NoMetricsError("its first line names no columns")
        return [_row_of_cells(header, cells) for cells in _whole(lines, len(header), path, damaged)]
    except csv.Error as error:  # a cell that is too long
        raise NoMetricsError(f"it is no CSV: {error}") from error


def _whole(lines: Iterable[list[str]], width: int, path: str, damaged: list[str]) -> Iterable[list[str]]:
    for number, cells in enumerate(lines, 2):
        if len(cells) == width:
            yield cells
        elif cells:  # no empty line
            damaged.append(f"{path}, row {number}")


def _row_of_cells(header: Sequence[str], cells: Sequence[str]) -> Row:
    pairs = zip(header, map(str.strip, cells), strict=True)
    return {name: _value(cell) for name, cell in pairs if name and cell and is_unicode(name)}


def _value(cell: str) -> float | int | str:
    if "_" not in cell:  # Python reads 1_000 as a number
        for number in (int, float):
            try:
                return number(cell)
            except ValueError:  # noqa: PERF203  # that is how a number is told
                pass
    return cell


def _lines_of_document(content: bytes) -> bytes:
    """Returns what a file called ``.json`` holds as lines: it may be one dict, or a list of dicts."""
    with contextlib.suppress(ValueError, RecursionError):
        document = json.loads(content)
        rows = document if isinstance(document, list) else [document]
        if all(isinstance(row, dict) for row in rows):
            return "".join(f"{json.dumps(row)}\n" for row in rows).encode()
    return content


def _rows_of_json(content: bytes, path: str, damaged: list[str]) -> list[Row]:
    noted: list[str] = []
    rows = rows_of_lines(content, path, noted)
    if noted and not rows:
        raise NoMetricsError("its lines are no objects of JSON")
    damaged.extend(noted)
    # Nested dicts are there by their leaves, too.
    return [
        {key: one for key, one in row.items() if is_unicode(key) and (type(one) is not dict or not one)}
        for row in rows
    ]
