"""When rows of metrics were logged: in a file beside theirs, which hold what was logged alone.

A line names the number of a row in its log, the time in seconds since 1970, and the log. Not each row
has one, see `RowTimes`.
"""

import contextlib
import json
import math
import os
from pathlib import Path
from typing import Any

from mlxpy_core._io._files import open_regular

from ._metrics_files import keys_files

_LARGEST = 2**24  # bytes; a hundred times what a run of a year writes
_MOST_ROWS = 2**31

Times = tuple[list[int], list[float]]
"""Numbers of rows, ascending, and when they were logged."""


def times_file(keys_file: Path) -> Path:
    """Returns the file of the process whose logs' keys another file lists."""
    return keys_file.with_suffix(".times")


def time_line(row: int, moment: float, log: str) -> bytes:
    """Returns the line that says when a row was logged."""
    return f"{json.dumps([row, round(moment, 3), log])}\n".encode()


def read_row_times(run: Path) -> dict[str, Times]:
    """Reads when rows of each log of a run were logged, by the reader's names for the logs."""
    found: dict[str, Times] = {}
    for prefix, keys_file in keys_files(run / "metrics", run / ".keys"):
        with contextlib.suppress(OSError):
            for row, moment, log in _lines(times_file(keys_file), run.parent):
                rows, moments = found.setdefault(prefix + log, ([], []))
                while rows and rows[-1] >= row:  # a run that resumed an earlier attempt logged it again
                    rows.pop()
                    moments.pop()
                rows.append(row)
                moments.append(moment)
    return found


def _lines(path: Path, logs: Path) -> list[tuple[int, float, str]]:
    with os.fdopen(open_regular(path, logs), "rb") as file:
        lines = file.read(_LARGEST).split(b"\n")[:-1]  # the last one may be torn
    try:
        values = json.loads(b"[" + b",".join(lines) + b"]")
    except (ValueError, RecursionError):
        return []
    return [(value[0], value[1], value[2]) for value in values if _is_note(value)]


def _is_note(value: Any) -> bool:
    if not isinstance(value, list) or list(map(type, value)) != [int, float, str]:
        return False
    return 0 <= value[0] < _MOST_ROWS and math.isfinite(value[1])
