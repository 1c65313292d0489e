"""Moments of runs: a date and a time of day in info, with the zone of the machine that wrote them."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

_EVENTS = ("submit", "start", "end")
MOMENTS = {
    f"info.{event}_{part}": (f"info.{event}_date", f"info.{event}_time")
    for event in _EVENTS
    for part in ("date", "time")
}
"""The fields that say together when something was: those of the date and of the time of day."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_DATE_AND_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d")


def moment(date: Any, clock: Any) -> datetime | None:
    """Returns the moment that a date and a time of day say; without a zone, in that of this machine.

    Returns:
        A datetime with a zone; None if they say none.
    """
    try:
        found = datetime.fromisoformat(f"{date}T{clock}")
    except ValueError:
        try:
            found = datetime.strptime(f"{date} {clock}", "%d/%m/%Y %H:%M:%S")  # MLXP's
        except ValueError:
            return None
    return _with_zone(found)


def moment_of_text(text: Any) -> datetime | None:
    """Returns the moment that a text such as ``2026-11-01T12:00+01:00`` says; None for a date alone."""
    if not isinstance(text, str) or not _DATE_AND_TIME.match(text):
        return None
    try:
        return _with_zone(datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text)))
    except ValueError:
        return None


def microseconds(dates: Sequence[Any], clocks: Sequence[Any]) -> list[int | None]:
    """Returns what orders moments, whatever their zones."""
    found = map(moment, dates, clocks)
    return [None if one is None else since_epoch(one) for one in found]


def since_epoch(one: datetime) -> int:
    """Returns a moment in microseconds, exactly."""
    return (one - _EPOCH) // timedelta(microseconds=1)


def _with_zone(found: datetime) -> datetime | None:
    try:
        return found if found.tzinfo else found.astimezone()
    except (OverflowError, OSError, ValueError):  # the years at the ends of the calendar
        return None
