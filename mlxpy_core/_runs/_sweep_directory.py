"""Where the sweeper and the launcher of a sweep write what is of no run: beside the runs."""

import contextlib
import itertools
import os
import time
from dataclasses import dataclass
from pathlib import Path

from mlxpy_core._errors import StorageError

from ._directory import make_results_directory

# Hidden, as all that is no run: whoever lists the directory sees runs.
_SWEEPS = ".sweeps"
# What Hydra writes before it knows whether there will be a job.
_WRITTEN_FIRST = "multirun.yaml"


@dataclass(frozen=True)
class SweepDirectory:
    """The directory of one sweep, ``<parent_log_dir>/.sweeps/<date>_<time>``.

    Attributes:
        path: where it is, absolute.
        parent_log_dir: the directory of all runs.
        is_first: whether there was no directory of runs before.
        runs_changed_ns: when an entry appeared last among the runs, before those of this sweep.
    """

    path: Path
    parent_log_dir: Path
    is_first: bool
    runs_changed_ns: int

    def remove_if_unused(self) -> None:
        """Removes the directory, and that of the runs if it is new, where the sweep has made no run."""
        with contextlib.suppress(OSError):  # somebody uses it, or has moved it
            made_run = self.parent_log_dir.stat().st_mtime_ns != self.runs_changed_ns
            if made_run or set(os.listdir(self.path)) - {_WRITTEN_FIRST}:
                return
            (self.path / _WRITTEN_FIRST).unlink(missing_ok=True)
            self.path.rmdir()
            self.path.parent.rmdir()
            if self.is_first and os.listdir(self.parent_log_dir) == [".gitignore"]:
                (self.parent_log_dir / ".gitignore").unlink()
                self.parent_log_dir.rmdir()


def take_sweep_directory(parent_log_dir: Path) -> SweepDirectory:
    """Makes the directory of a new sweep; of sweeps that start in the same second, each gets its own.

    Raises:
        StorageError: it cannot be made.
    """
    is_first = not parent_log_dir.exists()
    try:
        make_results_directory(parent_log_dir)
    except OSError as error:
        raise StorageError(f"cannot make a run directory in {parent_log_dir}", error) from error
    try:
        path = _make_new(_sweeps(parent_log_dir))
        changed = parent_log_dir.stat().st_mtime_ns
    except OSError as error:
        raise StorageError(f"cannot make the directory of a sweep in {parent_log_dir}", error) from error
    return SweepDirectory(path, parent_log_dir, is_first, changed)


def _sweeps(parent_log_dir: Path) -> Path:
    """Makes the directory of all sweeps: one's own where another user has made the usual one."""
    shared = parent_log_dir / _SWEEPS
    with contextlib.suppress(FileExistsError):
        shared.mkdir()
    if not shared.is_symlink() and shared.stat().st_uid == os.geteuid():
        return shared
    own = shared.with_name(f"{_SWEEPS}_{os.geteuid()}")
    own.mkdir(exist_ok=True)
    return own


def _make_new(sweeps: Path) -> Path:
    started = time.strftime("%Y-%m-%d_%H-%M-%S")
    for number in itertools.count(1):
        path = sweeps / (started if number == 1 else f"{started}_{number}")
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            break
    return path
