"""Values of runs, which may be anything, as the page takes them: numbers, and texts that only show."""

import json
import math
from typing import Any

from mlxpy_core._io._text import as_unicode, printable
from mlxpy_core._reading._tables._columns import MISSING

_LONGEST = 300  # characters of a cell
_EXACT = 2**53  # JavaScript's numbers are floats


def clean(text: str, most: int = _LONGEST) -> str:
    """Returns a text with control characters and the like escaped, and its end cut off if it is long."""
    shown = printable(as_unicode(text[: most + 1]).replace("\t", "    "))
    return shown if len(text) <= most else shown[:most] + "…"


def cell(value: Any) -> float | int | str | None:
    """Returns a value for a cell of the table: a number, a text, or None where there is none."""
    if value is MISSING or value is None:
        return None
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        return value if abs(value) <= _EXACT else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return clean(value)
    return clean(json.dumps(value, default=str))
