"""A file that grows, as ``tail -F`` follows it."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path

from mlxpy_core._io._files import open_regular

_INTERVAL_S = 0.1
# The last lines come through tee, or over the network, after the run has written its final status.
_QUIET_S = 0.5


def follow(path: Path, logs: Path, start: int, ended: Callable[[], bool]) -> Iterator[bytes]:
    """Yields what is in a file and what is added to it, until the run has ended and nothing more comes.

    Args:
        path: the file, which may appear later, be cut short or be replaced; it is then read from its
            beginning.
        logs: the directory of all runs.
        start: where to begin in the file that is there now, in bytes.
        ended: returns whether the run has ended.
    """
    file: FileIO | None = None
    quiet_since = None
    with contextlib.ExitStack() as stack:
        while True:
            # Looked at before the old file's last lines are read, so that none comes in between.
            replaced = file is None or _is_other(path, file)
            if file and (part := _read(file)):
                yield part
                quiet_since = None
            elif replaced and (newer := _open(path, logs)):
                stack.close()
                file = stack.enter_context(newer)
                file.seek(start)
                start = 0
            elif quiet_since and time.monotonic() - quiet_since > _QUIET_S:
                return
            else:
                quiet_since = quiet_since or (time.monotonic() if ended() else None)
                time.sleep(_INTERVAL_S)


def _is_other(path: Path, file: FileIO) -> bool:
    try:
        return not os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except OSError:  # gone; another one may come
        return False


def _open(path: Path, logs: Path) -> FileIO | None:
    try:
        return FileIO(open_regular(path, logs))
    except FileNotFoundError:
        return None


def _read(file: FileIO) -> bytes:
    if os.fstat(file.fileno()).st_size < file.tell():
        file.seek(0)
    return file.read(2**20)
