"""When the rows of runs were logged: what curves over time are drawn by."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mlxpy_core._reading._rows import Rows
from mlxpy_core._reading._run_times import StartAndDuration
from mlxpy_core._reading._tables._event_files import WALL_TIME
from mlxpy_core._reading._tables._metric_columns import Series
from mlxpy_core._runs._metrics_files import is_app_log, shown_log
from mlxpy_core._runs._row_times import Times, read_row_times

_POINTS = 128  # of a run


class LogTimes:
    """When the rows of each log were logged, in seconds since the start of the run.

    Args:
        rows: the runs.
        directories: where they are.
        times: when they started.
    """

    def __init__(
        self, rows: Rows, directories: Sequence[Path], times: Sequence[StartAndDuration]
    ) -> None:
        self._rows = rows
        self._noted = list(map(read_row_times, directories))
        self._starts = [
            _first(start.timestamp() if start else None, noted)
            for (start, _), noted in zip(times, self._noted, strict=True)
        ]

    def of_log(self, log: str) -> list[Series | None]:
        """Returns for each run rows of a log, and when they were logged; None where nobody knows."""
        found = [noted.get(log) for noted in self._noted]
        if is_app_log(log) and (walls := self._rows.series(f"{shown_log(log)}.{WALL_TIME}")):
            found = list(map(_of_series, walls))
        return [
            None if one is None else _since(one, start)
            for one, start in zip(found, self._starts, strict=True)
        ]


def _first(start: float | None, noted: dict[str, Times]) -> float | None:
    """Returns when a run began: an attempt that resumed it started later than its first rows."""
    known = [moments[0] for _, moments in noted.values()]
    return min(known if start is None else [start, *known], default=None)


def _of_series(series: Series) -> Times | None:
    moments = np.array([np.nan if one is None else one for one in series.values], dtype=np.float64)
    rows = np.arange(len(moments)) if series.rows is None else series.rows
    known = np.isfinite(moments)
    return (rows[known].tolist(), moments[known].tolist()) if known.any() else None


def _since(times: Times, start: float | None) -> Series:
    rows, moments = np.array(times[0]), np.array(times[1])
    step = max(1, len(rows) // _POINTS)
    kept = np.unique(np.append(np.arange(0, len(rows), step), len(rows) - 1))
    return Series(moments[kept] - (moments[0] if start is None else start), rows=rows[kept])
