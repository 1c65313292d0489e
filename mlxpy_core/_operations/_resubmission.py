"""Submits runs again, under their numbers: they go on where their checkpoints are."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from mlxpy_core._errors import MlxpyError
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._info_file import read_info_to_rerun
from mlxpy_core._runs._mlxp_info import WRITTEN_BY_MLXP
from mlxpy_core._runs._run_claims import claim_operation
from mlxpy_core._runs._status import Status, is_final
from mlxpy_core._scheduling._find_scheduler import find_scheduler
from mlxpy_core._scheduling._job import Job
from mlxpy_core._scheduling._local import LOCAL

from ._chaining import submit_again
from ._changed_options import with_changed_options
from ._liveness import is_lost
from ._recorded_job import recorded_job
from ._rerun import code_to_rerun, reason_against_start


@dataclass
class Resubmission:
    """What is to be done to have runs go on.

    Attributes:
        jobs: the runs to be submitted, by the scheduler's name.
        here: the other runs, to be started on this machine: what their info.yaml holds, and the job of
            those that a launcher started here.
        left: why other runs are left alone, a message each.
    """

    jobs: dict[str, list[Job]] = field(default_factory=dict)
    here: dict[RunDirectory, tuple[dict[str, Any], Job | None]] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)


def plan_resubmission(
    runs: Iterable[RunDirectory],
    changes: Mapping[str, str] = MappingProxyType({}),
    *,
    complete: bool = False,
) -> Resubmission:
    """Plans how runs that have been reconciled are to go on; nothing is done yet.

    Args:
        runs: the runs.
        changes: new values of options of their launcher, see `with_changed_options`.
        complete: whether those that are complete are to be submitted, too.

    Raises:
        MlxpyError: an option of a run cannot be changed so.
    """
    plan = Resubmission()
    for run in runs:
        info = read_info_to_rerun(run)
        if info is None:
            plan.left.append(f"the info.yaml of run {run.log_id} cannot be read")
            continue
        if reason := _reason_against(run, info, complete=complete):
            plan.left.append(reason)
            continue
        scheduler = info["scheduler"]
        job = recorded_job(run, info)
        if job:
            job = with_changed_options(job, changes)
        if not job and (reason := reason_against_start(run, info)):
            plan.left.append(reason)
        elif not scheduler or scheduler["name"] == LOCAL:
            plan.here[run] = (info, job)
        elif job:
            plan.jobs.setdefault(scheduler["name"], []).append(job)
        else:
            plan.left.append(f"there is no note of how run {run.log_id} was submitted")
    return plan


@contextmanager
def claimed_resubmission(
    planned: Mapping[RunDirectory, Mapping[str, Any]],
    changes: Mapping[str, str] = MappingProxyType({}),
    *,
    complete: bool = False,
) -> Iterator[Resubmission]:
    """Plans once more for runs of a plan, which no other process submits as long as the block lasts.

    Those that another process has submitted since are left alone.

    Args:
        planned: what the info.yaml of each run held then.
        changes: as in `plan_resubmission`.
        complete: as in `plan_resubmission`.
    """
    with ExitStack() as claims:
        mine, left = [], []
        for run, earlier in planned.items():
            try:
                claim = claim_operation(run, "submission")
            except MlxpyError as refusal:
                left.append(str(refusal))
                continue
            claims.callback(claim.release)
            if _submission_of(claim.info) == _submission_of(earlier):
                mine.append(run)
            else:
                left.append(f"run {run.log_id} has just been taken by {_submitter(claim.info)}")
        plan = plan_resubmission(mine, changes, complete=complete)
        plan.left += left
        yield plan


def submit_claimed(mine: Resubmission) -> Iterator[tuple[list[RunDirectory], list[str]]]:
    """Submits the jobs of runs that are claimed, each after those that it waits for.

    Yields:
        Of each scheduler, the runs that it has taken, and why others were left alone, a message each.

    Raises:
        MlxpyError: the code of one is gone, or a scheduler refused.
    """
    for name, jobs in mine.jobs.items():
        for job in jobs:
            code_to_rerun(job.directory, job.earlier, job)  # its copy may have been cleaned away
        submitted, left = submit_again(find_scheduler(name), jobs)
        yield list(submitted), left


def _submission_of(info: Mapping[str, Any]) -> tuple[Any, ...]:
    """Returns what distinguishes one submission of a run, or start, from the next."""
    return len(info["attempts"]), info.get("submit_date"), info.get("submit_time")


def _submitter(info: Mapping[str, Any]) -> str:
    process = (info.get("scheduler") or info).get("submitter") or {}
    known = "process_id" in process and "host" in process
    return f"process {process['process_id']} on {process['host']}" if known else "another process"


def _reason_against(run: RunDirectory, info: dict[str, Any], *, complete: bool) -> str | None:
    status = Status(info["status"])
    if WRITTEN_BY_MLXP in info and (info["was_submitted"] or not is_final(info)):
        return (
            f"MLXP, which wrote run {run.log_id}, noted neither how it was submitted nor whether it "
            f"lives: start its program with +mlxpy.logger.forced_log_id={run.log_id} to have it go on"
        )
    if status is Status.COMPLETE and not complete:
        return f"run {run.log_id} is COMPLETE (--complete submits it, too)"
    if not is_final(info) and not is_lost(run, info):
        return f"run {run.log_id} is {status.value}: cancel it first"
    return None
