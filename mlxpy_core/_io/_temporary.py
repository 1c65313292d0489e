"""Names and directories of files that are half written, where others may write, too."""

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ._links import held_path

TEMPORARY = ".mlxpy-tmp-"
"""How the names of half-written files start; no two processes anywhere make the same."""

TEMPORARY_PATTERN = f"{TEMPORARY}{'[0-9a-f]' * 16}-*"
"""Matches these names and no others, for `Path.glob`."""

ANEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
"""How a file is opened that must be a new one."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def temporary_path(path: Path) -> Path:
    """Returns a path beside `path` that no other process of any host or container makes or can guess."""
    return path.with_name(temporary_name(path.name))


def temporary_name(name: str) -> str:
    """Returns the name of such a path."""
    # The suffix stays last, by which what is half written may be told.
    return f"{TEMPORARY}{secrets.token_hex(8)}-{name}"


@contextmanager
def private_folder(path: Path, parent: int) -> Iterator[tuple[int, Path]]:
    """Yields a new directory that only this user may enter; it is removed in the end, with its files.

    Args:
        path: what it is made beside.
        parent: the descriptor of the directory that it is made in.

    Yields:
        Its descriptor, and a path that leads there whatever others do to the directories above it.

    Raises:
        OSError: it cannot be made.
    """
    temporary = temporary_path(path)
    os.mkdir(temporary.name, 0o700, dir_fd=parent)
    try:
        folder = os.open(temporary.name, _FOLDER, dir_fd=parent)
        try:
            if not is_own(folder, folder):
                raise OSError(errno.EPERM, "its directory was replaced at this moment", str(path))
            yield folder, held_path(folder, temporary)
        finally:
            with contextlib.suppress(OSError):
                for name in os.listdir(folder):
                    os.unlink(name, dir_fd=folder)
            os.close(folder)
    finally:
        with contextlib.suppress(OSError):
            os.rmdir(temporary.name, dir_fd=parent)


def is_own(descriptor: int, folder: int) -> bool:
    """Returns whether a file is this user's, as far as its file system tells users apart.

    Args:
        descriptor: the file, which is open.
        folder: the descriptor of the directory that it lies in.

    Raises:
        OSError: nothing can be made in the directory, where users may be told apart otherwise.
    """
    owner = os.fstat(descriptor).st_uid
    return owner == os.getuid() or owner == _owner_of_new_files(folder)


def _owner_of_new_files(folder: int) -> int:
    """Returns whose a file is that this user makes: a server may give those of root to nobody."""
    name = temporary_name("owner")
    descriptor = os.open(name, ANEW, dir_fd=folder)
    try:
        return os.fstat(descriptor).st_uid
    finally:
        os.close(descriptor)
        os.unlink(name, dir_fd=folder)


def remove_leftover(path: Path) -> None:
    """Removes a half-written file, or the directory that one was written in, if that is allowed."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
