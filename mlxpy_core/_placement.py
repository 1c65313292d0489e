"""Which directory a run of this process gets; processes that were started together share one.

Rank 0 takes the directory and writes its number to ``.mlxpy/together/``, once by what the processes of
the launch have in common, for the others, and once by its own parent: workers that their agent starts
again have that parent still, though maybe another port.
"""

import contextlib
import hashlib
import itertools
import os
import socket
import time
from collections.abc import Iterable
from pathlib import Path

from ._directories import RunDirectory, is_run_name, make_run_directory, take_run_directory
from ._errors import MlxpyError
from ._files import write_whole
from ._process import describe_process, start_of_parent
from ._ranks import processes_of_this_run, rank_of_this_process, started_by_srun

# Where the next run of this process is to be: set by whoever starts the program as that run.
RUN_DIRECTORY_VARIABLE = "MLXPY_RUN_DIRECTORY"
# What tells processes that were started together from all others.
# https://docs.pytorch.org/docs/stable/elastic/run.html, https://slurm.schedmd.com/srun.html
_OF_TORCHRUN = ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID")
_OF_SRUN = (
    "SLURM_CLUSTER_NAME", "SLURM_JOB_ID", "SLURM_RESTART_COUNT", "SLURM_STEP_ID",
    "SLURM_STEP_LAUNCHER_PORT",
)  # fmt: skip
# How long the others wait for rank 0, in seconds.
_PATIENCE_VARIABLE = "MLXPY_PATIENCE_S"
_PATIENCE_S = 600
_LOOK_S = 0.02
_KEPT_S = 90 * 24 * 3600  # workers may be started again after weeks
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
    folder = parent_log_dir / ".mlxpy" / "together"
    agreed = folder / f"{_group_of_this_process()}.{number}"
    if rank_of_this_process() == 0:
        taken = folder / f"{_digest(describe_process(os.getppid()).values())}.{number}"
        return _take_for_all(parent_log_dir, agreed, taken)
    return _taken_by_rank_0(parent_log_dir, agreed)


def _group_of_this_process() -> str:
    variables = _OF_SRUN if started_by_srun() else _OF_TORCHRUN
    values = [os.environ.get(name, "") for name in variables]
    if values[0] == "localhost" or values[0].startswith(("127.", "::1")):
        values.append(socket.gethostname())  # each host has an address of this name
    return _digest(values)


def _digest(values: Iterable[object]) -> str:
    return hashlib.sha256("\n".join(map(str, values)).encode()).hexdigest()[:16]


def _take_for_all(parent_log_dir: Path, agreed: Path, taken: Path) -> RunDirectory:
    directory = take_run_directory(parent_log_dir, _read(taken) or -1)
    for path in (taken, agreed):
        write_whole(path, f"{directory.log_id} {time.time()}\n")
    _tidy(agreed.parent)
    return directory


def _taken_by_rank_0(parent_log_dir: Path, agreed: Path) -> RunDirectory:
    # An earlier launch may have had the same address and port, and left its word. A job's step is one
    # for all time; and its parent may start late on some nodes.
    since = 0 if started_by_srun() else start_of_parent()
    patience = float(os.environ.get(_PATIENCE_VARIABLE, _PATIENCE_S))
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if log_id := _read(agreed, since):
            return RunDirectory(parent_log_dir / str(log_id))
        time.sleep(_LOOK_S)
    raise MlxpyError(
        f"the process of rank 0 has not started a run in {parent_log_dir} within {patience:g} s"
    )


def _read(agreed: Path, since: float = 0) -> int | None:
    """Reads which run was agreed on; None if nobody has said so since then."""
    try:
        log_id, when = agreed.read_text(encoding="utf-8").split()
        return int(log_id) if float(when) >= since else None
    except (OSError, ValueError):
        return None


def _tidy(folder: Path) -> None:
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another process tidies, too
            if time.time() - path.stat().st_mtime > _KEPT_S:
                path.unlink()
