"""Where removed runs lie until the trash is emptied, and which numbers no run gets again."""

import contextlib
import os
from pathlib import Path

from mlxpy_core._io._links import make_folder, opened_folder

# Hidden, as all that is no run.
_TRASH = ".trash"
# An empty file is named by the highest number that was ever removed: it outlives what is in the trash.
_HIGHEST = ".highest"
_DIGITS = 18  # as in `_directory.is_run_name`


def trash_of(logs: Path) -> Path:
    """Returns the directory of removed runs."""
    return logs / _TRASH


def is_in_trash(logs: Path, log_id: int) -> bool:
    """Returns whether a run was removed, and can be restored."""
    return os.path.lexists(f"{logs}/{_TRASH}/{log_id}")


def highest_removed(logs: Path | str) -> int:
    """Returns the highest number of a run that was removed; 0 if none was.

    Raises:
        OSError: the file system refused.
    """
    try:
        names = os.listdir(f"{logs}/{_TRASH}/{_HIGHEST}")
    except (FileNotFoundError, NotADirectoryError):
        return 0
    except PermissionError as error:
        why = f"you may not read {error.filename}, which holds the numbers of removed runs"
        raise PermissionError(error.errno, why, error.filename) from error
    return max((int(name) for name in names if name.isdecimal() and len(name) <= _DIGITS), default=0)


def note_removal(logs: Path, log_id: int) -> None:
    """Notes, before a run is moved away, that nobody is to get its number again.

    Raises:
        OSError: the file system refused.
    """
    place = trash_of(logs) / _HIGHEST
    make_folder(place, logs)
    highest = highest_removed(logs)
    if log_id <= highest:
        return
    with opened_folder(place, logs) as folder:
        os.close(os.open(str(log_id), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666, dir_fd=folder))
        if highest:
            with contextlib.suppress(OSError):  # another process was faster, or another user noted it
                os.unlink(str(highest), dir_fd=folder)
