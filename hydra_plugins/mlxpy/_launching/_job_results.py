"""Waits for the jobs of a sweep and fills in the results that Hydra gets."""

import sys
from collections.abc import Iterator, Mapping, Sized
from contextlib import contextmanager
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from mlxpy_core import (
    LocalScheduler,
    MlxpyError,
    RunDirectory,
    Scheduler,
    Status,
    kept_outcome,
    retry_runs,
    run_names,
    wait_for_runs,
)


class JobEndedError(MlxpyError):
    """A job of a sweep has not completed, and left no exception of its own."""


def wait_for_results(
    scheduler: Scheduler,
    left: dict[RunDirectory, str],
    results: Mapping[RunDirectory, JobReturn],
    poll_interval_s: float,
) -> None:
    """Waits for jobs and fills in their results; what a job raised, Hydra raises when it reads them.

    Args:
        scheduler: where the jobs were submitted.
        left: the id of each run's job; those that have ended are taken out.
        results: the result of each run.
        poll_interval_s: how often the scheduler is asked for their states, in seconds.
    """
    failed = []
    with _progress(len(left)) as advance:

        def end(directory: RunDirectory, status: Status) -> None:
            del left[directory]
            _fill_in(results[directory], directory, status)
            if status is not Status.COMPLETE:
                failed.append(directory.log_id)
            advance()

        def retry(directory: RunDirectory) -> str | None:
            tried = retry_runs([directory], scheduler)
            for message in tried.left:
                print(f"mlxpy: {message}", file=sys.stderr)
            left.update(tried.job_ids)
            return tried.job_ids.get(directory)

        wait_for_runs(scheduler, dict(left), poll_interval_s=poll_interval_s, on_end=end, retry=retry)
        if isinstance(scheduler, LocalScheduler):
            scheduler.finish()
    if failed:
        print(f"mlxpy: {run_names(failed)} did not complete: see log.stderr there", file=sys.stderr)


def _fill_in(result: JobReturn, directory: RunDirectory, status: Status) -> None:
    outcome = kept_outcome(directory)
    if status is Status.COMPLETE:
        result.return_value = outcome.value if outcome else None
    else:
        ended = f"run {directory.log_id} ended as {status.value}: see {directory.path}/log.stderr"
        error = outcome.error if outcome and status is Status.FAILED else None
        result.status = JobStatus.FAILED
        result.return_value = error or JobEndedError(ended)


def count_jobs(jobs: Sized) -> str:
    """Returns how many jobs there are, as text."""
    return f"{len(jobs)} job{'s' * (len(jobs) != 1)}"


@contextmanager
def _progress(total: int) -> Iterator[Any]:
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("jobs", total=total)
        yield lambda: progress.advance(task)
