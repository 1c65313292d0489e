"""Stops runs: jobs by their scheduler, processes of this machine by a signal."""

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlxpy_core._errors import MlxpyError, StorageError
from mlxpy_core._io._files import Stamp
from mlxpy_core._io._text import printable
from mlxpy_core._runs._cancellation import note_cancelled, noted_cancellation
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._info_file import info_path, read_info, read_status
from mlxpy_core._runs._process import lives_here, noted_process, noted_process_path
from mlxpy_core._runs._run_claims import claim_operation
from mlxpy_core._runs._run_names import run_names
from mlxpy_core._runs._status import ENDED, Status, is_final
from mlxpy_core._scheduling._dependencies import job_id_of
from mlxpy_core._scheduling._local import LOCAL

from ._foreign import scheduler_of
from ._liveness import last_attempt
from ._reconciling import reconcile, reconcile_runs

_LOOK_S = 0.05


@dataclass
class Cancellation:
    """What is to be done to stop runs.

    Attributes:
        jobs: the runs of each job to be cancelled, by the scheduler's name and the job's id.
        processes: the process of each run that runs on this machine outside of a cluster.
        scripts: the process of each script that has been started here and whose program has not, or runs
            in a container.
        waiting: runs that wait for a launcher on this machine.
        left: why other runs are left alone, a sentence each.
        noted: what was noted of earlier cancellations of the runs when the plan was made.
    """

    jobs: dict[str, dict[str, list[RunDirectory]]] = field(default_factory=dict)
    processes: dict[RunDirectory, int] = field(default_factory=dict)
    scripts: dict[RunDirectory, int] = field(default_factory=dict)
    waiting: list[RunDirectory] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    noted: dict[RunDirectory, Stamp | None] = field(default_factory=dict)

    @property
    def runs(self) -> list[RunDirectory]:
        """The runs that are stopped."""
        of_jobs = [run for jobs in self.jobs.values() for runs in jobs.values() for run in runs]
        return [*of_jobs, *self.processes, *self.scripts, *self.waiting]

    def sentences(self) -> list[str]:
        """Says what is to be stopped, for people to agree to."""
        said = []
        for name, jobs in self.jobs.items():
            names = run_names(sorted(run.log_id for runs in jobs.values() for run in runs))
            count = f"{len(jobs)} job{'s' * (len(jobs) != 1)}"
            said.append(f"{names.capitalize()}: {count} of {printable(name)}.")
        for run, process_id in (*self.processes.items(), *self.scripts.items()):
            said.append(f"Run {run.log_id}: process {process_id} of this machine.")
        if self.waiting:
            names = run_names([run.log_id for run in self.waiting])
            said.append(f"{names.capitalize()}: not started yet, on this machine.")
        return said


def plan_cancellation(runs: Iterable[RunDirectory]) -> Cancellation:
    """Tells what there is to do to stop runs, whose words have been settled; nothing is done yet."""
    plan = Cancellation()
    for run in runs:
        plan.noted[run] = noted_cancellation(run)
        info = read_info(run)
        if info is None:
            plan.left.append(f"the info.yaml of run {run.log_id} cannot be read")
            continue
        status, scheduler = Status(info["status"]), info["scheduler"]
        attempt = last_attempt(info)
        job_id = job_id_of(run, info)
        by_script = status is Status.SUBMITTED or bool(attempt.get("container"))
        if is_final(info):
            plan.left.append(f"run {run.log_id} is {status.value}")
        elif scheduler and scheduler["name"] != LOCAL and scheduler.get("may_come_back"):
            if job_id is None:
                plan.left.append(f"it is not known which job run {run.log_id} is")
            else:
                plan.jobs.setdefault(scheduler["name"], {}).setdefault(job_id, []).append(run)
        # The processes of a container may have numbers of their own.
        elif (process := noted_process(run) if by_script else attempt) and lives_here(process):
            place = noted_process_path(run) if by_script else info_path(run.path)
            if reason := _reason_against(run, process, place):
                plan.left.append(reason)
            else:
                (plan.scripts if by_script else plan.processes)[run] = process["process_id"]
        elif status is Status.SUBMITTED:
            plan.waiting.append(run)
        else:
            plan.left.append(f"run {run.log_id} runs on {attempt.get('host')}: cancel it there")
    return plan


