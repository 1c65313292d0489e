"""The tree of runs: where each file of a run lies, and how a run gets its number."""

import contextlib
import errno
import itertools
import os
import shlex
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mlxpy_core._errors import MlxpyError, StorageError
from mlxpy_core._io._files import do_at_once, open_in_place, open_regular, write_unsynced
from mlxpy_core._io._interrupts import signals_held
from mlxpy_core._io._links import check_named
from mlxpy_core._io._retries import Retries
from mlxpy_core._io._temporary import TEMPORARY_PATTERN, remove_leftover

from ._trash import highest_removed, is_in_trash

_HINT_WIDTH = 20
# So many runs' directories are made before a signal is heard.
_AT_ONCE = 32


@dataclass(frozen=True)
class RunDirectory:
    """The directory of one run, ``parent_log_dir/log_id``, and the places inside it.

    Attributes:
        path: where it is.
        number: the run's number where the directory has another name: somebody has moved it.
        made: whether this process has made it, for a new run.
    """

    path: Path
    number: int | None = None
    made: bool = field(default=False, compare=False)

    @property
    def log_id(self) -> int:
        return int(self.path.name) if self.number is None else self.number

    @property
    def logs(self) -> Path:
        """The directory of all runs, below which no link of another user is followed."""
        return self.path.parent

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

    @property
    def job_note(self) -> Path:
        """What it takes to submit the run again, and its job's id once the queue has taken it."""
        return self.state / "job.yaml"


def take_run_directory(parent_log_dir: Path, forced_log_id: int = -1) -> RunDirectory:
    """Makes the directory of a new run, or of the run `forced_log_id` if that is not -1.

    The number of a new run is one more than the newest run's, starting at 1. The `mkdir` itself
    takes it, so any number of processes on any hosts of one file system get different numbers.

    Raises:
        MlxpyError: `forced_log_id` is no number of a run, or that of one that was removed; or no number
            is left.
        StorageError: the directory cannot be made.
    """
    if forced_log_id != -1 and forced_log_id < 1:
        raise MlxpyError(
            f"forced_log_id={forced_log_id} is no run: "
            "runs are numbered from 1, and -1 takes a new number"
        )
    try:
        with contextlib.suppress(FileNotFoundError):
            check_named(parent_log_dir)
        if forced_log_id == -1:
            return _take_new(parent_log_dir, 1, [])
        path = parent_log_dir / str(forced_log_id)
        if is_in_trash(parent_log_dir, forced_log_id) and not path.exists():
            raise MlxpyError(
                f"run {forced_log_id} in {parent_log_dir} is in the trash: "
                f"mlxpy rm --restore {forced_log_id} brings it back"
            )
        return _make_known(path)
    except OSError as error:
        raise StorageError(f"cannot make a run directory in {parent_log_dir}", error) from error


@contextmanager
def new_run_directories(parent_log_dir: Path) -> Iterator[Callable[[int], list[RunDirectory]]]:
    """Yields a function that makes the directories of so many new runs at each call.

    If the block raises anything, those that are no runs yet are removed.
    """
    made: list[RunDirectory] = []

    def take(count: int) -> list[RunDirectory]:
        first = len(made)
        try:
            with contextlib.suppress(FileNotFoundError):
                check_named(parent_log_dir)
            while (left := count + first - len(made)) > 0:
                with signals_held():
                    _take_new(parent_log_dir, min(left, _AT_ONCE), made)
        except OSError as error:
            raise StorageError(f"cannot make a run directory in {parent_log_dir}", error) from error
        return made[first:]

    try:
        yield take
    except BaseException:
        with signals_held(drop=True):
            remove_new_runs([directory for directory in made if not directory.metadata.exists()])
        raise


def remove_new_runs(directories: Iterable[RunDirectory]) -> None:
    """Removes the directories of runs that only this process knows; what cannot be removed stays."""
    do_at_once(lambda directory: shutil.rmtree(directory.path, ignore_errors=True), directories)


def discard_run_directory(directory: RunDirectory) -> None:
    """Removes the directory of a new run that this process has claimed, and could not start."""
    if directory.made:
        shutil.rmtree(directory.path, ignore_errors=True)


def leave_run_directory(directory: RunDirectory) -> None:
    """Removes the directory of a new run that this process has not claimed, unless another one has."""
    if directory.made:
        with contextlib.suppress(OSError):  # it is in use
            with contextlib.suppress(FileNotFoundError):
                directory.state.rmdir()
            directory.path.rmdir()


