"""Runs that share jobs: cancelling the job of one ends the others."""

from collections.abc import Collection

from mlxpy_core._operations._cancelling import Cancellation
from mlxpy_core._runs._directory import RunDirectory

from ._reader import Reader


def runs_sharing_jobs(reader: Reader, plan: Cancellation, chosen: Collection[RunDirectory]) -> list[int]:
    """Finds the runs that share the jobs of a plan with the chosen runs, and have not ended.

    Args:
        reader: the runs.
        plan: which jobs are to be cancelled.
        chosen: the runs that are to be stopped.
    """
    numbers = {run.log_id for run in chosen}
    others: list[int] = []
    for name, jobs in plan.jobs.items():
        listed = ", ".join(f"'{job_id}'" for job_id in jobs)
        sharing = reader.search(
            f"info.scheduler.name == '{name}' & info.scheduler.scheduler_job_id in [{listed}]"
            " & info.status in ['SUBMITTED', 'RUNNING']"
        )
        if len(sharing):
            others += [log_id for log_id in sharing["info.log_id"] if log_id not in numbers]
    return others
