"""The status of a run."""

from collections.abc import Mapping
from enum import Enum
from typing import Any


class Status(str, Enum):
    """How a run stands: it waits, runs, or has ended, and how."""

    SUBMITTED = "SUBMITTED"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    FAILED = "FAILED"
    INTERRUPTED = "INTERRUPTED"
    KILLED = "KILLED"


ENDED = frozenset(Status) - {Status.SUBMITTED, Status.RUNNING}


def is_final(info: Mapping[str, Any]) -> bool:
    """Returns whether a run's status stays as it is, unless the run is continued.

    What was interrupted in a scheduler's job may come back, until the job is known to have ended.
    """
    if Status(info["status"]) not in ENDED:
        return False
    may_come_back = (info.get("scheduler") or {}).get("may_come_back")
    return info["status"] != Status.INTERRUPTED.value or not may_come_back


def status_of(error: BaseException | None) -> Status:
    """Returns the status of a run that ended by `error`, or without one."""
    if error is None:
        return Status.COMPLETE
    if isinstance(error, KeyboardInterrupt):
        return Status.INTERRUPTED
    if isinstance(error, SystemExit) and error.code in (None, 0):
        return Status.COMPLETE
    return Status.FAILED


STATUS_COLORS = {
    "SUBMITTED": "cyan",
    "RUNNING": "blue",
    "COMPLETE": "green",
    "FAILED": "red",
    "INTERRUPTED": "yellow",
    "KILLED": "magenta",
}
"""The colours of a terminal that statuses are shown in."""
