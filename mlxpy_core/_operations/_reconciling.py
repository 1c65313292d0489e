"""Reconciles the status of runs with what their scheduler or the process table knows.

A run's process writes how it ended. One that died could not, and neither could one that never started:
then the scheduler knows, or, of what runs on this machine, the process table.
"""

import contextlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mlxpy_core._errors import MlxpyError, StorageError
from mlxpy_core._io._files import open_regular
from mlxpy_core._io._retries import Retries
from mlxpy_core._plugins._scheduler import JobOutlook, Scheduler
from mlxpy_core._runs._cancellation import noted_cancellation
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._end_note import remove_end_note
from mlxpy_core._runs._end_reason import EndReason
from mlxpy_core._runs._info import set_end_reason, set_killed, set_noted_end
from mlxpy_core._runs._info_file import info_path, read_config, read_info, write_info
from mlxpy_core._runs._process import died_here, group_lives, lives_here, noted_process
from mlxpy_core._runs._run_names import run_names
from mlxpy_core._runs._status import ENDED, Status, is_final
from mlxpy_core._runs._summary import write_summary
from mlxpy_core._scheduling._bundle import script_ended
from mlxpy_core._scheduling._dependencies import after_of_info, job_id_of, reason_against_waiting
from mlxpy_core._scheduling._find_scheduler import find_installed_scheduler, find_scheduler
from mlxpy_core._scheduling._local import LOCAL

from ._lost_jobs import find_jobs, note_started_scripts

# A scheduler that does not know a job may not know it yet: accounting is late.
_UNKNOWN_S = 60
_LAST_OUTPUT = 2**14  # so many bytes of a job's output may hold its scheduler's message
_ENDED_BADLY = ENDED - {Status.COMPLETE}


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
            if not _died_here(run, info):
                continue
            if info["status"] == Status.SUBMITTED.value:
                unstarted.append(run)
            else:
                _record(findings, run, None)
        elif _script_ended(run, info):
            _record(findings, run, None)
        elif not _lives_here(info):
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
    info, news = _info_of_ended_job(directory, job, reason)
    if info and news and summarize:
        _write(directory, info)
    elif info and news:
        write_info(directory, info)
    return Status(info["status"]) if info else None


def _info_of_ended_job(
    directory: RunDirectory, job: Status | None, reason: EndReason | None
) -> tuple[dict[str, Any] | None, bool]:
    """Returns the info that a run whose job has ended should have, and whether that is news."""
    info = read_info(directory)
    if info is None or is_final(info):
        return info, False
    status = Status(info["status"])
    if set_noted_end(info, directory):
        status = Status(info["status"])
    elif status is Status.RUNNING:
        if _lives_here(info):
            return info, False
        if read_info(directory) != info:  # its final status came between the two looks
            return _info_of_ended_job(directory, job, reason)
        set_killed(info, directory)
        if info["end_reason"] is None:  # the kernel knows of no lack of memory
            by_hand = EndReason.CANCELLED if noted_cancellation(directory) else None
            set_end_reason(info, reason or by_hand)
    elif status is Status.SUBMITTED:
        after = None if info["attempts"] else after_of_info(info)
        blocked = reason_against_waiting(after, directory.logs)
        never_started = job is None and not blocked and _never_started(directory, info)
        cancelled = noted_cancellation(directory) or never_started
        _end_unstarted(info, Status.INTERRUPTED if cancelled else job, reason)
        if blocked and not cancelled:
            _end_blocked(info, blocked)
    if status is Status.INTERRUPTED:
        set_end_reason(info, _reason_of_interruption(info, reason))
    if info["scheduler"]:
        info["scheduler"]["may_come_back"] = False
    return info, True


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


def reasons_of_ended(scheduler: Scheduler, states: Mapping[str, Status]) -> dict[str, EndReason]:
    """Asks a scheduler why those of its jobs have ended that have, and did not complete.

    Args:
        scheduler: the scheduler.
        states: what it has said of jobs.
    """
    ended = sorted(job_id for job_id, state in states.items() if state in _ENDED_BADLY)
    if not ended:
        return {}
    with contextlib.suppress(MlxpyError):  # the statuses do not wait for it
        return scheduler.end_reasons(ended)
    return {}


