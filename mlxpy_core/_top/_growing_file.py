"""A file of a run that grows, of which only what is new is read."""

import os
from pathlib import Path
from typing import NamedTuple

from mlxpy_core._io._files import open_regular

_MOST = 2**22  # bytes that are read at once; the rest comes the next time
_LONGEST_REST = 2**12


class Part(NamedTuple):
    """Whole lines of a file.

    Attributes:
        content: the lines.
        anew: whether they begin the file again: it was replaced, or cut.
        cut: whether lines before them were left out.
    """

    content: bytes
    anew: bool = False
    cut: bool = False


class GrowingFile:
    """Reads the lines of a file that were added since the last time.

    Args:
        path: the file, which may come later, be replaced, cut or removed.
        logs: the directory of all runs.
        tail: how many bytes of its end are read first; None for all of it.

    Attributes:
        rest: the beginning of a last line that has no end yet.
    """

    def __init__(self, path: Path, logs: Path, tail: int | None = None) -> None:
        self._path = path
        self._logs = logs
        self._tail = tail
        self._file: tuple[int, int] | None = None  # device and inode
        self._position = 0
        self._size = -1
        self.rest = b""

    def new_lines(self) -> Part:
        """Returns the whole lines that are new; none while the file cannot be read."""
        try:
            status = os.stat(self._path)
            if (status.st_dev, status.st_ino) == self._file and status.st_size == self._size:
                return Part(b"")
            descriptor = open_regular(self._path, self._logs)
        except OSError:
            return Part(b"")
        try:
            return self._read(descriptor)
        except OSError:
            return Part(b"")
        finally:
            os.close(descriptor)

    def _read(self, descriptor: int) -> Part:
        status = os.fstat(descriptor)
        anew = (status.st_dev, status.st_ino) != self._file or status.st_size < self._position
        start = self._position
        if anew:
            start = max(0, status.st_size - self._tail) if self._tail is not None else 0
        content = os.pread(descriptor, min(status.st_size - start, _MOST), start)
        end = content.rfind(b"\n") + 1
        begin = content.find(b"\n") + 1 if anew and start else 0  # the first line may lack its beginning
        self._file = status.st_dev, status.st_ino
        self._position = start + end
        self.rest = content[max(begin, end) :][-_LONGEST_REST:]
        # What is left of it is looked for the next time, though it may not have grown.
        self._size = status.st_size if start + len(content) == status.st_size else -1
        return Part(content[begin:end], anew, cut=anew and start > 0)
