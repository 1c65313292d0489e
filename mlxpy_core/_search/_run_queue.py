"""The runs of a search that are in the queue: submitted by this process, or by an earlier one."""

import time
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from mlxpy_core._io._interrupts import signals_held
from mlxpy_core._operations._foreign import other_owner
from mlxpy_core._operations._liveness import is_lost
from mlxpy_core._operations._reconciling import reconcile_runs
from mlxpy_core._operations._resubmission import claimed_resubmission
from mlxpy_core._operations._waiting import RunWatch
from mlxpy_core._plugins._scheduler import Scheduler
from mlxpy_core._runs._cancellation import noted_cancellation
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._info_file import read_info
from mlxpy_core._runs._status import ENDED, Status, is_final
from mlxpy_core._scheduling._dependencies import job_id_of
from mlxpy_core._scheduling._find_scheduler import scheduler_name
from mlxpy_core._scheduling._grouping import Grouping
from mlxpy_core._scheduling._job import Job
from mlxpy_core._scheduling._local import LocalScheduler
from mlxpy_core._scheduling._submission import submit_jobs

_LOOK_S = 0.05


class RunQueue:
    """Submits runs without waiting for them, and tells which have ended.

    Args:
        scheduler: where runs are submitted.
        grouping: how those are put together that are submitted at once.
        poll_interval_s: how many seconds lie between two questions to the scheduler.

    Attributes:
        scheduler: the scheduler.
        taken_over: runs that an earlier process has submitted to this machine, or to another scheduler.
    """

    def __init__(self, scheduler: Scheduler, grouping: Grouping, poll_interval_s: float) -> None:
        self.scheduler = scheduler
        self._grouping = grouping
        self._poll_interval_s = poll_interval_s
        self._watch = RunWatch(scheduler, poll_interval_s)
        self.taken_over: set[RunDirectory] = set()
        self._next_query = 0.0

    @property
    def job_ids(self) -> dict[RunDirectory, str]:
        """The job of each run in this scheduler's queue; runs leave it as they end."""
        return self._watch.left

    def __len__(self) -> int:
        return len(self._watch.left) + len(self.taken_over)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Submits runs.

        Raises:
            SubmissionError: the scheduler did not take some.
        """
        job_ids: dict[RunDirectory, str] = {}
        try:
            submit_jobs(self.scheduler, jobs, self._grouping, job_ids)
        finally:
            self._watch.add(job_ids)

    def take_over(self, runs: Iterable[RunDirectory]) -> set[RunDirectory]:
        """Takes over runs that an earlier process has submitted.

        Those whose jobs were never started, or stopped together with that process, are submitted again.

        Returns:
            Those that are not there, are another user's now, or cannot be submitted again as they were.
        """
        runs = list(runs)
        reconcile_runs(runs)
        return {run for run in runs if not self._take_over(run)}

    def _take_over(self, run: RunDirectory) -> bool:
        info = read_info(run)
        if info is None or other_owner(run) is not None:
            return False
        scheduler = info["scheduler"] or {}
        is_here = scheduler.get("name") == scheduler_name(self.scheduler)
        never_started = not info["attempts"] and (is_final(info) or is_lost(run, info))
        stopped = info["status"] == Status.INTERRUPTED.value and is_final(info)
        if (never_started or stopped) and noted_cancellation(run) is None:
            return is_here and self._submit_again(run, info)
        job_id = job_id_of(run, info)
        if is_here and job_id and self.scheduler.keeps_jobs and not is_final(info):
            self._watch.add({run: job_id})
        else:
            self.taken_over.add(run)
        return True

    def _submit_again(self, run: RunDirectory, info: dict[str, Any]) -> bool:
        with claimed_resubmission({run: info}) as plan:
            noted = [job for _, job in plan.here.values() if job]
            jobs = [*chain.from_iterable(plan.jobs.values()), *noted]
            if jobs:
                with signals_held(until_second=True):
                    self.submit(jobs)
        return bool(jobs)

    def look(self) -> dict[RunDirectory, Status]:
        """Returns the final status of each run that has ended since the last look."""
        ended = self._watch.look()
        if self.taken_over and time.monotonic() >= self._next_query:
            statuses = reconcile_runs(self.taken_over).statuses
            for run, status in statuses.items():
                info = read_info(run)
                if status in ENDED and (info is None or is_final(info)):
                    ended[run] = status
            for run in self.taken_over - statuses.keys():  # removed meanwhile
                if not run.path.exists():
                    ended[run] = Status.KILLED
            self.taken_over -= ended.keys()
            self._next_query = time.monotonic() + self._poll_interval_s
        return ended

    def pause(self) -> None:
        """Waits until a run of this machine ends, or for the time until the next look."""
        if not isinstance(self.scheduler, LocalScheduler):
            self.scheduler.pause(self._watch.pause_s)
            return
        # A run's file says that it is over before its process has ended: the next one is ready by then.
        end = time.monotonic() + self._watch.pause_s
        while (now := time.monotonic()) < end:
            next_look = min(end, now + _LOOK_S)
            self.scheduler.pause(next_look - now)
            if self._watch.has_news:
                return
            time.sleep(max(0.0, next_look - time.monotonic()))  # where none runs here
