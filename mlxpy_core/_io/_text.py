"""Texts that can be written down, and those that cannot; values as people read them."""

from collections.abc import Container
from typing import Any


def is_unicode(text: str) -> bool:
    """Returns whether a text can be written down: halves of surrogate pairs cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(text: str) -> str:
    """Returns a text that drives no terminal: control characters are escaped, but for ends of lines."""
    return escaped(text, "\n")


def escaped(text: str, harmless: Container[str] = "") -> str:
    """Returns a text with escapes for what cannot be printed, harmless characters left as they are."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in harmless else c.encode("unicode_escape").decode() for c in text
    )


def as_unicode(text: str) -> str:
    """Returns a text that can be written down: surrogates, which stand for any bytes, are escaped."""
    return text.encode(errors="backslashreplace").decode()


def clean(value: Any) -> str:
    """Returns a value as one line without control characters; ``-`` for none."""
    if value is None:
        return "-"
    text = str(value)
    return (text if text.isprintable() else escaped(" ".join(text.split()))) or "''"


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
