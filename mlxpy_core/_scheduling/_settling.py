"""Writes the last word of a run whose job has ended without one."""

import contextlib
from datetime import datetime
from typing import Any

import yaml

from mlxpy_core._directories import RunDirectory
from mlxpy_core._files import write_whole
from mlxpy_core._info import Status, set_status
from mlxpy_core._process import lives_here
from mlxpy_core._summary import write_summary
from mlxpy_core._yaml import dump_yaml, load_yaml

ENDED = frozenset(Status) - {Status.SUBMITTED, Status.RUNNING}


def read_status(directory: RunDirectory) -> Status | None:
    """Reads the word of a run; None if its info.yaml cannot be read now."""
    info = _read(directory)
    return Status(info["status"]) if info else None


def settle(directory: RunDirectory, job: Status | None) -> Status | None:
    """Writes the last word of a run whose job is known to have ended.

    A run that has a word keeps it, and so does one whose process lives on this machine: RUNNING.

    Args:
        directory: the run's directory.
        job: what the scheduler says of the job; None if it does not know it any more.

    Returns:
        The run's word; None if its info.yaml cannot be read.

    Raises:
        StorageError: the word cannot be written.
    """
    info = _read(directory)
    if info is None or Status(info["status"]) in ENDED:
        return Status(info["status"]) if info else None
    if info["attempts"] and info["attempts"][-1]["status"] == Status.RUNNING.value:
        if lives_here(info["attempts"][-1]):
            return Status.RUNNING
        set_status(info, Status.KILLED)
    else:
        _end_unstarted(info, job)
    write_whole(directory.info, dump_yaml(info))
    with contextlib.suppress(OSError, ValueError, yaml.YAMLError):  # only a cache
        config = load_yaml(directory.config.read_text(encoding="utf-8"))
        write_summary(directory, config, info, ended=True)
    return Status(info["status"])


def _end_unstarted(info: dict[str, Any], job: Status | None) -> None:
    now = datetime.now().astimezone()
    info["end_date"], info["end_time"] = now.date().isoformat(), now.timetz().isoformat()
    if job is Status.INTERRUPTED:
        info["status"] = Status.INTERRUPTED.value
        return
    info["status"] = Status.FAILED.value
    message = "the job ended before the program started: its output says why"
    info["exception"] = {"type": "mlxpy.SubmissionError", "message": message, "traceback": ""}


def _read(directory: RunDirectory) -> dict[str, Any] | None:
    try:
        info = load_yaml(directory.info.read_text(encoding="utf-8"))
        Status(info["status"])
    except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError):
        return None
    return info if isinstance(info, dict) and isinstance(info.get("attempts"), list) else None
