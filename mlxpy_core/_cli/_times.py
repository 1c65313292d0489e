"""Times of a run as people read them: when it started, how long it took."""

from collections.abc import Sequence
from datetime import datetime


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
