"""Texts that can be written down, and those that cannot."""


def is_unicode(text: str) -> bool:
    """Returns whether a text can be written down: halves of surrogate pairs cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(text: str) -> str:
    """Returns a text that drives no terminal: control characters are escaped, but for ends of lines."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )


def as_unicode(text: str) -> str:
    """Returns a text that can be written down: surrogates, which stand for any bytes, are escaped."""
    return text.encode(errors="backslashreplace").decode()
