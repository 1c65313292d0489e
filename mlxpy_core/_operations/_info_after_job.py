"""What info.yaml is to hold of a run whose job waits, or has ended."""

import contextlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mlxpy_core._runs._cancellation import noted_cancellation
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._end_reason import EndReason
from mlxpy_core._runs._info import set_end_reason, set_killed, set_noted_end
from mlxpy_core._runs._info_file import read_info
from mlxpy_core._runs._status import Status, is_final
from mlxpy_core._scheduling._dependencies import after_of_info, standing_of
from mlxpy_core._scheduling._local import LOCAL

from ._liveness import program_lives


def info_of_waiting_job(directory: RunDirectory) -> tuple[dict[str, Any] | None, bool]:
    """Returns the info that a run whose job waits should have, and whether that is news."""
    info = read_info(directory)
    if info is None or is_final(info) or program_lives(info):
        return info, False
    if info["status"] == Status.SUBMITTED.value:
        return info, False
    if info["status"] == Status.RUNNING.value and not set_noted_end(info, directory):
        set_killed(info, directory)
    info["status"] = Status.SUBMITTED.value
    info["end_date"] = info["end_time"] = info["end_reason"] = None
    return info, True


def info_of_ended_job(
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
        if program_lives(info):
            return info, False
        if read_info(directory) != info:  # its final status came between the two looks
            return info_of_ended_job(directory, job, reason)
        set_killed(info, directory)
        if info["end_reason"] is None:  # the kernel knows of no lack of memory
            by_hand = EndReason.CANCELLED if noted_cancellation(directory) else None
            set_end_reason(info, reason or by_hand)
    elif status is Status.SUBMITTED:
        _end_unstarted(info, directory, job, reason)
    if status is Status.INTERRUPTED:
        set_end_reason(info, _reason_of_interruption(info, reason))
    if info["scheduler"]:
        info["scheduler"]["may_come_back"] = False
    return info, True


def _end_unstarted(
    info: dict[str, Any], directory: RunDirectory, job: Status | None, reason: EndReason | None
) -> None:
    """Puts into the info of a run that waits how its job has ended."""
    after = None if info["attempts"] else after_of_info(info)
    never = standing_of(after, directory.logs).never if after else ""
    cancelled = job is None and not never and _never_started(directory, info)
    message = "the job ended before the program started: its output says why"
    if cancelled or noted_cancellation(directory):
        job = Status.INTERRUPTED
    elif never:
        job, reason, message = None, None, f"it waits for {never}"
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
        info["exception"] = {"type": "mlxpy.SubmissionError", "message": message, "traceback": ""}


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


def _reason_of_interruption(info: Mapping[str, Any], reason: EndReason | None) -> EndReason:
    """Returns why a run was interrupted whose job has ended, for the reason that its scheduler has."""
    if reason and reason is not EndReason.EXIT_CODE:  # the code with which it stopped says nothing
        return reason
    warned = info.get("signal") in ("SIGUSR1", "SIGUSR2")  # its time was nearly up
    return EndReason.TIMEOUT if warned else EndReason.CANCELLED
