"""Sizes of memory as people read them."""

from typing import Any

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def size_text(size: Any) -> Any:
    """Returns a number of bytes as ``3.8 MiB`` or ``64.0 GiB``; what is no such number as it is."""
    if not isinstance(size, int) or not 0 <= size < 1024 ** len(_UNITS):
        return size
    power = max(0, size.bit_length() - 1) // 10
    return f"{size / 1024**power:.1f} {_UNITS[power]}"
