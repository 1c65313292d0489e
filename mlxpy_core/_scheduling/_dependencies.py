"""Runs that wait for others: which those are, how they stand, and what is asked of the scheduler."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlxpy_core._errors import MlxpyError
from mlxpy_core._plugins._scheduler import Scheduler
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._info_file import read_info
from mlxpy_core._runs._job_note import noted_job_id
from mlxpy_core._runs._status import Status, is_final

from ._find_scheduler import scheduler_name
from ._local import LOCAL

# Ids come from files that anybody may have written; no option and no pattern of a scheduler's command.
_JOB_ID = re.compile(r"\w[\w.\[\]-]*", flags=re.ASCII)
_NAME = re.compile(r"([1-9]\d*):(r[0-9a-f]+)")


@dataclass(frozen=True)
class After:
    """What a run waits for.

    Attributes:
        runs: the number and the identity of each run.
        ok: whether they must be COMPLETE; otherwise it is enough that they have ended.
    """

    runs: tuple[tuple[int, str], ...]
    ok: bool = True

    @property
    def names(self) -> list[str]:
        """The runs, each as ``3:r0123456789abcdef``."""
        return [f"{log_id}:{run_id}" for log_id, run_id in self.runs]

    @property
    def fields(self) -> dict[str, str]:
        """The fields of ``info.scheduler`` that say so."""
        return {"after": " ".join(self.names), "after_status": "ok" if self.ok else "any"}


def after_of_info(info: Mapping[str, Any]) -> After | None:
    """Returns what a run waits for, or waited for, by its info; None for nothing."""
    scheduler = info.get("scheduler") or {}
    names = [_NAME.fullmatch(name) for name in str(scheduler.get("after") or "").split()]
    runs = tuple((int(name[1]), name[2]) for name in names if name)
    return After(runs, ok=scheduler.get("after_status") != "any") if runs else None


@dataclass
class Standing:
    """How the runs stand that another one waits for.

    Attributes:
        open: what info.yaml holds of those that have not ended.
        never: the first over which the wait is in vain, as in ``run 3, which is FAILED``.
    """

    open: dict[RunDirectory, dict[str, Any]] = field(default_factory=dict)
    never: str = ""


def standing_of(after: After, logs: Path) -> Standing:
    """Looks how the runs stand that are waited for, in the directory of all runs."""
    standing = Standing()
    for log_id, run_id in after.runs:
        run = RunDirectory(logs / str(log_id))
        info = read_info(run)
        if info is None or info.get("run_id") != run_id:
            standing.never = standing.never or f"run {log_id}, which is not there any more"
        elif not is_final(info):
            standing.open[run] = info
        elif after.ok and info["status"] != Status.COMPLETE.value:
            standing.never = standing.never or f"run {log_id}, which is {info['status']}"
    return standing


def reason_to_wait(run: RunDirectory, info: Mapping[str, Any]) -> str:
    """Returns why a run may not be started now; empty if nothing that it waits for is left."""
    after = after_of_info(info)
    standing = standing_of(after, run.logs) if after else Standing()
    still_open = (f"run {one.log_id}, which is {of['status']}" for one, of in standing.open.items())
    waits_for = standing.never or next(still_open, "")
    return f"run {run.log_id} waits for {waits_for}" if waits_for else ""


def dependency_directives(scheduler: Scheduler, after: After | None, logs: Path) -> tuple[str, ...]:
    """Returns the directives by which a job waits for the runs that have not ended yet.

    On this machine there are none: the launcher waits.

    Raises:
        MlxpyError: it would wait in vain, or for what is no job of its scheduler.
    """
    if after is None:
        return ()
    standing, name = standing_of(after, logs), scheduler_name(scheduler)
    if standing.never:
        raise MlxpyError(
            f"a job that waits for {standing.never}, would never start: submit that run again first, "
            "or give hydra.launcher.after_status=any"
        )
    if name == LOCAL or not standing.open:
        return ()
    job_ids = [_job_id(run, info, name, scheduler.cluster) for run, info in standing.open.items()]
    now = scheduler.current_ids(job_ids)
    waited_for = dict.fromkeys(now.get(job_id, job_id) for job_id in job_ids)
    return tuple(scheduler.after_directives(list(waited_for), ok=after.ok))


def job_id_of(run: RunDirectory, info: Mapping[str, Any]) -> str | None:
    """Returns the id of a run's job, if it is known and an id: a scheduler's command may be given it."""
    job_id = noted_job_id(run, info)
    return job_id if job_id and _JOB_ID.fullmatch(job_id) else None


def _job_id(run: RunDirectory, info: Mapping[str, Any], name: str, cluster: str) -> str:
    scheduler = info["scheduler"] or {}
    if scheduler.get("name") != name or scheduler.get("cluster", "") != cluster:
        where = scheduler.get("name") or "no scheduler"
        raise MlxpyError(
            f"a job of {name} cannot wait for run {run.log_id}, which is one of {where}"
            + (f" on {scheduler['cluster']}" if scheduler.get("cluster") else "")
            + ": wait for its end, or submit both to one scheduler"
        )
    job_id = job_id_of(run, info)
    if job_id is None:
        raise MlxpyError(f"it is not known which job run {run.log_id} is: wait for its end")
    return job_id
