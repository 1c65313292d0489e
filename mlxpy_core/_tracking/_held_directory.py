"""The directory of a run under way, held open: the same one wherever it is moved."""

import contextlib
import errno
import os
import sys
import tempfile
from pathlib import Path

from mlxpy_core._errors import StorageError
from mlxpy_core._io._retries import can_pass
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._info_file import read_info


class HeldDirectory:
    """Knows where the directory of a run is now.

    A directory that is moved is followed. Where it was removed, or cannot be followed (another host has
    moved it), logging goes on in a temporary directory: what lies at its old place may be another run's.
    Where its whole file system is away it is neither, and there again when that is mounted again.

    Args:
        directory: the directory, which exists.
        run_id: the run's identity, by which its directory is known again.

    Attributes:
        directory: where it was at the last look.
        run_id: the run's identity.

    Raises:
        StorageError: it cannot be opened.
    """

    def __init__(self, directory: RunDirectory, run_id: str) -> None:
        self.run_id = run_id
        self._descriptor = -1
        self.directory = directory
        self._hold(directory)

    def locate(self) -> RunDirectory:
        """Returns where the directory is now; reports on standard error when that has changed.

        Raises:
            StorageError: its file system is away.
        """
        if not self._is_at(self.directory.path):
            self.directory = self._followed() or self._mounted_again() or self._replaced()
        return self.directory

    def close(self) -> None:
        """Lets go of the directory: the run has ended."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _hold(self, directory: RunDirectory) -> None:
        try:
            descriptor = os.open(directory.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._identity = _identity(os.fstat(descriptor))
            self._mount = _mount_of(directory.path)
        except OSError as error:
            raise StorageError(f"cannot open the run directory {directory.path}", error) from error
        self.close()
        self._descriptor = descriptor
        self.directory = directory

    def _is_at(self, path: Path) -> bool:
        if self._descriptor < 0:
            return True
        try:
            return _identity(os.stat(path)) == self._identity
        except OSError as error:
            if can_pass(error):
                raise StorageError(f"cannot look at {path}", error) from error
            return False

    def _followed(self) -> RunDirectory | None:
        try:
            place = Path(os.readlink(f"/proc/self/fd/{self._descriptor}"))  # proc(5): as it is now
        except OSError:
            return None
        if not self._is_at(place):
            return None
        old = self.directory
        _report(
            f"the directory of run {old.log_id} was moved from {old.path} to {place}: the run goes on"
        )
        return RunDirectory(place, old.log_id)

    def _mounted_again(self) -> RunDirectory | None:
        """Holds the directory anew where another mount of its file system has it now.

        Raises:
            StorageError: there is no other mount yet.
        """
        mount, device = self._mount
        try:
            if os.stat(mount).st_dev == device:
                return None
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StorageError(f"cannot look at {mount}", error) from error
        info = read_info(self.directory)
        if info is None or info.get("run_id") != self.run_id:
            away = OSError(errno.ENOTCONN, "its file system is not mounted")
            raise StorageError(f"cannot find {self.directory.path}", away)
        self._hold(self.directory)
        return self.directory

    def _replaced(self) -> RunDirectory:
        old = self.directory
        self._hold(temporary_directory(old))
        _report(
            f"the directory {old.path} of run {old.log_id} was removed or replaced: its logging has "
            f"ended, what follows is in {self.directory.path}"
        )
        return self.directory


def temporary_directory(directory: RunDirectory) -> RunDirectory:
    """Makes a directory for what a run logs whose own directory is gone."""
    parent = Path(tempfile.mkdtemp(prefix=f"mlxpy-run-{directory.log_id}-"))
    place = parent / str(directory.log_id)
    place.mkdir()
    return RunDirectory(place)


def _mount_of(path: Path) -> tuple[Path, int]:
    """Returns where the file system of a directory is mounted, and its device there."""
    device = os.stat(path).st_dev
    for parent in path.parents:
        if os.stat(parent).st_dev != device:
            break
        path = parent
    return path, device


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _report(sentence: str) -> None:
    print(f"mlxpy: {sentence}", file=sys.stderr)
