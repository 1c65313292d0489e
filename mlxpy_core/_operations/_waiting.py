"""Waits for submitted runs: their files show how they ended, the scheduler which have died."""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mlxpy_core._io._files import Stamp
from mlxpy_core._plugins._scheduler import Scheduler, SubmissionError
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._info_file import info_stamp, read_status
from mlxpy_core._runs._status import ENDED, Status

from ._end_reasons import reasons_of_ended, told_reason
from ._reconciling import reconcile

_LOOK_S = 1.0
_SLOWEST = 8
# A scheduler that does not know a job may not know it yet: accounting is late.
_UNKNOWN_QUERIES = 3


def wait_for_runs(
    scheduler: Scheduler,
    job_ids: Mapping[RunDirectory, str],
    *,
    poll_interval_s: float,
    on_end: Callable[[RunDirectory, Status], object],
    retry: Callable[[RunDirectory], str | None] = lambda _: None,
) -> None:
    """Returns when all runs have ended.

    The runs' own files are looked at each second. The scheduler is asked for all that are left in one
    query, every `poll_interval_s` and, as long as nothing changes, ever more rarely.

    Args:
        scheduler: where the runs were submitted.
        job_ids: the id of each run's job.
        poll_interval_s: how many seconds lie between two questions to the scheduler.
        on_end: called for each run with its final status, as it ends.
        retry: called before; the id of the new job of a run that it has submitted again, which goes on.
    """
    watch = RunWatch(scheduler, poll_interval_s)
    watch.add(job_ids)
    while True:
        for directory, status in watch.look().items():
            if job_id := retry(directory):
                watch.add({directory: job_id})
            else:
                on_end(directory, status)
        if not watch.left:
            return
        scheduler.pause(watch.pause_s)


@dataclass
class _Watched:
    """What is known of one run."""

    since: float
    stamp: Stamp | None = None  # of info.yaml when that was last read
    known: bool = False  # whether the scheduler has told of its job
    gone: int = 0  # how many questions in a row found its job ended or unknown
    last: Status | None = None  # the last state of its job that was an end


class RunWatch:
    """What is known of runs that have been submitted and have not ended; others may be added.

    Args:
        scheduler: where the runs are submitted.
        poll_interval_s: how many seconds lie between two questions to the scheduler.

    Attributes:
        left: the id of the job of each run that has not ended.
        pause_s: how many seconds may pass until the next look.
    """

    def __init__(self, scheduler: Scheduler, poll_interval_s: float) -> None:
        self._scheduler = scheduler
        self.left: dict[RunDirectory, str] = {}
        self.pause_s = min(_LOOK_S, poll_interval_s)
        self._poll_interval_s = self._interval_s = poll_interval_s
        self._next_query = 0.0
        self._states: dict[str, Status] = {}
        self._watched: dict[RunDirectory, _Watched] = {}
        self._silent = False

    def add(self, job_ids: Mapping[RunDirectory, str]) -> None:
        """Adds runs that have been submitted, also those that have ended and go on in another job."""
        now = time.monotonic()
        if not self.left:
            self._interval_s = self._poll_interval_s
            self._next_query = now + self._interval_s
        self._watched.update({run: _Watched(now) for run in job_ids})
        self.left.update(job_ids)

    def look(self) -> dict[RunDirectory, Status]:
        """Returns the final status of each run that has ended since the last look."""
        ended = self._ended_by_their_files()
        if self.left and time.monotonic() >= self._next_query:
            died, changed = self._ask()
            ended.update(died)
            # Doubled only between questions that found nothing new.
            longest = _SLOWEST * self._poll_interval_s
            self._interval_s = self._poll_interval_s if changed else min(2 * self._interval_s, longest)
            self._next_query = time.monotonic() + self._interval_s
        return ended

    @property
    def has_news(self) -> bool:
        """Whether the file of a run has changed since the last look."""
        return any(_stamp(run) not in (None, self._watched[run].stamp) for run in self.left)

    def _ended_by_their_files(self) -> dict[RunDirectory, Status]:
        ended: dict[RunDirectory, Status] = {}
        for directory in list(self.left):
            stamp, watched = _stamp(directory), self._watched[directory]
            if stamp is not None and watched.stamp != stamp:
                watched.stamp = stamp
                status = read_status(directory)
                # What was interrupted may be in the queue again: the scheduler knows.
                if status in ENDED and status is not Status.INTERRUPTED:
                    ended[directory] = status
                    del self.left[directory]
        return ended

    def _ask(self) -> tuple[dict[RunDirectory, Status], bool]:
        """Asks the scheduler; returns the runs that are over, and whether anything has changed."""
        try:
            states = self._scheduler.states(sorted(set(self.left.values())))
        except SubmissionError as error:
            if not self._silent:
                print(f"mlxpy: {error}; still waiting", file=sys.stderr)
            self._silent = True
            return {}, False
        changed, self._silent = self._silent or states != self._states, False
        self._states = states
        reasons = reasons_of_ended(self._scheduler, states)
        ended: dict[RunDirectory, Status] = {}
        for directory, job_id in list(self.left.items()):
            state, watched = states.get(job_id), self._watched[directory]
            watched.known = watched.known or state is not None
            waited_s = time.monotonic() - watched.since
            not_known_yet = not watched.known and waited_s < self._scheduler.accounting_delay_s
            if state in (Status.SUBMITTED, Status.RUNNING) or not_known_yet:
                watched.gone = 0
                continue
            watched.gone += 1
            changed = True
            last = watched.last = state or watched.last
            # Twice: the run's final status may be on its way through a shared file system.
            if watched.gone >= (2 if last else _UNKNOWN_QUERIES):
                reason = reasons.get(job_id) or told_reason(self._scheduler, directory, last)
                status = reconcile(directory, last, reason) or Status.KILLED
                if status in ENDED:
                    ended[directory] = status
                    del self.left[directory]
        return ended, changed


def _stamp(directory: RunDirectory) -> Stamp | None:
    try:
        return info_stamp(directory)
    except OSError:
        return None