def cancel(plan: Cancellation) -> Cancellation:
    """Stops the runs of a plan that still are to be stopped; how they end is found out later.

    Returns:
        What was done, and why other runs of the plan were left alone.

    Raises:
        MlxpyError: a scheduler refused, or there is none here; other runs were stopped.
    """
    with ExitStack() as claims:
        mine, left = [], []
        for run in plan.runs:
            try:
                claims.callback(claim_operation(run, "cancellation").release)
            except StorageError:  # another user's, say: the scheduler decides
                pass
            except MlxpyError as refusal:
                left.append(str(refusal))
                continue
            # Its end may take a while (a last checkpoint), in which it needs no second signal.
            if noted_cancellation(run) not in (None, plan.noted[run]):
                left.append(f"run {run.log_id} has just been cancelled by another process")
                continue
            mine.append(run)
        # They may have ended, or been stopped by another process, since the plan was shown.
        reconcile_runs(mine)
        now = plan_cancellation(mine)
        _stop(now)
        now.left += left
        return now


def interrupt_runs(runs: Iterable[RunDirectory]) -> list[RunDirectory]:
    """Asks runs of this machine to end, which is no cancellation: they may go on later.

    Returns:
        Those whose processes have got the signal.
    """
    plan = plan_cancellation(runs)
    _signal(plan)
    return [*plan.processes, *plan.scripts]


def await_ends(runs: Iterable[RunDirectory]) -> None:
    """Waits until no process of some runs of this machine lives."""
    left = list(runs)
    while left:
        statuses = reconcile_runs(left).statuses
        left = [run for run in left if statuses.get(run) not in ENDED]
        if left:
            time.sleep(_LOOK_S)


def _stop(plan: Cancellation) -> None:
    for run in plan.waiting:  # first: their launcher starts them where others end
        reconcile(run, Status.INTERRUPTED)
    _signal(plan)
    for run in (*plan.processes, *plan.scripts):
        with contextlib.suppress(StorageError):
            note_cancelled(run)
    for run in plan.scripts:
        if read_status(run) is Status.SUBMITTED:  # what runs says itself how it ended
            reconcile(run, Status.INTERRUPTED)
    refusals = []
    for name, jobs in plan.jobs.items():
        scheduler = scheduler_of(name, [run for runs in jobs.values() for run in runs])
        if scheduler is None:
            refusals.append(f"there is no scheduler {name!r} here")
            continue
        try:
            scheduler.cancel(list(jobs))
            for run in (run for runs in jobs.values() for run in runs):
                note_cancelled(run)
        except MlxpyError as error:  # each scheduler may refuse for itself
            refusals.append(str(error))
    if refusals:
        raise MlxpyError("; ".join(refusals))


def _signal(plan: Cancellation) -> None:
    for run, process_id in plan.processes.items():
        info = read_info(run)
        # It may have ended, or its process may do another run.
        if info and not is_final(info) and _is_still(run, last_attempt(info), process_id):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGTERM)  # it says itself how it ended
    for run, process_id in plan.scripts.items():
        if _is_still(run, noted_process(run) or {}, process_id):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process_id, signal.SIGTERM)  # a shell does not pass the signal on


def _is_still(run: RunDirectory, process: dict[str, Any], process_id: int) -> bool:
    is_same = process.get("process_id") == process_id
    return is_same and lives_here(process) and _works_for(process_id, run) is not False


def _reason_against(run: RunDirectory, process: dict[str, Any], place: Path) -> str | None:
    """Tells why a process here that a run's file names as its own gets no signal; None if it may."""
    process_id = process["process_id"]
    # What another user's file names may be any process of ours, and 1 and below are no process of a run.
    if not all(map(_is_mine, (run.path, place.parent, place))):
        return f"run {run.log_id} is another user's: no process that it names is sent a signal"
    if type(process_id) is not int or process_id <= 1:
        return f"run {run.log_id} names {process_id!r} as its process"
    if _works_for(process_id, run) is False:
        return (
            f"process {process_id} does not write to run {run.log_id} (any more), which may be a copy: "
            "mlxpy status tells what goes on"
        )
    return None


def _is_mine(place: Path) -> bool:
    """Tells whether a file or directory is this user's, and the link that leads to it, too."""
    try:
        return place.lstat().st_uid == place.stat().st_uid == os.getuid()
    except OSError:
        return False


def _works_for(process_id: int, run: RunDirectory) -> bool | None:
    """Tells whether a process holds a run's directory open, or a file in it; None if unknown."""
    try:
        directory = os.stat(run.path)
        held = os.listdir(f"/proc/{process_id}/fd")
    except OSError:
        return None
    for descriptor in held:
        link = f"/proc/{process_id}/fd/{descriptor}"
        with contextlib.suppress(OSError):  # closed meanwhile
            if os.path.samestat(os.stat(link), directory):
                return True
            if os.path.samestat(os.stat(os.path.dirname(os.readlink(link))), directory):
                return True
    return False
