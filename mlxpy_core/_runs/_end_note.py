"""How an attempt at a run ended, noted beside info.yaml if that cannot be written: on a full disk, say.

Room for the note is made when the attempt starts, and held open. To write it then takes no space, no
inode, no further open file and no permission. It is removed as soon as info.yaml says the same.
"""

import contextlib
import errno
import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from mlxpy_core._errors import StorageError
from mlxpy_core._io._files import read_text
from mlxpy_core._io._links import make_folder, open_below

from ._directory import RunDirectory
from ._status import ENDED, Status

# One block of most file systems: a longer traceback loses its beginning.
_SIZE = 4096


class EndNote:
    """The note of an attempt under way in this process."""

    def __init__(self) -> None:
        self._descriptor = -1
        self._blank = False

    def make_room(self, directory: RunDirectory, attempt: int) -> None:
        """Makes room for the note of an attempt, the first being 1; it says nothing yet.

        Raises:
            StorageError: the file system refused.
        """
        if self._descriptor >= 0 and self._blank:
            return
        path = _note_path(directory, attempt)
        try:
            if self._descriptor < 0:
                make_folder(path.parent, directory.logs)
                path.unlink(missing_ok=True)  # of a process that died before its attempt began
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
                self._descriptor = open_below(path, directory.logs, flags)
            _write(self._descriptor, b"")
            self._blank = True
        except OSError as error:
            self.remove(directory, attempt)
            raise StorageError(f"cannot write {path}", error) from error

    def write(self, info: Mapping[str, Any]) -> bool:
        """Notes how the last attempt ended, or that it goes on; returns whether that worked."""
        if self._descriptor < 0:
            return False
        self._blank = False
        try:
            _write(self._descriptor, _encoded(info) if info["status"] in ENDED else b"")
            os.fsync(self._descriptor)
        except OSError:
            return False
        return True

    def remove(self, directory: RunDirectory, attempt: int) -> None:
        """Removes the note: info.yaml has the status."""
        self.close()
        remove_end_note(directory, attempt)

    def close(self) -> None:
        """Lets go of the note and leaves it there."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1


def read_end_note(directory: RunDirectory, info: Mapping[str, Any]) -> dict[str, Any] | None:
    """Reads how the last attempt of an info ended; None where that is not noted.

    Returns:
        The note: ``status``, ``signal``, ``end`` (a date and time with its offset) and ``exception``.
    """
    try:
        noted = json.loads(read_text(_note_path(directory, len(info["attempts"])), directory.logs))
        if noted["start"] != info["attempts"][-1]["start"] or Status(noted["status"]) not in ENDED:
            return None
        noted["end"] = datetime.fromisoformat(noted["end"])
        known = isinstance(noted["signal"], str | None) and isinstance(noted["exception"], dict | None)
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return noted if known and noted["end"].tzinfo else None


def remove_end_note(directory: RunDirectory, attempt: int) -> None:
    """Removes the note of an attempt, if there is one."""
    with contextlib.suppress(OSError):
        _note_path(directory, attempt).unlink()


def _note_path(directory: RunDirectory, attempt: int) -> Path:
    return directory.state / f"end-{attempt}.json"


def _write(descriptor: int, content: bytes) -> None:
    padded = content.ljust(_SIZE)
    if os.pwrite(descriptor, padded, 0) < len(padded):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _encoded(info: Mapping[str, Any]) -> bytes:
    attempt, exception = info["attempts"][-1], info["exception"]
    noted = {"start": attempt["start"], "end": attempt["end"], "signal": info["signal"]}
    noted |= {"status": info["status"], "exception": exception and dict(exception)}
    encoded = json.dumps(noted).encode()
    for part in ("traceback", "message"):
        if exception and len(encoded) > _SIZE:
            left = max(0, len(exception[part]) - (len(encoded) - _SIZE))
            text = exception[part]
            noted["exception"][part] = text[len(text) - left :] if part == "traceback" else text[:left]
            encoded = json.dumps(noted).encode()
    return encoded
