"""How this process was started: its program, and by which variables launchers number processes."""

import functools
import hashlib
import os
import re
import sys
from collections.abc import Iterable

from ._process import start_environment

_LOCAL_RANK = re.compile(r"--local[-_]rank=\d+")
# https://docs.pytorch.org/docs/stable/elastic/run.html,
# lightning/fabric/strategies/launchers/subprocess_script.py
TORCH_VARIABLES = (
    "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK", "GROUP_RANK",
    "MASTER_ADDR", "MASTER_PORT",
)  # fmt: skip
# https://slurm.schedmd.com/srun.html
STEP_VARIABLES = (
    "SLURM_CLUSTER_NAME", "SLURM_JOB_ID", "SLURM_RESTART_COUNT", "SLURM_STEP_ID",
    "SLURM_STEP_LAUNCHER_PORT",
)  # fmt: skip
# https://docs.open-mpi.org/en/main/tuning-apps/environment-var.html; the last is random for each mpirun.
OPEN_MPI_VARIABLES = ("PMIX_NAMESPACE", "OMPI_MCA_orte_precondition_transports")
LAUNCHER_VARIABLES = (
    *TORCH_VARIABLES, *STEP_VARIABLES, *OPEN_MPI_VARIABLES,
    "TORCHELASTIC_RUN_ID", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
    "PMI_RANK", "PMI_SIZE", "PMI_JOBID", "PMIX_RANK", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS",
)  # fmt: skip
# As they were typed, where the program has not changed them before it imported this.
ARGUMENTS = tuple(sys.argv[1:])
# The program that a worker of joblib runs parts of: its main module is joblib's.
PROGRAM = os.path.realpath(sys.argv[0]) if sys.argv and sys.argv[0] else ""


@functools.cache
def environment_at_start() -> dict[str, str]:
    """Returns what this process was started with; where that cannot be known, what it has now."""
    started = start_environment(os.getpid())
    # A program that sets its title writes over what the system shows.
    if started is None or ("PATH" in os.environ) != ("PATH" in started):
        return dict(os.environ)
    return started


def is_forked_or_spawned() -> bool:
    """Returns whether `multiprocessing` has started this process."""
    multiprocessing = sys.modules.get("multiprocessing.process")
    return bool(multiprocessing and multiprocessing.parent_process())


def main_file() -> str:
    """Returns the program's main file; empty if it has none."""
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    return os.path.realpath(path) if path else ""


def program_digest() -> str:
    """Returns what ranks of one run have in common: the program and its arguments."""
    arguments = ARGUMENTS if main_file() else sys.orig_argv[1:]
    return digest([main_file(), *without_local_rank(arguments)])


def without_local_rank(arguments: Iterable[str]) -> list[str]:
    """Leaves out the argument by which ``torch.distributed.launch`` numbers a process."""
    return [one for one in arguments if not _LOCAL_RANK.fullmatch(one)]


def digest(values: Iterable[object]) -> str:
    """Returns a name for values."""
    text = "\n".join(map(str, values))
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]
