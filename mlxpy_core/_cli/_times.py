"""Times of a run: when it started, how long it took."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mlxpy_core._runs._status import Status


def start_and_duration(info: Mapping[str, Any]) -> tuple[str | None, float | None]:
    """Returns when a run started and how many seconds it took, up to now if it is running.

    Args:
        info: the status, dates and times of the run; both answers are None where these do not tell.
    """
    start = _moment(info.get("start_date"), info.get("start_time"))
    if start is None:
        return None, None
    end = _moment(info.get("end_date"), info.get("end_time"))
    if end is None and info.get("status") == Status.RUNNING.value:
        end = datetime.now(start.tzinfo)
    return str(start)[:19], (end - start).total_seconds() if end else None


def duration_text(seconds: float | None) -> str | None:
    """Returns a duration as people read it: ``4.2s``, ``3m12s``, ``1h02m``, ``2d03h``."""
    if seconds is None or seconds < 60:
        return None if seconds is None else f"{seconds:.1f}s"
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return f"{minutes}m{seconds:02}s"
    days, hours = divmod(hours, 24)
    return f"{days}d{hours:02}h" if days else f"{hours}h{minutes:02}m"


def _moment(date: Any, clock: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(f"{date}T{clock}")
    except ValueError:
        pass
    try:
        return datetime.strptime(f"{date} {clock}", "%d/%m/%Y %H:%M:%S")  # MLXP's
    except ValueError:
        return None
