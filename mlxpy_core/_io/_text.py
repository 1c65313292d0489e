"""Texts that can be written down, and those that cannot."""


def is_unicode(text: str) -> bool:
    """Returns whether a text can be written down: halves of surrogate pairs cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_unicode(text: str) -> str:
    """Returns a text that can be written down: surrogates, which stand for any bytes, are escaped."""
    return text.encode(errors="backslashreplace").decode()
