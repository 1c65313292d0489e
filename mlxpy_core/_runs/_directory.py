"""The tree of runs: where each file of a run lies, and how a run gets its number."""

import contextlib
import itertools
import os
from dataclasses import dataclass
from pathlib import Path

from mlxpy_core._errors import MlxpyError, StorageError
from mlxpy_core._io._files import TEMPORARY_PATTERN
from mlxpy_core._io._retries import Retries

_HINT_WIDTH = 20


@dataclass(frozen=True)
class RunDirectory:
    """The directory of one run, ``parent_log_dir/log_id``, and the places inside it.

    Attributes:
        path: where it is.
        number: the run's number where the directory has another name: somebody has moved it.
    """

    path: Path
    number: int | None = None

    @property
    def log_id(self) -> int:
        return int(self.path.name) if self.number is None else self.number

    @property
    def metadata(self) -> Path:
        return self.path / "metadata"

    @property
    def config(self) -> Path:
        return self.metadata / "config.yaml"

    @property
    def settings(self) -> Path:
        return self.metadata / "mlxpy.yaml"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics"

    @property
    def artifacts(self) -> Path:
        return self.path / "artifacts"

    @property
    def state(self) -> Path:
        return self.path / ".keys"

    @property
    def environment(self) -> Path:
        """The variables that have the run's program run from a copy of its code."""
        return self.state / "environment.yaml"


def take_run_directory(parent_log_dir: Path, forced_log_id: int = -1) -> RunDirectory:
    """Makes the directory of a new run, or of the run `forced_log_id` if that is not -1.

    The number of a new run is one more than the newest run's, starting at 1. The `mkdir` itself
    takes it, so any number of processes on any hosts of one file system get different numbers.

    Raises:
        MlxpyError: `forced_log_id` is no number of a run.
        StorageError: the directory cannot be made.
    """
    if forced_log_id != -1 and forced_log_id < 1:
        raise MlxpyError(
            f"forced_log_id={forced_log_id} is no run: "
            "runs are numbered from 1, and -1 takes a new number"
        )
    try:
        if forced_log_id == -1:
            return RunDirectory(Retries()(lambda: _take_next_id(parent_log_dir)))
        return make_run_directory(parent_log_dir / str(forced_log_id))
    except OSError as error:
        raise StorageError(f"cannot make a run directory in {parent_log_dir}", error) from error


def make_run_directory(path: Path) -> RunDirectory:
    """Makes the directory of a run whose number is known; one that is there is taken as it is.

    Raises:
        StorageError: it cannot be made.
    """
    try:
        Retries()(lambda: make_results_directory(path.parent))
        Retries()(lambda: path.mkdir(exist_ok=True))
    except OSError as error:
        raise StorageError(f"cannot make the run directory {path}", error) from error
    return RunDirectory(path)


def next_run_directory(parent_log_dir: Path) -> RunDirectory:
    """Returns the directory that the next new run would have, without taking it.

    Raises:
        StorageError: the directory of all runs cannot be read.
    """
    try:
        newest = _newest_id(parent_log_dir)
    except FileNotFoundError:
        newest = 0
    except OSError as error:
        raise StorageError(f"cannot read {parent_log_dir}", error) from error
    return RunDirectory(parent_log_dir / str(newest + 1))


def make_results_directory(path: Path) -> None:
    """Makes a directory of results that git does not see; one that exists is left as it is."""
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    (path / ".gitignore").write_text("*\n", encoding="utf-8")


def remove_temporary_files(directory: RunDirectory) -> None:
    """Removes what a killed process of mlxpy left half written in its own places of a run."""
    places = (directory.metadata, directory.state, directory.metrics, directory.artifacts)
    for leftover in itertools.chain(*(place.rglob(TEMPORARY_PATTERN) for place in places)):
        with contextlib.suppress(OSError):  # gone, or no file of ours
            leftover.unlink()


def _take_next_id(parent: Path) -> Path:
    # The hint holds the last number taken. It may be stale or lost: mkdir alone decides.
    hint = _open_hint(parent)
    try:
        last = _read_hint(hint)
        if last is None or not os.path.lexists(f"{parent}/{last}"):
            last = _newest_id(parent)
        log_id = _make_next(parent, last)
        _write_hint(hint, log_id)
    finally:
        if hint is not None:
            os.close(hint)
    return parent / str(log_id)


def _make_next(parent: Path, last: int) -> int:
    candidate = last
    for attempt in itertools.count(1):
        # Neighbours are tried one by one; a long stretch that others have taken is leapt over.
        candidate = candidate + 1 if attempt % 64 else _newest_id(parent) + 1
        try:
            os.mkdir(f"{parent}/{candidate}")
        except FileExistsError:
            continue
        break
    return candidate


def _newest_id(parent: Path) -> int:
    with os.scandir(parent) as entries:
        names = (entry.name for entry in entries)
        return max((int(name) for name in names if is_run_name(name)), default=0)


def is_run_name(name: str) -> bool:
    """Returns whether a directory of this name is a run: a number from 1 without leading zeros."""
    # Numbers of more digits (somebody's time stamps) do not fit the reader's 64 bits.
    return name.isascii() and name.isdigit() and name[0] != "0" and len(name) <= 18


def _open_hint(parent: Path) -> int | None:
    path = f"{parent}/.mlxpy/last_id"
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o666)
    except FileNotFoundError:
        make_results_directory(parent)
        with contextlib.suppress(OSError):
            os.makedirs(f"{parent}/.mlxpy", exist_ok=True)
            return os.open(path, flags, 0o666)
    except OSError:  # another user's hint, which may still be read
        with contextlib.suppress(OSError):
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return None


def _read_hint(hint: int | None) -> int | None:
    text = b"" if hint is None else os.pread(hint, _HINT_WIDTH + 1, 0)
    return int(text) if len(text) == _HINT_WIDTH and text.isdigit() else None


def _write_hint(hint: int | None, log_id: int) -> None:
    # One write of a fixed width over the old one: a reader never sees an empty or short file.
    if hint is not None:
        with contextlib.suppress(OSError):  # a full disk, another user's hint
            os.pwrite(hint, f"{log_id:0{_HINT_WIDTH}d}".encode(), 0)
