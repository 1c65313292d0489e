"""Stops runs: jobs by their scheduler, processes of this machine by a signal."""

import contextlib
import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass, field

from mlxpy_core._errors import MlxpyError
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._info_file import read_info
from mlxpy_core._runs._process import lives_here, noted_process
from mlxpy_core._runs._status import Status, is_final
from mlxpy_core._scheduling._local import LOCAL

from ._reconciling import job_id_of, note_cancelled, reconcile, scheduler_of


@dataclass
class Cancellation:
    """What is to be done to stop runs.

    Attributes:
        jobs: the runs of each job to be cancelled, by the scheduler's name and the job's id.
        processes: the process of each run that runs on this machine outside of a cluster.
        scripts: the process of each script that has been started here and whose program has not.
        waiting: runs that wait for a launcher on this machine.
        left: why other runs are left alone, a sentence each.
    """

    jobs: dict[str, dict[str, list[RunDirectory]]] = field(default_factory=dict)
    processes: dict[RunDirectory, int] = field(default_factory=dict)
    scripts: dict[RunDirectory, int] = field(default_factory=dict)
    waiting: list[RunDirectory] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def runs(self) -> list[RunDirectory]:
        """The runs that are stopped."""
        of_jobs = [run for jobs in self.jobs.values() for runs in jobs.values() for run in runs]
        return [*of_jobs, *self.processes, *self.scripts, *self.waiting]


def plan_cancellation(runs: Iterable[RunDirectory]) -> Cancellation:
    """Tells what there is to do to stop runs, whose words have been settled; nothing is done yet."""
    plan = Cancellation()
    for run in runs:
        info = read_info(run)
        if info is None:
            plan.left.append(f"the info.yaml of run {run.log_id} cannot be read")
            continue
        status, scheduler = Status(info["status"]), info["scheduler"]
        attempt = info["attempts"][-1] if info["attempts"] else {}
        job_id = job_id_of(run, info)
        if is_final(info):
            plan.left.append(f"run {run.log_id} is {status.value}")
        elif scheduler and scheduler["name"] != LOCAL and scheduler.get("may_come_back"):
            if job_id is None:
                plan.left.append(f"it is not known which job run {run.log_id} is")
            else:
                plan.jobs.setdefault(scheduler["name"], {}).setdefault(job_id, []).append(run)
        elif status is Status.SUBMITTED:
            script = noted_process(run)
            if script and lives_here(script):
                plan.scripts[run] = script["process_id"]
            else:
                plan.waiting.append(run)
        elif lives_here(attempt):
            plan.processes[run] = attempt["process_id"]
        else:
            plan.left.append(f"run {run.log_id} runs on {attempt.get('host')}: cancel it there")
    return plan


def cancel(plan: Cancellation) -> None:
    """Stops what a plan says; how the runs end is found out when somebody asks.

    Raises:
        MlxpyError: a scheduler refused, or there is none here; other runs were stopped.
    """
    for process_id in plan.processes.values():
        with contextlib.suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGTERM)  # it says itself how it ended
    for process_id in plan.scripts.values():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process_id, signal.SIGTERM)  # a shell does not pass the signal on
    for run in (*plan.scripts, *plan.waiting):
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
