"""What cells show: bars, curves of one line, times; values of runs as plain text."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from rich.cells import cell_len, set_cell_size

from mlxpy_core._io._text import clean
from mlxpy_core._plugins._scheduler import JobOutlook
from mlxpy_core._reading._tables._columns import MISSING

_LEVELS = "▁▂▃▄▅▆▇█"
_BAR = 8


def value_text(value: Any) -> str:
    """Returns a value as one line that drives no terminal; ``-`` for none."""
    if value is MISSING:
        return "-"
    return f"{value:.5g}" if isinstance(value, float) else clean(value)


def curve_text(values: Sequence[float], width: int) -> str:
    """Returns the latest values as a curve of one line."""
    if not values or width < 1:
        return ""
    count = min(width, len(values))
    bounds = [round(index * len(values) / count) for index in range(count + 1)]
    means = [sum(part) / len(part) for start, end in pairwise(bounds) if (part := values[start:end])]
    low, high = min(means), max(means)
    if not math.isfinite(high - low) or high == low:
        return _LEVELS[3] * len(means)
    scale = (len(_LEVELS) - 1) / (high - low)
    return "".join(_LEVELS[round((mean - low) * scale)] for mean in means)


def bar_text(fraction: float | None) -> str:
    """Returns how much is done as a bar and in percent."""
    if fraction is None:
        return "-"
    full = int(fraction * _BAR)
    return f"{'█' * full}{'░' * (_BAR - full)} {int(fraction * 100):3}%"


def outlook_text(outlook: JobOutlook | None) -> str:
    """Returns what is expected of a run's job in a few characters."""
    if outlook is None:
        return "-"
    if outlook.left_s is not None:
        return f"{short_time(outlook.left_s)} left"
    place = f"#{outlook.place}" if outlook.place is not None else ""
    start = f"in {short_time(outlook.starts_in_s)}" if outlook.starts_in_s else ""
    return " ".join(filter(None, [place, start])) or clean(outlook.reason or None)


def short_time(seconds: float) -> str:
    """Returns a time in at most 5 characters: ``40s``, ``12m``, ``3h05``, ``2d04h``."""
    minutes = int(seconds) // 60
    if minutes < 1:
        return f"{int(seconds)}s"
    hours, minutes = divmod(minutes, 60)
    if not hours:
        return f"{minutes}m"
    days, hours = divmod(hours, 24)
    return f"{days}d{hours:02}h" if days else f"{hours}h{minutes:02}"


def fitted(text: str, width: int, *, right: bool = False) -> str:
    """Returns a text of a width: its end is cut off if it is too long, blanks are added if not."""
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…"
    blanks = " " * (width - length)
    return blanks + text if right else text + blanks
