"""Which of several processes that were started together this one is."""

import os

# https://docs.pytorch.org/docs/stable/elastic/run.html, https://slurm.schedmd.com/srun.html
_RANK_VARIABLES = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"))


def rank_of_this_process() -> int:
    """Gives the number of this process among those that ``srun`` or ``torchrun`` started together."""
    return _rank_and_size()[0]


def processes_of_this_run() -> int:
    """Tells how many processes ``srun`` or ``torchrun`` started together; 1 if they started none."""
    return _rank_and_size()[1]


def started_by_srun() -> bool:
    """Tells whether it is ``srun`` that says which rank this process has."""
    return not _has_several(_RANK_VARIABLES[0][1]) and _has_several(_RANK_VARIABLES[1][1])


def _rank_and_size() -> tuple[int, int]:
    for rank, size in _RANK_VARIABLES:
        if _has_several(size):
            return int(os.environ.get(rank, 0)), int(os.environ[size])
    return 0, 1


def _has_several(size: str) -> bool:
    return int(os.environ.get(size, 1)) > 1
