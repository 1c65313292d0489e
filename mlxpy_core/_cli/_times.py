"""Times of a run: when it started, how long it took."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from mlxpy_core._reading._moments import moment
from mlxpy_core._runs._status import Status


def start_and_duration(info: Mapping[str, Any]) -> tuple[datetime | None, float | None]:
    """Returns when a run started and how many seconds it took, up to now if it is running.

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


def time_texts(moments: Sequence[datetime | None]) -> list[str | None]:
    """Gives moments as people read them; with their zones if not all are of this machine's."""
    texts = [str(one) if one else None for one in moments]
    # This machine's zone is the same for all of an hour.
    hours = {
        text[:13] + text[-6:]: one for text, one in zip(texts, moments, strict=True) if text and one
    }
    if any(one.utcoffset() != one.astimezone().utcoffset() for one in hours.values()):
        return [zoned(one) if one else None for one in moments]
    return [text and text[:19] for text in texts]


def zoned(one: datetime) -> str:
    """Returns a moment with its zone, to the second."""
    return str(one.replace(microsecond=0))
