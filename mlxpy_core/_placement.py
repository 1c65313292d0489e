"""Which directory a run of this process gets; processes that were started together share one."""

import contextlib
import hashlib
import itertools
import os
import time
from pathlib import Path

from ._directories import RunDirectory, is_run_name, make_run_directory, take_run_directory
from ._errors import MlxpyError
from ._files import write_whole
from ._process import processes_of_this_run, rank_of_this_process, start_of_parent

# Where the next run of this process is to be: set by whoever starts the program as that run.
RUN_DIRECTORY_VARIABLE = "MLXPY_RUN_DIRECTORY"
# What tells processes that were started together from all others.
# https://docs.pytorch.org/docs/stable/elastic/run.html, https://slurm.schedmd.com/srun.html
_GROUP_VARIABLES = (
    ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID"),
    ("SLURM_JOB_ID", "SLURM_STEP_ID"),
)
_PATIENCE_S = 600
_LOOK_S = 0.02
_KEPT_S = 24 * 3600
_runs_of_this_process = itertools.count()


def place_run(parent_log_dir: Path, forced_log_id: int = -1) -> RunDirectory:
    """Gives the directory of the run that this process starts now, and makes it.

    Args:
        parent_log_dir: the directory of all runs.
        forced_log_id: the number of the run to continue; -1 for a new one.

    Raises:
        MlxpyError: the directory was given wrongly, or the process that takes it does not appear.
        StorageError: the directory cannot be made.
    """
    number = next(_runs_of_this_process)
    # Only this run: a program that the run starts is another one.
    if given := os.environ.pop(RUN_DIRECTORY_VARIABLE, None):
        if not (os.path.isabs(given) and is_run_name(os.path.basename(given))):
            raise MlxpyError(
                f"{RUN_DIRECTORY_VARIABLE}={given!r} is no absolute path of a run's directory"
            )
        return make_run_directory(Path(given))
    if forced_log_id != -1 or processes_of_this_run() == 1:
        return take_run_directory(parent_log_dir, forced_log_id)
    agreed = parent_log_dir / ".mlxpy" / "together" / f"{_group_of_this_process()}.{number}"
    if rank_of_this_process() == 0:
        return _take_for_all(parent_log_dir, agreed)
    return _taken_by_rank_0(parent_log_dir, agreed)


def _group_of_this_process() -> str:
    names = next((names for names in _GROUP_VARIABLES if names[0] in os.environ), ())
    values = "\n".join(os.environ.get(name, "") for name in names)
    return hashlib.sha256(values.encode()).hexdigest()[:16]


def _take_for_all(parent_log_dir: Path, agreed: Path) -> RunDirectory:
    # Workers that their agent has started again continue the run.
    log_id = _read(agreed) or take_run_directory(parent_log_dir).log_id
    write_whole(agreed, str(log_id))
    _tidy(agreed.parent)
    return RunDirectory(parent_log_dir / str(log_id))


def _taken_by_rank_0(parent_log_dir: Path, agreed: Path) -> RunDirectory:
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end:
        if log_id := _read(agreed):
            return RunDirectory(parent_log_dir / str(log_id))
        time.sleep(_LOOK_S)
    raise MlxpyError(
        f"the process of rank 0 has not started a run in {parent_log_dir} within {_PATIENCE_S} s"
    )


def _read(agreed: Path) -> int | None:
    """Reads which run was agreed on; None while there is nothing but what earlier processes left."""
    try:
        if agreed.stat().st_mtime < start_of_parent():
            return None
        return int(agreed.read_text())
    except (OSError, ValueError):
        return None


def _tidy(folder: Path) -> None:
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another process tidies, too
            if time.time() - path.stat().st_mtime > _KEPT_S:
                path.unlink()
