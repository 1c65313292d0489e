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
