"""What a program writes into the copy of its code: where nobody looks for results."""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ._current_copy import current_copy

_BY_PRODUCTS = frozenset({".git", "__pycache__", ".pytest_cache"})
# At the end of a program nobody waits longer for a sentence.
_LONGEST_S = 1.0
_MOST_NAMES = 3


def new_in_copy(since_ns: int) -> str | None:
    """Says in a sentence which files appeared in the copy that this process runs from; None if none did.

    Args:
        since_ns: since when, in nanoseconds since 1970.
    """
    safe_copy = current_copy()
    if safe_copy is None:
        return None
    found = list(_new_files(safe_copy.copy, since_ns))
    return _sentence(found, safe_copy.copy) if found else None


def _sentence(found: Sequence[str], copy: str) -> str:
    common = os.path.commonpath(found)
    if common == copy:
        names = sorted({Path(os.path.relpath(path, copy)).parts[0] for path in found})
    else:
        names = [os.path.relpath(common, copy)]
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    files = "a new file has" if len(found) == 1 else f"{len(found)} new files have"
    return (
        f"during this run {files} appeared in the copy of the code, not in your working tree: "
        f"{', '.join(names[:_MOST_NAMES])}{more} in {copy}"
    )


def _new_files(copy: str, since_ns: int) -> Iterator[str]:
    """Lists files made since; a folder whose own time of change is older has no new ones."""
    end = time.monotonic() + _LONGEST_S
    folders = [copy]
    while folders and time.monotonic() < end:
        folder = folders.pop()
        try:
            changed = os.stat(folder).st_mtime_ns >= since_ns
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name in _BY_PRODUCTS or entry.is_symlink():
                        continue  # links lead to the working tree
                    if entry.is_dir():
                        folders.append(entry.path)
                    elif changed and _is_new_file(entry, since_ns):
                        yield entry.path
        except OSError:  # gone meanwhile
            continue


def _is_new_file(entry: "os.DirEntry[str]", since_ns: int) -> bool:
    # A file that was copied or moved there may say that it was written long ago.
    return (
        entry.is_file()
        and not entry.name.endswith(".pyc")
        and entry.stat(follow_symlinks=False).st_ctime_ns >= since_ns
    )
