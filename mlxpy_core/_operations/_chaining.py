"""Runs that wait for others: until those have ended, and each after what it waits for."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mlxpy_core._errors import MlxpyError
from mlxpy_core._plugins._scheduler import Scheduler
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._info_file import read_info
from mlxpy_core._runs._status import Status
from mlxpy_core._scheduling._dependencies import After, dependency_directives, standing_of
from mlxpy_core._scheduling._job import Job
from mlxpy_core._scheduling._submission import submit_jobs

from ._reconciling import reconcile, reconcile_runs


def runs_to_wait_for(runs: Sequence[RunDirectory], *, ok: bool) -> After:
    """Returns what a run waits for that waits for others, whose statuses are reconciled.

    Args:
        runs: the others.
        ok: whether they must be COMPLETE.

    Raises:
        MlxpyError: one of them cannot be told from later ones of its number.
    """
    reconcile_runs(runs)
    named = []
    for run in runs:
        run_id = (read_info(run) or {}).get("run_id")
        if not isinstance(run_id, str):
            raise MlxpyError(f"run {run.log_id} has no run_id in its info.yaml: nothing can wait for it")
        named.append((run.log_id, run_id))
    return After(tuple(named), ok=ok)


def wait_for_earlier(after: After, logs: Path, poll_interval_s: float) -> str:
    """Waits on this machine until the runs have ended that others wait for.

    Returns:
        The first of them over which the others can never start; empty if there is none.
    """
    while True:
        standing = standing_of(after, logs)
        if standing.never or not standing.open:
            return standing.never
        time.sleep(poll_interval_s)
        reconcile_runs(standing.open)


def end_what_waits(runs: Iterable[RunDirectory]) -> None:
    """Writes that runs, which have not started, never will, as what they wait for has failed."""
    for run in runs:
        reconcile(run, Status.FAILED)


def submit_again(scheduler: Scheduler, jobs: Sequence[Job]) -> tuple[dict[RunDirectory, str], list[str]]:
    """Submits runs again to their scheduler, each after those that it waits for.

    Returns:
        The ids of the jobs of those that were submitted, and why others were left alone, a message each.

    Raises:
        SubmissionError: the scheduler did not take some.
    """
    job_ids: dict[RunDirectory, str] = {}
    left: list[str] = []
    for wave in _waves(jobs):
        waiting = [_with_dependencies(job, scheduler) for job in wave]
        left += [message for message in waiting if isinstance(message, str)]
        ready = [job for job in waiting if isinstance(job, Job)]
        if ready:
            job_ids.update(submit_jobs(scheduler, ready))
    return job_ids, left


def _with_dependencies(job: Job, scheduler: Scheduler) -> Job | str:
    """Returns a job that waits as it is to; a message if it cannot."""
    try:
        directives = dependency_directives(scheduler, job.after, job.directory.logs)
    except MlxpyError as error:
        return f"run {job.directory.log_id}: {error}"
    return replace(job, options=replace(job.options, dependencies=directives))


def _waves(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """Groups jobs so that what one waits for comes in an earlier group."""
    left = list(jobs)
    while left:
        identities = {job.run_id for job in left}
        waited_for = [{run_id for _, run_id in job.after.runs} if job.after else set() for job in left]
        waits = [bool(identities & ids) for ids in waited_for]
        if all(waits):  # no run's own doing: files that somebody wrote
            waits = [False] * len(left)
        yield [job for job, later in zip(left, waits, strict=True) if not later]
        left = [job for job, later in zip(left, waits, strict=True) if later]