def told_reason(scheduler: Scheduler, run: RunDirectory, job: Status | None) -> EndReason | None:
    """Returns why a job ended by what its scheduler wrote to the run's error output.

    Args:
        scheduler: the scheduler.
        run: the run.
        job: the scheduler's status of the job.
    """
    if not scheduler.memory_message or job not in _ENDED_BADLY:
        return None
    try:
        descriptor = open_regular(run.path / "log.stderr", run.logs)
        with os.fdopen(descriptor, "rb") as file:
            file.seek(max(0, os.fstat(descriptor).st_size - _LAST_OUTPUT))
            text = file.read(_LAST_OUTPUT).decode(errors="replace")
    except OSError:
        return None
    told = re.search(scheduler.memory_message, text, flags=re.MULTILINE)
    return EndReason.OUT_OF_MEMORY if told else None


def _record(
    findings: Findings, run: RunDirectory, job: Status | None, reason: EndReason | None = None
) -> None:
    """Writes what is known of a run's job into its info, and puts its status into the findings."""
    if job is Status.RUNNING:
        return  # the status that its program has written counts
    waits = job is Status.SUBMITTED
    info, news = _info_of_waiting_job(run) if waits else _info_of_ended_job(run, job, reason)
    if info is None:
        return
    findings.statuses[run] = Status(info["status"])
    if news:
        try:
            _write(run, info, ended=not waits)
        except StorageError as error:
            findings.unwritten[run] = str(error)


def _info_of_waiting_job(directory: RunDirectory) -> tuple[dict[str, Any] | None, bool]:
    """Returns the info that a run whose job waits should have, and whether that is news."""
    info = read_info(directory)
    if info is None or is_final(info) or _lives_here(info):
        return info, False
    if info["status"] == Status.SUBMITTED.value:
        return info, False
    if info["status"] == Status.RUNNING.value and not set_noted_end(info, directory):
        set_killed(info, directory)
    info["status"] = Status.SUBMITTED.value
    info["end_date"] = info["end_time"] = info["end_reason"] = None
    return info, True


def _never_started(directory: RunDirectory, info: Mapping[str, Any]) -> bool:
    """Returns whether the job of a run that waits was cancelled before it started, as far as is seen.

    Slurm keeps no record of a task that is cancelled before it leaves its array. What starts has its
    output files made.
    """
    if not info["scheduler"] or info["scheduler"]["name"] == LOCAL:
        return False
    made = []
    for name in ("log.stdout", "log.stderr"):
        with contextlib.suppress(OSError):
            made.append((directory.path / name).stat().st_mtime)
    if not info["attempts"]:
        return not made
    try:
        submitted = datetime.fromisoformat(f"{info['submit_date']}T{info['submit_time']}").timestamp()
    except (LookupError, ValueError):
        return False
    return max(made, default=0) < submitted  # those of earlier attempts


def scheduler_of(name: str, runs: Iterable[RunDirectory]) -> Scheduler | None:
    """Returns the scheduler that runs name as theirs; None if there is none here."""
    if scheduler := find_installed_scheduler(name):
        return scheduler
    try:
        # Another user's run must not have us import what it names.
        if all(info_path(run.path).stat().st_uid == os.getuid() for run in runs):
            return find_scheduler(name)
    except (OSError, MlxpyError):
        pass
    return None


def _lives_here(info: Mapping[str, Any]) -> bool:
    attempts: Sequence[dict[str, Any]] = info["attempts"]
    return bool(attempts) and info["status"] == Status.RUNNING.value and lives_here(attempts[-1])


def _died_here(directory: RunDirectory, info: Mapping[str, Any]) -> bool:
    if info["status"] == Status.RUNNING.value:
        attempt = info["attempts"][-1] if info["attempts"] else {}
        return died_here(attempt) or (bool(attempt.get("container")) and _container_ended(directory))
    if info["status"] == Status.INTERRUPTED.value:  # no queue puts what ran on this machine back
        return not (info["attempts"] and lives_here(info["attempts"][-1]))
    if info["status"] != Status.SUBMITTED.value or not died_submitting(info):
        return False
    # What was to run on this machine ends with the launcher that was to start it; but for the scripts
    # that it had started.
    script = noted_process(directory)
    return script is None or died_here(script)