def next_run_directory(parent_log_dir: Path) -> RunDirectory:
    """Returns the directory that the next new run would have, without taking it.

    Raises:
        StorageError: the directory of all runs cannot be read.
    """
    try:
        newest = max(_newest_id(parent_log_dir), highest_removed(parent_log_dir))
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
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None
        return
    try:
        write_unsynced(path / ".gitignore", "*\n", path)
    except OSError:
        with contextlib.suppress(OSError):  # whoever makes it next writes the file, too
            (path / ".gitignore").unlink(missing_ok=True)
            path.rmdir()
        raise


def remove_temporary_files(directory: RunDirectory) -> None:
    """Removes what a killed process of mlxpy left half written in its own places of a run."""
    places = (directory.metadata, directory.state, directory.metrics, directory.artifacts)
    for leftover in [found for place in places for found in place.rglob(TEMPORARY_PATTERN)]:
        remove_leftover(leftover)


def _make_known(path: Path) -> RunDirectory:
    """Makes the directory of a run whose number is known; one that is there is taken as it is."""
    Retries()(lambda: make_results_directory(path.parent))
    try:
        Retries()(path.mkdir)
    except FileExistsError:
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{path} is no directory") from None
        return RunDirectory(path)
    return RunDirectory(path, made=True)


def _take_new(parent: Path, count: int, taken: list[RunDirectory]) -> RunDirectory:
    """Makes the directories of new runs, adds each to those that are taken, and returns the last."""
    end = len(taken) + count
    Retries()(lambda: _take_next_ids(parent, end, taken))
    return taken[-1]


def _take_next_ids(parent: Path, end: int, taken: list[RunDirectory]) -> None:
    # The hint holds the last number taken. It may be stale or lost: mkdir alone decides.
    hint = _open_hint(parent)
    try:
        last = _read_hint(hint)
        if last is None or not (is_run_name(str(last)) and os.path.lexists(f"{parent}/{last}")):
            last = _newest_id(parent)
        while len(taken) < end:
            last = _make_next(parent, last)
            taken.append(RunDirectory(parent / str(last), made=True))
        _write_hint(hint, last)
    finally:
        if hint is not None:
            os.close(hint)


def _make_next(parent: Path, last: int) -> int:
    candidate = last
    for attempt in itertools.count(1):
        # Neighbours are tried one by one; a long stretch that others have taken is leapt over.
        candidate = candidate + 1 if attempt % 64 else _newest_id(parent) + 1
        if not is_run_name(str(candidate)):
            raise MlxpyError(
                f"no number is left for a run in {parent}: rename {candidate - 1} there, or in its "
                ".trash/.highest"
            )
        try:
            os.mkdir(f"{parent}/{candidate}")
        except FileExistsError:
            continue
        try:
            # Looked at afterwards: a run may have been removed just before.
            removed = highest_removed(parent)
        except OSError:
            with contextlib.suppress(OSError):  # refused, too
                os.rmdir(f"{parent}/{candidate}")
            raise
        if removed < candidate:
            break
        os.rmdir(f"{parent}/{candidate}")
        candidate = removed
    return candidate


def _newest_id(parent: Path) -> int:
    with os.scandir(parent) as entries:
        names = (entry.name for entry in entries)
        return max((int(name) for name in names if is_run_name(name)), default=0)


def logs_argument(logs: Path) -> str:
    """Returns what a command ``mlxpy`` has to be told of where runs are; nothing if in ./logs."""
    return "" if logs == Path.cwd() / "logs" else f" --logs {shlex.quote(str(logs))}"


def is_run_name(name: str) -> bool:
    """Returns whether a directory of this name is a run: a number from 1 without leading zeros."""
    # Numbers of more digits (somebody's time stamps) do not fit the reader's 64 bits.
    return name.isascii() and name.isdigit() and name[0] != "0" and len(name) <= 18


def _open_hint(parent: Path) -> int | None:
    path = f"{parent}/.mlxpy/last_id"
    try:
        return open_in_place(path, parent, os.O_RDWR)
    except FileNotFoundError:
        make_results_directory(parent)
        with contextlib.suppress(OSError):
            return open_in_place(path, parent, os.O_RDWR)
    except OSError:  # another user's hint, which may still be read
        with contextlib.suppress(OSError):
            return open_regular(path, parent)
    return None


def _read_hint(hint: int | None) -> int | None:
    text = b""
    if hint is not None:
        with contextlib.suppress(OSError):  # a disk that fails
            text = os.pread(hint, _HINT_WIDTH + 1, 0)
    return int(text) if len(text) == _HINT_WIDTH and text.isdigit() else None


def _write_hint(hint: int | None, log_id: int) -> None:
    # One write of a fixed width over the old one: a reader never sees an empty or short file.
    if hint is not None:
        with contextlib.suppress(OSError):  # a full disk, another user's hint
            os.pwrite(hint, f"{log_id:0{_HINT_WIDTH}d}".encode(), 0)
