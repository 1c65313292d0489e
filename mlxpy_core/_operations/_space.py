"""How much space runs take on the disk, and which of their parts do."""

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

RUN_PARTS = ("checkpoints", "artifacts", "metrics", "logs", "other")
"""The parts of what a run takes."""


class Measure:
    """Adds up the blocks of files, each once and no link's, until its time is over.

    Args:
        seconds: how long it may look in all.

    Attributes:
        whole: whether everything was looked at.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._seen: set[tuple[int, int]] = set()  # of files with several names
        self.whole = True

    def of_tree(self, top: Path) -> int:
        """Returns the bytes that a directory takes; what cannot be read takes none."""
        return sum(size for _, size in self._entries(str(top)))

    def of_run(self, run: Path) -> dict[str, int]:
        """Returns the bytes that each of `RUN_PARTS` takes of a run."""
        sizes = dict.fromkeys(RUN_PARTS, 0)
        for path, size in self._entries(str(run)):
            sizes[_part(path[len(str(run)) + 1 :])] += size
        return sizes

    def _entries(self, top: str) -> Iterator[tuple[str, int]]:
        walk = () if os.path.islink(top) else os.walk(top)
        below = (os.path.join(place, name) for place, *names in walk for name in chain(*names))
        for path in chain([top], below):
            if time.monotonic() > self._end:
                self.whole = False
                return
            with contextlib.suppress(OSError):  # removed meanwhile
                yield path, self._size(os.lstat(path))

    def _size(self, status: os.stat_result) -> int:
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            inode = status.st_dev, status.st_ino
            if inode in self._seen:
                return 0
            self._seen.add(inode)
        return status.st_blocks * 512


def _part(path: str) -> str:
    """Returns which part of a run a path in its directory belongs to."""
    first, _, rest = path.partition("/")
    if first == "artifacts":
        return "checkpoints" if rest.partition("/")[0] == "Checkpoint" else "artifacts"
    if first == "metrics":
        return "metrics"
    return "logs" if first.startswith("log.std") or path.endswith(".log") else "other"
