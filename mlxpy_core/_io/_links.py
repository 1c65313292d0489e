"""Which symbolic links are followed in directories that others may write to.

Whoever may put a link there could otherwise have this user write anywhere, or read something private
and keep it where all can see it. The rule: below the directory that the user has named, a link is
followed if it is the user's own or root's. To read, one is also followed that leads to what belongs to
its owner, who might have put a copy there.

Directories are opened one inside the other, so that nobody can replace one between a look at it and its
use.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ._owners import owner_name

StrPath = str | os.PathLike[str]

# O_PATH does without the permission to list a directory, which not all systems have.
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY
_ALWAYS = os.O_NOFOLLOW | os.O_CLOEXEC
# What open(2) says of a link: the second with O_DIRECTORY, the third on BSD.
_IS_A_LINK = (errno.ELOOP, errno.ENOTDIR, errno.EMLINK)


@contextmanager
def opened_folder(path: StrPath, within: StrPath, *, make: bool = False) -> Iterator[int]:
    """Yields a descriptor of a directory, for calls with ``dir_fd``; refuses what `open_below` does.

    Args:
        path: the directory.
        within: the directory that the user has named; `path` is the same, or below it.
        make: whether to make it, and those between the two, where they are missing.
    """
    folder = _open_folder(path, within, make=make, to_read=False)
    try:
        yield folder
    finally:
        os.close(folder)


@contextmanager
def held_folder(path: Path, within: Path) -> Iterator[Path]:
    """Yields a path of a directory, which `opened_folder` has opened, as `held_path` returns it."""
    with opened_folder(path, within) as folder:
        yield held_path(folder, path)


def held_path(folder: int, path: Path) -> Path:
    """Returns a path of an open directory that leads there whatever others do to those above it.

    Args:
        folder: its descriptor.
        path: where it was opened, for systems that have no such path.
    """
    held = Path(f"/proc/{os.getpid()}/fd/{folder}")  # not self: programs that are started use it
    return held if held.exists() else path


def open_below(path: StrPath, within: StrPath, flags: int) -> int:
    """Opens a file as `os.open` does, by links below `within` only as far as they are followed.

    Args:
        path: the file.
        within: the directory that the user has named, and that `path` is below; links on the way to it
            are followed.
        flags: those of `os.open`.

    Raises:
        OSError: the system refused; or its errno is ELOOP, and the link is another user's.
    """
    to_read = not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    parent, name = os.path.split(path)
    folder = _open_folder(parent, within, make=False, to_read=to_read)
    try:
        return _open(folder, name, flags, to_read=to_read)
    finally:
        os.close(folder)


class OpenedFolders:
    """Directories below one that the user has named, made where they are missing, each opened once.

    Args:
        within: the directory that the user has named.
    """

    def __init__(self, within: StrPath) -> None:
        self._within = os.fspath(within)
        self._opened = {self._within: os.open(within, _FOLDER | os.O_CLOEXEC)}

    def descriptor(self, path: str) -> int:
        """Returns a descriptor of a directory; refuses what `open_below` does."""
        if path not in self._opened:
            _names_below(path, self._within)
            parent, name = os.path.split(path)
            self._opened[path] = _open_or_make(self.descriptor(parent), name, make=True, to_read=False)
        return self._opened[path]

    def close(self) -> None:
        """Closes the descriptors."""
        for folder in self._opened.values():
            os.close(folder)


def check_named(path: StrPath) -> None:
    """Refuses a directory that the user has named if it is another user's link to what is not theirs.

    Raises:
        OSError: it is, or it cannot be looked at; its errno is ELOOP in the first case.
    """
    link = os.lstat(path)
    if stat.S_ISLNK(link.st_mode) and link.st_uid not in (os.getuid(), 0, os.stat(path).st_uid):
        raise _refusal(os.fspath(path), link)


def make_folder(path: StrPath, within: StrPath) -> None:
    """Makes a directory, and those between `within` and it; one that is there is left as it is.

    Raises:
        OSError: as for `open_below`.
    """
    os.close(_open_folder(path, within, make=True, to_read=False))


def _open_folder(path: StrPath, within: StrPath, *, make: bool, to_read: bool) -> int:
    folder = os.open(within, _FOLDER | os.O_CLOEXEC)
    for name in _names_below(os.fspath(path), os.fspath(within)):
        try:
            inner = _open_or_make(folder, name, make=make, to_read=to_read)
        finally:
            os.close(folder)
        folder = inner
    return folder


def _names_below(path: str, within: str) -> list[str]:
    if path == within:
        return []
    start = "" if within in ("", os.curdir) else within.rstrip("/") + "/"
    names = path.removeprefix(start).split("/")
    if not path.startswith(start) or {"", os.pardir} & set(names):
        raise ValueError(f"{path} is not below {within}")
    return names


def _open_or_make(folder: int, name: str, *, make: bool, to_read: bool) -> int:
    try:
        return _open(folder, name, _FOLDER, to_read=to_read)
    except FileNotFoundError:
        if not make:
            raise
    with contextlib.suppress(FileExistsError):  # made meanwhile by another process
        os.mkdir(name, dir_fd=folder)
    return _open(folder, name, _FOLDER, to_read=to_read)


def _open(folder: int, name: str, flags: int, *, to_read: bool) -> int:
    try:
        return os.open(name, flags | _ALWAYS, 0o666, dir_fd=folder)
    except OSError as error:
        if error.errno not in _IS_A_LINK:
            raise
        link = os.lstat(name, dir_fd=folder)
        if flags & os.O_EXCL or not stat.S_ISLNK(link.st_mode):
            raise
    if link.st_uid not in (os.getuid(), 0) and not to_read:
        raise _refusal(name, link)
    target = os.readlink(name, dir_fd=folder)
    now = os.lstat(name, dir_fd=folder)
    if not (os.path.samestat(link, now) and link.st_ctime_ns == now.st_ctime_ns):
        raise OSError(errno.EAGAIN, f"the link {name} was replaced at this moment", name)
    opened = os.open(target, flags | os.O_CLOEXEC, 0o666, dir_fd=folder)
    if link.st_uid not in (os.getuid(), 0, os.fstat(opened).st_uid):
        os.close(opened)
        raise _refusal(name, link)
    return opened


def _refusal(name: str, link: os.stat_result) -> OSError:
    whose = owner_name(link.st_uid)
    return OSError(errno.ELOOP, f"{name} is a symbolic link of {whose}, which is not followed", name)
