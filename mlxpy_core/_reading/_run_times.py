"""Times of runs: when each started, and how long it took."""

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from mlxpy_core._runs._status import Status

from ._config_list import ConfigList
from ._moments import moment

_FIELDS = ("status", "start_date", "start_time", "end_date", "end_time")

StartAndDuration = tuple[datetime | None, float | None]
"""When a run started, and how many seconds it took; None where nobody knows."""


def start_and_duration(info: Mapping[str, Any]) -> StartAndDuration:
    """Returns when a run started and how long it took, up to now if it is running.

    Args:
        info: the status, dates and times of the run; both answers are None where these do not tell.
    """
    start = moment(info.get("start_date"), info.get("start_time"))
    if start is None:
        return None, None
    end = moment(info.get("end_date"), info.get("end_time"))
    if end is None and info.get("status") == Status.RUNNING.value:
        end = datetime.now(timezone.utc)
    return start, (end - start).total_seconds() if end else None


def run_times(found: ConfigList) -> list[StartAndDuration]:
    """Returns when runs started and how long they took."""
    known = found.keys()  # a directory of queued runs has no times yet
    fields = {name: f"info.{name}" for name in _FIELDS if f"info.{name}" in known}
    rows = zip(*(found[field] for field in fields.values()), strict=True)
    return [start_and_duration(dict(zip(fields, row, strict=True))) for row in rows]
