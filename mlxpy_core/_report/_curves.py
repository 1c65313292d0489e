"""The curves of metrics, thinned to what a screen can show.

Of a curve with more values than `_POINTS`, every fourth, eighth … value is kept, and the least and the
greatest of the values between. Steps are powers of two, so that curves of different lengths have rows in
common, of which means are exact.
"""

import base64
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlxpy_core._reading._rows import Rows
from mlxpy_core._reading._shown_columns import metrics_by_importance
from mlxpy_core._reading._tables._metric_columns import Series

from ._texts import clean
from ._times import LogTimes

_POINTS = 512  # of a curve; a plot is hardly 1,000 pixels wide
_BYTES = 9 * 2**20  # of all curves together
_MOST = 100_000  # curves
_PRECISE = 1e-4  # of a curve's span: less than a pixel
_NOISE = 1e-6  # of a value

Floats = npt.NDArray[np.float64]
_Curve = list[Any]  # see `_Packed.curve`


def metric_curves(rows: Rows, log_times: LogTimes) -> dict[str, Any]:
    """Returns the numeric metrics of runs as the page takes them.

    Args:
        rows: the runs.
        log_times: when their rows were logged.

    Returns:
        ``metrics``: name, a curve for each run (see `_Packed.curve`), and the place of its log in
        ``times`` (-1 if it is not there); ``times``: of some logs, for each run the curve of time over
        row, where that is known; ``blobs``: numbers in base64; ``step``: the widest that was taken;
        ``omitted``: names of metrics for which there was no room.
    """
    names = metrics_by_importance(rows)
    room = max(1, _MOST // max(1, len(rows)))
    # Without the values: those of a long sweep are read a metric at a time, and once more to be kept.
    packed = _Packed(1)
    metrics = _packed_metrics(rows, names[:room], packed)
    while packed.size > _BYTES:
        packed = _Packed(packed.coarseness * 2)
        metrics = _packed_metrics(rows, names[:room], packed)
    times = _packed_times(log_times, dict.fromkeys(log for _, log, _ in metrics if log), packed)
    places = {log: place for place, log in enumerate(times)}
    return {
        "metrics": [
            {"name": clean(name), "curves": curves, "times": places.get(log, -1)}
            for name, log, curves in metrics
        ],
        "times": list(times.values()),
        "blobs": packed.blobs,
        "step": packed.widest,
        "omitted": list(map(clean, names[room:])),
    }


def _packed_metrics(
    rows: Rows, names: Sequence[str], packed: "_Packed"
) -> list[tuple[str, str, list[_Curve | None]]]:
    """Returns the names of metrics, their logs (empty for what is of none) and curves."""
    metrics, sources = [], rows.metric_sources
    for name in names:
        found = rows.series(name) or []
        curves = [packed.curve(series) for series in found]
        if any(curves):
            metrics.append((name, sources.get(name, ("", ""))[0], curves))
        if packed.size > _BYTES:
            break
    return metrics


def _packed_times(
    log_times: LogTimes, logs: Iterable[str], packed: "_Packed"
) -> dict[str, list[_Curve | None]]:
    found = {}
    for log in logs:
        times = log_times.of_log(log)
        if any(times):
            found[log] = [None if series is None else packed.curve(series) for series in times]
    return found


class _Packed:
    """Curves as texts of base64, each of which is kept once: that of an epoch is the same in most runs.

    Args:
        coarseness: how many times fewer points than `_POINTS` a curve has.

    Attributes:
        blobs: the texts.
        size: their length before they became base64, in bytes.
        widest: the widest step between values that were kept.
    """

    def __init__(self, coarseness: int) -> None:
        self.coarseness = coarseness
        self.blobs: list[str] = []
        self.size = 0
        self.widest = 1
        self._places: dict[bytes, int] = {}

    def curve(self, series: Series) -> _Curve | None:
        """Packs what one run logged under one key.

        Returns:
            The number of values, the step, and the places in `blobs` of: the values that were kept,
            their rows, the least and greatest between, where in the step these are (-1 for what is not
            needed); and whether values are of 8 bytes rather than 4. None if they are no numbers.
        """
        values = numbers(series.values)
        count = len(values)
        if not count:
            return None
        step = _step(count, _POINTS // self.coarseness)
        self.widest = max(self.widest, step)
        places = np.arange(0, count, step)
        if places[-1] < count - 1:
            places = np.append(places, count - 1)
        wide = _needs_8_bytes(values)
        rows = -1 if series.rows is None else self._blob(series.rows[places].astype("<i4"))
        extremes = within = -1
        if step > 1 and not _is_monotone(values):
            at, found = _extremes(values, step)
            extremes = self._blob(found.astype("<f8" if wide else "<f4"))
            within = self._blob((at * 256 // max(step, 256)).astype(np.uint8))
        kept = self._blob(values[places].astype("<f8" if wide else "<f4"))
        return [count, step, kept, rows, extremes, within, int(wide)]

    def _blob(self, array: npt.NDArray[Any]) -> int:
        content = array.tobytes()
        if content not in self._places:
            self._places[content] = len(self.blobs)
            self.blobs.append(base64.b64encode(content).decode())
            self.size += len(content)
        return self._places[content]


def numbers(values: npt.NDArray[Any]) -> Floats:
    """Returns what was logged as floats, NaN for None; nothing if there is anything but numbers."""
    if values.dtype != object:
        return values.astype(np.float64)
    if not all(value is None or isinstance(value, (int, float)) for value in values):
        return np.zeros(0)
    try:
        return np.array([math.nan if value is None else float(value) for value in values])
    except OverflowError:
        return np.zeros(0)


def _step(count: int, points: int) -> int:
    """Returns a power of two by which there are so many values at most; 2 would save nothing."""
    step = 1
    while count > points * step:
        step *= 2
    return 4 if step == 2 else step


def _needs_8_bytes(values: Floats) -> bool:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return False
    with np.errstate(over="ignore"):
        lost = np.abs(finite.astype(np.float32) - finite).max()
    # One that hardly moves is drawn with the noise of 4 bytes rather than written in 8.
    span = max(finite.max() - finite.min(), np.abs(finite).max() * _NOISE)
    return bool(lost > _PRECISE * span)


def _is_monotone(values: Floats) -> bool:
    with np.errstate(invalid="ignore"):
        steps = np.diff(values)
    return bool((steps >= 0).all() or (steps <= 0).all())


def _extremes(values: Floats, step: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """Returns where the least and the greatest value of each stretch are in it, and these values."""
    stretches = math.ceil(len(values) / step)
    padded = np.full(stretches * step, np.nan)
    padded[: len(values)] = values
    table = padded.reshape(stretches, step)
    absent = np.isnan(table)
    least = np.where(absent, np.inf, table).argmin(axis=1)
    greatest = np.where(absent, -np.inf, table).argmax(axis=1)
    at = np.stack([least, greatest], axis=1)
    return at.ravel(), np.take_along_axis(table, at, axis=1).ravel()
