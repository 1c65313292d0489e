"""Names that a user gives to logs, artifacts and types; each becomes a path inside the run."""

from pathlib import Path
from typing import Any

from mlxpy_core._errors import InvalidNameError

_LONGEST_PART = 200  # bytes; file systems allow 255, temporary names and suffixes need the rest


def check_name(name: Any, what: str, *, folders: bool = True) -> str:
    """Returns `name` if it can be a file's path inside a run directory.

    Args:
        name: a plain name, or with `folders` a relative path of plain names such as ``models/best``.
        what: what it names, for the message.
        folders: whether ``/`` is allowed.

    Raises:
        InvalidNameError: it is no string, is empty, leaves the directory, or is hidden.
    """
    if not isinstance(name, str):
        raise InvalidNameError(
            f"{what} {name!r} is no string but a {type(name).__name__}: give a name such as 'train'"
        )
    parts = name.split("/")
    if not folders and len(parts) > 1:
        raise InvalidNameError(f"{what} {name!r} must not contain '/': leave it out")
    for part in parts:
        if not part or part.startswith(".") or any(not c.isprintable() for c in part):
            raise InvalidNameError(
                f"{what} {name!r} is not usable: give a name such as 'train' or 'models/best' whose "
                "parts are not empty, do not start with '.' and hold printable characters only"
            )
        if len(part.encode(errors="replace")) > _LONGEST_PART:
            raise InvalidNameError(
                f"{what} {name!r} is longer than {_LONGEST_PART} bytes: give a shorter one"
            )
    return name


def check_unlinked(path: Path, run: Path, what: str) -> None:
    """Refuses a path in a run's directory that passes through a symbolic link there.

    Whoever may write to the directory could otherwise have files written anywhere.

    Args:
        path: the path; it need not exist.
        run: the run's directory, which may be a link itself.
        what: what it is, for the message.

    Raises:
        InvalidNameError: it does.
    """
    for place in (path, *path.parents):
        if place == run:
            return
        if place.is_symlink():
            raise InvalidNameError(
                f"{what} passes through the symbolic link {place}: remove it, or choose another name"
            )
