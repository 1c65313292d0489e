"""What becomes of the jobs of a command that a signal breaks off."""

import contextlib
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from mlxpy_core._io._files import do_at_once
from mlxpy_core._io._interrupts import end_by_signals, signals_held
from mlxpy_core._plugins._scheduler import Scheduler
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._info_file import read_status
from mlxpy_core._runs._run_names import run_command
from mlxpy_core._runs._status import Status
from mlxpy_core._scheduling._local import LocalScheduler
from mlxpy_core._scheduling._submission import SubmissionInterruptedError, submitted_message

from ._cancelling import await_ends, interrupt_runs
from ._reconciling import reconcile

_LOOK_S = 0.05
_NONE_LEFT = "no job waits or runs"


@contextmanager
def signals_break_off(
    scheduler: Scheduler, left: Mapping[RunDirectory, str], taken_over: Collection[RunDirectory] = ()
) -> Iterator[None]:
    """Has a signal end the jobs of this machine, and leave those of a cluster in its queue.

    Once the block has ended, the program ends by a signal with a message about these jobs.

    Args:
        scheduler: where runs are submitted.
        left: the id of the job of each run that is in the queue and has not ended; the block changes it.
        taken_over: other runs that are waited for, which an earlier process has submitted.

    Raises:
        SubmissionInterruptedError: there was a signal; the message says what is left.
    """
    try:
        yield
        end_by_signals(f"mlxpy: interrupted: {_in_queue(left)}")
    except KeyboardInterrupt as interrupt:
        if isinstance(scheduler, LocalScheduler):
            end_by_signals()  # another one has them killed
            others = interrupt_runs(taken_over)
            scheduler.stop()
            with contextlib.suppress(KeyboardInterrupt):
                await_ends(others)
            with signals_held(drop=True):
                message = _stopped(scheduler, left, others)
        else:
            message = _in_queue(left)
        raise SubmissionInterruptedError(f"interrupted: {message}", interrupt) from None


def _in_queue(left: Mapping[RunDirectory, str]) -> str:
    return submitted_message(list(left), len(left)) if left else _NONE_LEFT


def _stopped(
    scheduler: Scheduler, left: Mapping[RunDirectory, str], others: Collection[RunDirectory]
) -> str:
    """Writes the status of the runs of this machine that have been stopped; returns which they are."""
    states = scheduler.states(list(left.values()))
    statuses: dict[RunDirectory, Status | None] = {}

    def end(directory: RunDirectory) -> None:
        # The script has ended; the program may still be writing its last status.
        job = states[left[directory]]
        while (status := reconcile(directory, job, summarize=False)) is Status.RUNNING:
            time.sleep(_LOOK_S)
        statuses[directory] = status

    do_at_once(end, left)
    statuses.update({run: read_status(run) for run in others})
    stopped = [one for one in statuses if statuses[one] in (Status.INTERRUPTED, Status.KILLED)]
    if not stopped:
        return _NONE_LEFT
    count = f"{len(stopped)} job{'s' * (len(stopped) != 1)}"
    return f"stopped {count} (to go on with them: {run_command('resubmit', stopped)})"
