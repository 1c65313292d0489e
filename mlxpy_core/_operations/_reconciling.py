"""Reconciles the status of runs with what their scheduler or the process table knows.

A run's process writes how it ended. One that died could not, and neither could one that never started:
then the scheduler knows, or, of what runs on this machine, the process table.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mlxpy_core._errors import MlxpyError, StorageError
from mlxpy_core._io._retries import Retries
from mlxpy_core._plugins._scheduler import JobOutlook
from mlxpy_core._runs._cancellation import noted_cancellation
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._end_note import remove_end_note
from mlxpy_core._runs._end_reason import EndReason
from mlxpy_core._runs._info import set_noted_end
from mlxpy_core._runs._info_file import read_config, read_info, write_info
from mlxpy_core._runs._run_names import run_names
from mlxpy_core._runs._status import Status, is_final
from mlxpy_core._runs._summary import write_summary
from mlxpy_core._scheduling._bundle import script_ended
from mlxpy_core._scheduling._dependencies import job_id_of
from mlxpy_core._scheduling._local import LOCAL

from ._end_reasons import reasons_of_ended, told_reason
from ._foreign import scheduler_of
from ._info_after_job import info_of_ended_job, info_of_waiting_job
from ._liveness import died_on_this_machine, died_submitting, program_lives
from ._lost_jobs import find_jobs, note_started_scripts

# A scheduler that does not know a job may not know it yet: accounting is late.
_UNKNOWN_S = 60


@dataclass
class Findings:
    """What reconciling has found.

    Attributes:
        statuses: the status of each run whose info.yaml can be read, also where it cannot be written.
        troubles: a message for each scheduler that could not be asked, and for what else is not known.
        unwritten: runs whose status cannot be written, as those of other users, and why.
        outlooks: what schedulers expect of the jobs of runs that wait or run.
    """

    statuses: dict[RunDirectory, Status] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    unwritten: dict[RunDirectory, str] = field(default_factory=dict)
    outlooks: dict[RunDirectory, JobOutlook] = field(default_factory=dict)


def reconcile_runs(runs: Iterable[RunDirectory], *, timeout_s: float | None = None) -> Findings:
    """Finds out the status of runs and writes it; each scheduler is asked once.

    A run whose status is final is left as it is, and so is one that may live as far as is known here.

    Args:
        runs: the runs.
        timeout_s: how many seconds a scheduler is given to answer; None for its own timeout.
    """
    findings = Findings()
    of_schedulers: dict[tuple[str, str], dict[RunDirectory, dict[str, Any]]] = {}
    retries = Retries()  # for all together
    unstarted: list[RunDirectory] = []
    for run in runs:
        info = read_info(run, retries)
        if info is None:
            continue
        noted = set_noted_end(info, run)
        findings.statuses[run] = Status(info["status"])
        if is_final(info):
            if noted:  # its process may live, and do another run
                _record(findings, run, None)
            continue
        scheduler = info["scheduler"] or {"name": LOCAL}
        if scheduler["name"] == LOCAL or not scheduler.get("may_come_back"):
            if not died_on_this_machine(run, info):
                continue
            if info["status"] == Status.SUBMITTED.value:
                unstarted.append(run)
            else:
                _record(findings, run, None)
        elif _script_ended(run, info):
            _record(findings, run, None)
        elif not program_lives(info):
            key = (scheduler["name"], scheduler.get("cluster", ""))
            of_schedulers.setdefault(key, {})[run] = info
    started = note_started_scripts(unstarted)
    for run in unstarted:
        if run not in started:
            _record(findings, run, None)
    for (name, cluster), infos in of_schedulers.items():
        _ask_scheduler(findings, name, cluster, infos, timeout_s)
    if findings.unwritten:
        names = run_names([run.log_id for run in findings.unwritten])
        reason = next(iter(findings.unwritten.values()))
        findings.troubles.append(f"the status of {names} cannot be written: {reason}")
    return findings


def reconcile(
    directory: RunDirectory,
    job: Status | None,
    reason: EndReason | None = None,
    *,
    summarize: bool = True,
) -> Status | None:
    """Writes the final status of a run whose job is known to have ended.

    A run that has one keeps it, and so does one whose process lives on this machine: RUNNING.

    Args:
        directory: the run's directory.
        job: the scheduler's status of the job; None if it does not know it any more.
        reason: why the job ended, if its scheduler knows.
        summarize: whether to write the run's summary for the reader, which costs as much again.

    Returns:
        The run's status; None if its info.yaml cannot be read.

    Raises:
        StorageError: the status cannot be written.
    """
    info, news = info_of_ended_job(directory, job, reason)
    if info and news and summarize:
        _write(directory, info)
    elif info and news:
        write_info(directory, info)
    return Status(info["status"]) if info else None


def _ask_scheduler(
    findings: Findings,
    name: str,
    cluster: str,
    infos: Mapping[RunDirectory, dict[str, Any]],
    timeout_s: float | None,
) -> None:
    scheduler = scheduler_of(name, infos)
    if scheduler is None:
        findings.troubles.append(f"there is no scheduler {name!r} here to ask")
        return
    scheduler.timeout_s = timeout_s or scheduler.timeout_s
    known = {run: job_id for run, info in infos.items() if (job_id := job_id_of(run, info))}
    lost = {run: infos[run] for run in infos.keys() - known.keys() if died_submitting(infos[run])}
    if not (known or lost):
        return
    try:
        if cluster and scheduler.cluster != cluster:
            findings.troubles.append(
                f"the cluster {cluster!r} of {name} does not answer on this machine"
            )
            return
        found = find_jobs(scheduler, lost) if lost else {}
        known.update(found or {})
        states = scheduler.states(sorted(set(known.values()))) if known else {}
    except MlxpyError as error:
        findings.troubles.append(str(error))
        return
    if left := sorted(run.log_id for run in lost.keys() - known.keys()):
        ids = " ".join(map(str, left))
        unless = " if they are not in the queue," if found is None else ""
        findings.troubles.append(
            f"the submission of {run_names(left)} was broken off:{unless} mlxpy resubmit {ids}"
        )
    reasons = reasons_of_ended(scheduler, states)
    # What is waited for comes before what waits.
    for run, job_id in sorted(known.items(), key=lambda one: one[0].log_id):
        state = states.get(job_id)
        if outlook := scheduler.outlooks.get(job_id):
            findings.outlooks[run] = outlook
        # Another cluster's jobs are not known here either, and may run.
        accounted = _age_s(infos[run]) > _UNKNOWN_S or noted_cancellation(run) is not None
        forgotten = bool(cluster) and scheduler.forgets_ended_jobs and accounted
        if state is None and not forgotten:
            continue
        _record(findings, run, state, reasons.get(job_id) or told_reason(scheduler, run, state))


def _record(
    findings: Findings, run: RunDirectory, job: Status | None, reason: EndReason | None = None
) -> None:
    """Writes what is known of a run's job into its info, and puts its status into the findings."""
    if job is Status.RUNNING:
        return  # the status that its program has written counts
    waits = job is Status.SUBMITTED
    info, news = info_of_waiting_job(run) if waits else info_of_ended_job(run, job, reason)
    if info is None:
        return
    findings.statuses[run] = Status(info["status"])
    if news:
        try:
            _write(run, info, ended=not waits)
        except StorageError as error:
            findings.unwritten[run] = str(error)


def _script_ended(directory: RunDirectory, info: Mapping[str, Any]) -> bool:
    # One that waits for a second attempt ended in its first.
    waits_again = info["status"] == Status.SUBMITTED.value and info["attempts"]
    interrupted = info["status"] == Status.INTERRUPTED.value
    return not waits_again and not interrupted and script_ended(directory.path)


def _age_s(info: Mapping[str, Any]) -> float:
    """Returns for how long the scheduler may have known the run's job."""
    starts = [attempt["start"] for attempt in info["attempts"][-1:]]
    try:
        begun = starts[0] if starts else f"{info['submit_date']}T{info['submit_time']}"
        return (datetime.now().astimezone() - datetime.fromisoformat(begun)).total_seconds()
    except (LookupError, TypeError, ValueError):
        return 0


def _write(directory: RunDirectory, info: dict[str, Any], *, ended: bool = True) -> None:
    write_info(directory, info)
    remove_end_note(directory, len(info["attempts"]))
    config = read_config(directory)
    if config is not None:
        write_summary(directory, config, info, ended=ended)