def _container_ended(directory: RunDirectory) -> bool:
    """Returns whether what started a container on this machine has ended.

    Its processes may have numbers of their own. A script may end sooner than what it has started.
    """
    script = noted_process(directory)
    return script is not None and died_here(script) and not group_lives([script["process_id"]])


def _script_ended(directory: RunDirectory, info: Mapping[str, Any]) -> bool:
    # One that waits for a second attempt ended in its first.
    waits_again = info["status"] == Status.SUBMITTED.value and info["attempts"]
    interrupted = info["status"] == Status.INTERRUPTED.value
    return not waits_again and not interrupted and script_ended(directory.path)


def is_lost(directory: RunDirectory, info: Mapping[str, Any]) -> bool:
    """Returns whether a run, which is reconciled, waits without being in a queue.

    Its submitter has died, and no job of the scheduler was found to be the run's.
    """
    if info["status"] != Status.SUBMITTED.value or not died_submitting(info):
        return False
    scheduler = info["scheduler"] or {"name": LOCAL}
    if scheduler["name"] == LOCAL:
        return _died_here(directory, info)
    return job_id_of(directory, info) is None


def died_submitting(info: Mapping[str, Any]) -> bool:
    """Returns whether the process that submitted a run, which waits, is known to have ended."""
    submitter = (info["scheduler"] or info).get("submitter")
    return isinstance(submitter, dict) and died_here(submitter)


def _age_s(info: Mapping[str, Any]) -> float:
    """Returns for how long the scheduler may have known the run's job."""
    starts = [attempt["start"] for attempt in info["attempts"][-1:]]
    try:
        begun = starts[0] if starts else f"{info['submit_date']}T{info['submit_time']}"
        return (datetime.now().astimezone() - datetime.fromisoformat(begun)).total_seconds()
    except (LookupError, TypeError, ValueError):
        return 0


def _reason_of_interruption(info: Mapping[str, Any], reason: EndReason | None) -> EndReason:
    """Returns why a run was interrupted whose job has ended, for the reason that its scheduler has."""
    if reason and reason is not EndReason.EXIT_CODE:  # the code with which it stopped says nothing
        return reason
    warned = info.get("signal") in ("SIGUSR1", "SIGUSR2")  # its time was nearly up
    return EndReason.TIMEOUT if warned else EndReason.CANCELLED


def _end_unstarted(info: dict[str, Any], job: Status | None, reason: EndReason | None) -> None:
    now = datetime.now().astimezone()
    info["end_date"], info["end_time"] = now.date().isoformat(), now.timetz().isoformat()
    (info["scheduler"] or info).pop("submitter", None)
    info["end_reason"] = reason.value if reason else None
    if job is Status.INTERRUPTED:
        info["status"] = Status.INTERRUPTED.value
        info["end_reason"] = (reason or EndReason.CANCELLED).value
    elif info["attempts"]:  # it was put back, and did not start again
        info["status"] = Status.KILLED.value
    else:
        info["status"] = Status.FAILED.value
        message = "the job ended before the program started: its output says why"
        info["exception"] = {"type": "mlxpy.SubmissionError", "message": message, "traceback": ""}


def _end_blocked(info: dict[str, Any], reason: str) -> None:
    """Puts into the info of a run that has not started that it never can."""
    info["status"], info["end_reason"] = Status.FAILED.value, None
    info["exception"] = {"type": "mlxpy.SubmissionError", "message": reason, "traceback": ""}


def _write(directory: RunDirectory, info: dict[str, Any], *, ended: bool = True) -> None:
    write_info(directory, info)
    remove_end_note(directory, len(info["attempts"]))
    config = read_config(directory)
    if config is not None:
        write_summary(directory, config, info, ended=ended)
