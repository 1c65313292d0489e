"""The directory of a run under way, held open: the same one wherever it is moved."""

import os
import sys
import tempfile
from pathlib import Path

from mlxpy_core._errors import StorageError
from mlxpy_core._runs._directory import RunDirectory


class HeldDirectory:
    """Knows where the directory of a run is now.

    A directory that is moved is followed. Where it was removed, or cannot be followed (another host has
    moved it), logging goes on in a temporary directory: what lies at its old place may be another run's.

    Args:
        directory: the directory, which exists.

    Raises:
        StorageError: it cannot be opened.
    """

    def __init__(self, directory: RunDirectory) -> None:
        try:
            self._descriptor = os.open(directory.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._identity = _identity(os.fstat(self._descriptor))
        except OSError as error:
            raise StorageError(f"cannot open the run directory {directory.path}", error) from error
        self._directory = directory

    def locate(self) -> RunDirectory:
        """Returns where the directory is now; reports on standard error when that has changed."""
        if not self._is_at(self._directory.path):
            self._directory = self._followed() or self._replaced()
        return self._directory

    def close(self) -> None:
        """Lets go of the directory: the run has ended."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _is_at(self, path: Path) -> bool:
        if self._descriptor < 0:
            return True
        try:
            return _identity(os.stat(path)) == self._identity
        except OSError:
            return False

    def _followed(self) -> RunDirectory | None:
        try:
            place = Path(os.readlink(f"/proc/self/fd/{self._descriptor}"))  # proc(5): as it is now
        except OSError:
            return None
        if not self._is_at(place):
            return None
        old = self._directory
        _report(
            f"the directory of run {old.log_id} was moved from {old.path} to {place}: the run goes on"
        )
        return RunDirectory(place, old.log_id)

    def _replaced(self) -> RunDirectory:
        old, self._directory = self._directory, temporary_directory(self._directory)
        os.close(self._descriptor)
        self._descriptor = os.open(self._directory.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._identity = _identity(os.fstat(self._descriptor))
        _report(
            f"the directory {old.path} of run {old.log_id} was removed or replaced: its logging has "
            f"ended, what follows is in {self._directory.path}"
        )
        return self._directory


def temporary_directory(directory: RunDirectory) -> RunDirectory:
    """Makes a directory for what a run logs whose own directory is gone."""
    parent = Path(tempfile.mkdtemp(prefix=f"mlxpy-run-{directory.log_id}-"))
    place = parent / str(directory.log_id)
    place.mkdir()
    return RunDirectory(place)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _report(sentence: str) -> None:
    print(f"mlxpy: {sentence}", file=sys.stderr)
