"""Task Spooler (Debian's package task-spooler, command ``tsp``) as a scheduler of mlxpy."""

import re
from collections.abc import Sequence
from pathlib import Path

import mlxpy


class TaskSpoolerScheduler(mlxpy.Scheduler):
    """One queue a user on this machine; ``tsp -S 4`` lets four jobs run at once."""

    def submit(self, script: Path) -> str:
        printed = self.call(["tsp", "-L", script.parent.name, f"./{script.name}"], script.parent)
        return printed.strip()

    def states(self, job_ids: Sequence[str]) -> dict[str, mlxpy.Status]:
        # ID   State      Output               E-Level  Times(r/u/s)   Command
        listed = self.call(["tsp", "-l"], Path("/"))
        jobs = re.findall(r"^(\d+) +(\w+) +\S+ *(-?\d*) ", listed, flags=re.MULTILINE)
        return {job_id: _status(state, code) for job_id, state, code in jobs if job_id in job_ids}

    def cancel_command(self, job_ids: Sequence[str]) -> list[str]:
        # One that waits is removed, one that runs is killed.
        return ["sh", "-c", 'for id; do tsp -r "$id" || tsp -k "$id"; done', "cancel", *job_ids]


def _status(state: str, code: str) -> mlxpy.Status:
    if state != "finished":
        return mlxpy.Status.SUBMITTED if state == "queued" else mlxpy.Status.RUNNING
    by_signal = mlxpy.Status.KILLED if code == "-1" else mlxpy.Status.FAILED
    return mlxpy.Status.COMPLETE if code == "0" else by_signal


@mlxpy.hookimpl
def mlxpy_scheduler() -> type[mlxpy.Scheduler]:
    """Gives mlxpy the scheduler."""
    return TaskSpoolerScheduler
