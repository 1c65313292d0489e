"""The tree of runs: where each file of a run lies, and how a run gets its number."""

import os
from dataclasses import dataclass
from pathlib import Path

from ._errors import MlxpyError, StorageError

_HINT_WIDTH = 20


@dataclass(frozen=True)
class RunDirectory:
    """The directory of one run, ``parent_log_dir/log_id``, and the places inside it."""

    path: Path

    @property
    def log_id(self) -> int:
        return int(self.path.name)

    @property
    def metadata(self) -> Path:
        return self.path / "metadata"

    @property
    def info(self) -> Path:
        return self.metadata / "info.yaml"

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
    def keys(self) -> Path:
        return self.path / ".keys"


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
        make_results_directory(parent_log_dir)
        if forced_log_id == -1:
            return RunDirectory(_take_next_id(parent_log_dir))
        path = parent_log_dir / str(forced_log_id)
        path.mkdir(exist_ok=True)
        return RunDirectory(path)
    except OSError as error:
        raise StorageError(f"cannot make a run directory in {parent_log_dir}", error) from error


def make_results_directory(path: Path) -> None:
    """Makes a directory of results that git does not see; one that exists is left as it is."""
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        if not path.is_dir():
            raise
        return
    (path / ".gitignore").write_text("*\n", encoding="utf-8")


def _take_next_id(parent: Path) -> Path:
    # The hint holds the last number taken. It may be stale or lost: mkdir alone decides.
    hint = parent / ".mlxpy" / "last_id"
    last = _read_hint(hint)
    if last is None or not os.path.lexists(parent / str(last)):
        last = _newest_id(parent)
    candidate, collisions = last + 1, 0
    while True:
        path = parent / str(candidate)
        try:
            path.mkdir()
        except FileExistsError:
            collisions += 1
            # Neighbours are taken one by one; a long stale stretch is leapt over.
            candidate = candidate + 1 if collisions % 64 else _newest_id(parent) + 1
        else:
            _write_hint(hint, candidate)
            return path


def _newest_id(parent: Path) -> int:
    with os.scandir(parent) as entries:
        names = (entry.name for entry in entries)
        return max((int(name) for name in names if is_run_name(name)), default=0)


def is_run_name(name: str) -> bool:
    """Tells whether a directory of this name is a run: a number from 1 without leading zeros."""
    return name.isascii() and name.isdigit() and name[0] != "0"


def _read_hint(hint: Path) -> int | None:
    try:
        text = hint.read_bytes()
    except OSError:
        return None
    return int(text) if len(text) == _HINT_WIDTH and text.isdigit() else None


def _write_hint(hint: Path, log_id: int) -> None:
    # One write of a fixed width over the old one: a reader never sees an empty or short file.
    text = f"{log_id:0{_HINT_WIDTH}d}".encode()
    try:
        descriptor = os.open(hint, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except FileNotFoundError:
        hint.parent.mkdir(exist_ok=True)
        _write_hint(hint, log_id)
        return
    except OSError:  # another user's hint, a full disk: the next run looks for itself
        return
    try:
        os.write(descriptor, text)
    except OSError:
        pass
    finally:
        os.close(descriptor)
