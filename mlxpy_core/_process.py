"""Which process runs a job, and whether it still lives."""

import os
import socket
from pathlib import Path
from typing import Any

_PROC = Path("/proc")
# https://docs.pytorch.org/docs/stable/elastic/run.html, https://slurm.schedmd.com/srun.html
_RANK_VARIABLES = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"))


def describe_process() -> dict[str, Any]:
    """Describes this process so that nobody takes another one for it later.

    A process id comes round again; the boot and the start time (in clock ticks after it) do not.
    Both are None where the system does not tell them.
    """
    return {
        "host": socket.gethostname(),
        "process_id": os.getpid(),
        "boot_id": _boot_id(),
        "process_start": _start_ticks(os.getpid()),
    }


def rank_of_this_process() -> int:
    """Gives the number of this process among those that ``srun`` or ``torchrun`` started together."""
    for rank, size in _RANK_VARIABLES:
        if int(os.environ.get(size, 1)) > 1:
            return int(os.environ.get(rank, 0))
    return 0


def lives_here(process: dict[str, Any]) -> bool:
    """Tells whether a described process is known to be alive on this machine.

    False also where that cannot be known: another host, another boot, a system without ``/proc``.
    """
    pid, start = process.get("process_id"), process.get("process_start")
    if not isinstance(pid, int) or start is None or process.get("boot_id") != _boot_id():
        return False
    return bool(_start_ticks(pid) == start)


def died_here(process: dict[str, Any]) -> bool:
    """Tells whether a described process ran on this machine and is known to have ended."""
    return (
        process.get("host") == socket.gethostname()
        and process.get("process_start") is not None
        and not lives_here(process)
    )


def _boot_id() -> str | None:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def _start_ticks(pid: int) -> int | None:
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # Field 22 of proc(5); the command in field 2 may hold spaces and parentheses itself.
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else int(fields[18])
