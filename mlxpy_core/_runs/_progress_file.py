"""How much of its work a run says that it has done: ``.keys/progress.json``.

One line of one length, which its process writes over in place: no rename and no wait for the disk a
second, and whoever kills the process leaves the old line or the new one.
"""

import json
import math
import os
from pathlib import Path
from typing import NamedTuple

from mlxpy_core._io._files import open_in_place, read_bytes

_FILE = ".keys/progress.json"
_LENGTH = 96  # bytes; two floats and their names have at most 75
_EXACT = 2**53  # integers above are floats


class Progress(NamedTuple):
    """What a run has done.

    Attributes:
        done: how much, in the program's own unit.
        total: of how much.
    """

    done: float
    total: float


def read_progress(run: str | os.PathLike[str]) -> Progress | None:
    """Returns how far a run is; None if it does not say, or the file holds something else."""
    try:
        said = json.loads(read_bytes(f"{os.fspath(run)}/{_FILE}", os.path.dirname(run), limit=_LENGTH))
        return Progress(_number(said["done"]), _number(said["total"]))
    except (OSError, ValueError, LookupError, TypeError):
        return None


def write_progress(run: Path, progress: Progress) -> None:
    """Writes how far a run is, without waiting for the disk.

    Raises:
        OSError: the file system refused.
    """
    line = json.dumps(progress._asdict()).ljust(_LENGTH - 1) + "\n"
    descriptor = open_in_place(run / _FILE, run.parent, os.O_WRONLY)
    try:
        os.pwrite(descriptor, line.encode(), 0)
    finally:
        os.close(descriptor)


def checked_progress(done: float, total: float) -> Progress:
    """Returns a progress of two numbers.

    Raises:
        ValueError: one is no number, below 0, or infinite.
        TypeError: one is no number.
    """
    return Progress(_number(float(done)), _number(float(total)))


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{value!r} is no number")
    if not 0 <= value < math.inf:
        raise ValueError(f"{value!r} is below 0 or not finite")
    return int(value) if value < _EXACT and value == int(value) else value
