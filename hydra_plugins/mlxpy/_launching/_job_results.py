"""Waits for the jobs of a sweep and fills in the results that Hydra gets."""

import shlex
import signal
import sys
import time
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
    reconcile,
    run_names,
    wait_for_runs,
)


class JobEndedError(MlxpyError):
    """A job of a sweep has not completed, and left no exception of its own."""


def wait_for_results(
    scheduler: Scheduler,
    job_ids: Mapping[RunDirectory, str],
    results: Mapping[RunDirectory, JobReturn],
    poll_interval_s: float,
) -> None:
    """Waits for jobs and fills in their results; what a job raised, Hydra raises when it reads them.

    Args:
        scheduler: where the jobs were submitted.
        job_ids: the id of each run's job.
        results: the result of each run.
        poll_interval_s: how often the scheduler is asked for their states, in seconds.

    Raises:
        SystemExit: Ctrl-C; jobs on a cluster go on.
    """
    left = dict(job_ids)
    failed = []
    local = scheduler if isinstance(scheduler, LocalScheduler) else None
    on_interrupt = _ending_jobs(local, left) if local else _leaving_jobs(scheduler, left)
    with on_interrupt, _progress(len(left)) as advance:

        def end(directory: RunDirectory, status: Status) -> None:
            del left[directory]
            _fill_in(results[directory], directory, status)
            if status is not Status.COMPLETE:
                failed.append(directory.log_id)
            advance()

        wait_for_runs(scheduler, job_ids, poll_interval_s=poll_interval_s, on_end=end)
    if failed:
        print(f"mlxpy: {run_names(failed)} did not complete: see log.stderr there", file=sys.stderr)


def _fill_in(result: JobReturn, directory: RunDirectory, status: Status) -> None:
    outcome = kept_outcome(directory)
    if status is Status.COMPLETE and outcome:
        result.return_value = outcome.value
    elif status is Status.COMPLETE:
        result.return_value = None
    else:
        ended = f"run {directory.log_id} ended as {status.value}: see {directory.path}/log.stderr"
        error = outcome.error if outcome and status is Status.FAILED else None
        result.status = JobStatus.FAILED
        result.return_value = error or JobEndedError(ended)


@contextmanager
def _leaving_jobs(scheduler: Scheduler, left: Mapping[RunDirectory, str]) -> Iterator[None]:
    """Has Ctrl-C end the waiting, not the jobs."""
    try:
        yield
    except KeyboardInterrupt:
        command = shlex.join(scheduler.cancel_command(list(dict.fromkeys(left.values()))))
        print(
            f"mlxpy: no longer waiting; {count_jobs(left)} stay in the queue. To cancel: {command}",
            file=sys.stderr,
        )
        raise SystemExit(130) from None


@contextmanager
def _ending_jobs(scheduler: LocalScheduler, left: Mapping[RunDirectory, str]) -> Iterator[None]:
    """Has Ctrl-C and SIGTERM end the jobs on this machine."""
    earlier = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
        scheduler.finish()
    except (KeyboardInterrupt, SystemExit) as end:
        scheduler.stop()
        for directory, job_id in left.items():
            # The script has ended; the program may still be writing its last status.
            while reconcile(directory, scheduler.states([job_id])[job_id]) is Status.RUNNING:
                time.sleep(0.05)
        print(f"mlxpy: stopped {count_jobs(left)}", file=sys.stderr)
        raise SystemExit(130 if isinstance(end, KeyboardInterrupt) else end.code) from None
    finally:
        signal.signal(signal.SIGTERM, earlier)


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
