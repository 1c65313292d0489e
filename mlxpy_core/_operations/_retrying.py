"""Second tries: runs that are submitted again by themselves, for the reason of their end.

How often, and with what options, the launcher that submitted them was told (``retries``, ``escalate``).
"""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from mlxpy_core._errors import MlxpyError
from mlxpy_core._plugins._scheduler import Scheduler
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._end_reason import EndReason
from mlxpy_core._runs._info_file import read_info
from mlxpy_core._runs._run_claims import claim_operation
from mlxpy_core._runs._status import Status, is_final
from mlxpy_core._scheduling._find_scheduler import find_installed_scheduler
from mlxpy_core._scheduling._job import Job
from mlxpy_core._scheduling._local import LOCAL

from ._chaining import submit_again
from ._changed_options import with_changed_options
from ._foreign import other_owner
from ._recorded_job import recorded_job


@dataclass
class Retried:
    """What has been submitted again.

    Attributes:
        job_ids: the id of each run's new job.
        left: why other runs could not be submitted again, a message each.
    """

    job_ids: dict[RunDirectory, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)


def retry_runs(runs: Iterable[RunDirectory], scheduler: Scheduler | None = None) -> Retried:
    """Submits those of some runs again that have ended for a reason for which they have tries left.

    Runs of this machine are left to the launcher that waits for them, and those of other users to them.
    Of several processes that do so at once, one submits a run.

    Args:
        runs: the runs, whose statuses are reconciled.
        scheduler: the one that they are submitted to, where there is one already; else each run's own.
    """
    done = Retried()
    for run in runs:
        if _job_to_retry(run, read_info(run)) is None or other_owner(run) is not None:
            continue
        try:
            _retry(run, scheduler, done)
        except MlxpyError as error:
            done.left.append(f"run {run.log_id} is not tried again: {error}")
    return done


def _job_to_retry(run: RunDirectory, info: Mapping[str, Any] | None) -> Job | None:
    """Returns the job of a run that has ended for a reason for which it is to be submitted again."""
    if not info or not is_final(info) or info["status"] == Status.COMPLETE.value:
        return None
    reason = info.get("end_reason")
    if not reason or not info.get("scheduler"):
        return None
    job = recorded_job(run, info)
    return job if job and _done(info, reason) < _allowed(job, reason) else None


def _retry(run: RunDirectory, scheduler: Scheduler | None, done: Retried) -> None:
    with ExitStack() as claims:
        claim = claim_operation(run, "submission")
        claims.callback(claim.release)
        info = claim.info
        job = _job_to_retry(run, info)
        if job is None:  # another process was faster
            return
        reason, name = info["end_reason"], info["scheduler"]["name"]
        if scheduler is None and name == LOCAL:
            return
        found = scheduler or find_installed_scheduler(name)
        if found is None:
            raise MlxpyError(f"there is no scheduler {name!r} here: retry on a machine that has it")
        counted = {**_counts(info), reason: _done(info, reason) + 1}
        again = replace(with_changed_options(job, _escalation(job, reason)), retries=counted)
        job_ids, left = submit_again(found, [again])
        done.job_ids.update(job_ids)
        done.left += left


def _escalation(job: Job, reason: str) -> dict[str, str]:
    """Returns the changes of options for another try after an end for this reason."""
    factors = job.launcher.get("options", {}).get("escalate") or {}
    if reason not in (EndReason.OUT_OF_MEMORY.value, EndReason.TIMEOUT.value):
        return {}  # more of anything would not have helped
    # More memory mends nothing where there was no time, and vice versa; other options count for both.
    others = "time" if reason == EndReason.OUT_OF_MEMORY.value else "mem"
    return {
        name: f"*{factor:g}"
        for name, factor in factors.items()
        if not name.rpartition(".")[2].startswith(others)
    }


def _allowed(job: Job, reason: str) -> int:
    number = (job.launcher.get("options", {}).get("retries") or {}).get(reason, 0)
    return number if isinstance(number, int) else 0


def _counts(info: Mapping[str, Any]) -> dict[str, int]:
    counts = info.get("retries") or {}
    return {str(name): count for name, count in counts.items() if isinstance(count, int)}


def _done(info: Mapping[str, Any], reason: str) -> int:
    return _counts(info).get(reason, 0)
