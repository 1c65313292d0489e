"""Where the reader's cache of a directory of runs lies."""

import contextlib
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._links import check_named, make_folder

# Another layout of the cache gets another name, so that two versions of mlxpy can share a directory.
_NAME = "reader-2"


@dataclass(frozen=True)
class CachePlace:
    """Directories that hold the cache.

    Attributes:
        readable: those to read from.
        writable: the one to write to; None if there is none.
        within: the directory that the user has named, below which that one lies.
    """

    readable: Sequence[Path]
    writable: Path | None
    within: Path

    def below(self, name: str) -> "CachePlace":
        """Returns the place of one part of the cache; its directory is made if possible."""
        writable = _make(self.writable / name, self.within) if self.writable else None
        return CachePlace([directory / name for directory in self.readable], writable, self.within)


def cache_place(logs: Path, dst_dir: Path | None) -> CachePlace:
    """Chooses where to keep what is read of `logs`.

    It is ``logs/.mlxpy``; where that cannot be written (another user's runs), the user's cache directory
    besides; and nothing but `dst_dir` if that is given.

    Raises:
        MlxpyError: `dst_dir` cannot be written.
    """
    if dst_dir is not None:
        with contextlib.suppress(OSError):  # what comes of it is seen below
            dst_dir.mkdir(parents=True, exist_ok=True)
        chosen = _make(dst_dir / _name_of(logs), dst_dir)
        if chosen is None:
            raise MlxpyError(f"dst_dir={str(dst_dir)!r} cannot be written: choose another directory")
        return CachePlace([chosen], chosen, dst_dir)
    own = logs / ".mlxpy" / _NAME
    if made := _make(own, logs):
        return CachePlace([own], made, logs)
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    with contextlib.suppress(OSError):
        caches.mkdir(parents=True, exist_ok=True)
    user = caches / "mlxpy" / _name_of(logs)
    return CachePlace([own, user], _make(user, caches), caches)


def _make(directory: Path, within: Path) -> Path | None:
    """Makes a directory; None where that is not possible, or it would be behind another user's link.

    `within` is not made: runs that were moved away meanwhile would leave an empty directory there.
    """
    try:
        check_named(within)
        make_folder(directory, within)
    except OSError:
        return None
    return directory if os.access(directory, os.W_OK | os.X_OK) else None


def _name_of(logs: Path) -> str:
    digest = hashlib.sha256(os.fsencode(logs)).hexdigest()[:16]
    return f"{logs.name}-{digest}-{_NAME}"
