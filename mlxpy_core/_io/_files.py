"""Files that are there whole or not at all."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlxpy_core._errors import StorageError

from ._retries import Retries

TEMPORARY = ".mlxpy-tmp-"
"""How the names of half-written files start; no two processes anywhere make the same."""

TEMPORARY_PATTERN = f"{TEMPORARY}{'[0-9a-f]' * 16}-*"
"""Matches these names and no others, for `Path.glob`."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; what was written there becomes `path` at the end.

    The file is fsynced and renamed, so a crash at any moment leaves the old file or the new one.
    An exception leaves the old one and no temporary file.

    Raises:
        StorageError: the file system refused.
    """
    temporary = temporary_path(path)
    try:
        if not os.path.isdir(path.parent):  # mostly it is there
            path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        fsync_path(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise StorageError(f"cannot write {path}", error) from error
    finally:
        with contextlib.suppress(OSError):  # gone, or never there
            temporary.unlink()


def temporary_path(path: Path) -> Path:
    """Returns a path beside `path` that no other process of any host or container makes."""
    # The suffix stays last: np.save and its like add their own where it is missing.
    return path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}-{path.name}")


def write_whole(path: Path, text: str, retries: Retries | None = None) -> None:
    """Writes a small text file, whole or not at all.

    Args:
        path: the file.
        text: what it will hold.
        retries: bounds the time that a file system is waited for.

    Raises:
        StorageError: the file system refused.
    """

    def write() -> None:
        with whole_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8", errors="surrogateescape")

    (retries or Retries())(write)


def read_bytes(path: str) -> bytes:
    """Reads a small file; twice as fast as Python's file objects, which counts for 100,000 files."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(descriptor, 2**16):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def fsync_path(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


Stamp = tuple[int, int]
"""Changes when a file does: its time of change in nanoseconds, and its length in bytes."""


def stamp_of(path: str | os.PathLike[str]) -> Stamp:
    """Returns the stamp of a file.

    Raises:
        OSError: there is no such file, or it may not be looked at.
    """
    status = os.stat(path)
    return status.st_mtime_ns, status.st_size
