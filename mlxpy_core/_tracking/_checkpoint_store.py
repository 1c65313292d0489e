"""The checkpoints of a run, and the history of its metrics that goes on from one."""

import os
import pickle
import sys
import time
from pathlib import Path
from typing import Any

from mlxpy_core._errors import StorageError, UnstorableValueError
from mlxpy_core._io._files import whole_stream
from mlxpy_core._io._retries import OUTAGE_S, Retries
from mlxpy_core._runs._names import check_unlinked

from ._artifacts import BUILT_IN_TYPES, ArtifactStore
from ._checkpoints import (
    TYPE_NAME,
    Mark,
    checkpoint_of_mlxp,
    checkpoints_of_rank,
    find_checkpoint,
    newest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from ._history import measure_ranks
from ._kept_checkpoints import KeepRule, KeptCheckpoints
from ._run import Run
from ._subprocess import SubprocessRun


class CheckpointStore:
    """The checkpoints of one run.

    Args:
        artifacts: the run's artifacts, among which they are.
    """

    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts
        self._told_of_metric = False

    def save(self, run: Run, obj: Any, name: str, rule: KeepRule | None) -> None:
        """Stores an object whole; see `Logger.log_checkpoint`."""
        Retries(OUTAGE_S, announce=True)(lambda: self._save(run, obj, name, rule))

    def load(self, run: Run | SubprocessRun, name: str | None, root: str | Path | None) -> Any:
        """Loads an object and continues the run's history; see `Logger.load_checkpoint`."""
        return Retries(OUTAGE_S, announce=True)(lambda: self._load(run, name, root))

    def best(self, run: Run) -> str | None:
        """Returns the name of the best one that is kept; see `Logger.best_checkpoint`."""
        return KeptCheckpoints(run.directory, run.rank).best

    def _save(self, run: Run, obj: Any, name: str, rule: KeepRule | None) -> None:
        path = self._path(run, name, run.rank)
        kept = KeptCheckpoints(run.directory, run.rank)
        value = kept.last_value(rule.metric) if rule and rule.metric else None
        if rule and rule.metric and value is None and not self._told_of_metric:
            self._told_of_metric = True
            print(
                f"mlxpy: no number is logged as {rule.metric}: no best checkpoint yet", file=sys.stderr
            )
        try:
            if rule:
                kept.step_aside(name)
            mark = Mark(run.attempt, time.time(), measure_ranks(run.directory.metrics, run.rank))
            folder = checkpoints_of_rank(run.directory.artifacts / TYPE_NAME, run.rank)
            with whole_stream(path, run.directory.logs) as file:
                write_checkpoint(obj, mark, file, newest_checkpoint(folder))
                if rule:
                    kept.announce(name, os.fstat(file.fileno()).st_mtime_ns, value)
            if rule:
                kept.prune(rule)
        except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
            raise UnstorableValueError(
                f"cannot store a {type(obj).__name__} as checkpoint {name!r}: {error}"
            ) from error
        except StorageError:
            raise
        except OSError as error:
            raise StorageError(f"cannot store checkpoint {name!r}", error) from error

    def _load(self, run: Run | SubprocessRun, name: str | None, root: str | Path | None) -> Any:
        artifacts = run.directory.artifacts
        # MLXP needs to be told where its own checkpoints are.
        if root is not None and Path(root) not in (run.directory.path, artifacts, artifacts / "pickle"):
            return read_checkpoint(find_checkpoint(Path(root), name))[0]
        folder = artifacts / TYPE_NAME
        ranks = (run.rank, 0) if run.rank else (0,)
        all_newest = [newest_checkpoint(checkpoints_of_rank(folder, rank)) for rank in ranks]
        paths = all_newest
        if name is not None:
            names = (name, name.removeprefix("pickle/"))  # the second as MLXP has it
            named = [self._path(run, one, rank) for one in names for rank in ranks]
            paths = [*filter(Path.is_file, named), checkpoint_of_mlxp(artifacts, names[1])]
        path = next(filter(None, paths), None)
        own = run if isinstance(run, Run) else None  # of a subprocess there is no earlier attempt
        if path is None:
            none = f"run {run.directory.log_id} has no checkpoint"
            if any(all_newest):
                raise FileNotFoundError(f"{none} {name!r} in {folder}")
            if own:
                own.resume_at({})
            raise FileNotFoundError(f"{none} in {folder}")
        obj, mark = read_checkpoint(path)
        if mark is not None and own and _is_earlier(mark, own):
            own.resume_at(mark.positions.get(own.rank, {}))
        return obj

    def _path(self, run: Run | SubprocessRun, name: str, rank: int) -> Path:
        path = self._artifacts.path(name, BUILT_IN_TYPES[TYPE_NAME])
        if rank:
            folder = run.directory.artifacts / TYPE_NAME
            path = checkpoints_of_rank(folder, rank) / path.relative_to(folder)
            check_unlinked(path.parent, run.directory.path, f"checkpoint {name!r}")
        return path


def _is_earlier(mark: Mark, run: Run) -> bool:
    """Returns whether an earlier attempt than this wrote a checkpoint."""
    if run.rank:
        # Which attempt this is, it can only guess; of an earlier one no process lives.
        return mark.time < run.started
    return mark.attempt < run.attempt
