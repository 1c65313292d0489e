"""What changes of a run from one second to the next: its progress, and a metric."""

import json
import os
import sys
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

from mlxpy_core._io._files import open_regular
from mlxpy_core._reading._tables._metric_lines import rows_of_lines
from mlxpy_core._runs._metrics_files import file_of_log
from mlxpy_core._runs._progress_file import Progress, read_progress

from ._growing_file import GrowingFile

_TAIL = 2**16  # bytes of a metrics file
_KEPT = 400  # values


class Metric(NamedTuple):
    """Where a metric is logged.

    Attributes:
        log: the log.
        key: the key in its rows.
    """

    log: str
    key: str


class Live(NamedTuple):
    """A run as it is now.

    Attributes:
        last: the last value of the chosen metric; None if there is none.
        values: its latest values that are finite numbers, the last one last.
        fraction: how much of its work the run has done, from 0 to 1; None if it does not say.
    """

    last: Any = None
    values: tuple[float, ...] = ()
    fraction: float | None = None


class LiveRun:
    """Follows a run that is on the screen.

    Args:
        run: its directory.
        metric: the metric that is shown, if any.
        epochs: where the run logs its epoch, if it does, and how many there will be.
        values: those of the metric that are known already.
    """

    def __init__(
        self,
        run: Path,
        metric: Metric | None,
        epochs: tuple[Metric, float] | None,
        values: Iterable[Any] = (),
    ) -> None:
        self._run = run
        self._metric = metric
        self._epochs = epochs
        wanted = {one.log for one in (metric, epochs and epochs[0]) if one}
        self._files = {
            log: GrowingFile(file_of_log(run / "metrics", log), run.parent, _TAIL) for log in wanted
        }
        self._values: deque[Any] = deque(values, maxlen=_KEPT)
        self._first_epoch: float | None = None
        self._epoch: float | None = None

    def look(self) -> Live:
        """Reads what is new of it."""
        for log, file in self._files.items():
            part = file.new_lines()
            if part.anew:
                self._begin(log, cut=part.cut)
            for row in rows_of_lines(part.content, "", []):
                self._take(log, row)
        last = self._values[-1] if self._values else None
        finite = tuple(float(value) for value in self._values if is_finite(value))
        return Live(last, finite, self._fraction())

    def _begin(self, log: str, *, cut: bool) -> None:
        if self._metric and log == self._metric.log:
            self._values.clear()
        if self._epochs and log == self._epochs[0].log:
            self._epoch = None
            # Who counts from 0 says so in the first row.
            self._first_epoch = _first_value(self._run, self._epochs[0]) if cut else None

    def _take(self, log: str, row: Mapping[str, Any]) -> None:
        if self._metric and log == self._metric.log and self._metric.key in row:
            self._values.append(row[self._metric.key])
        if self._epochs and log == self._epochs[0].log:
            value = row.get(self._epochs[0].key)
            if is_finite(value):
                self._epoch = value
                self._first_epoch = value if self._first_epoch is None else self._first_epoch

    def _fraction(self) -> float | None:
        progress = read_progress(self._run)
        if progress is None and self._epochs and self._epoch is not None:
            done = self._epoch + (1 if self._first_epoch == 0 else 0)
            progress = Progress(done, self._epochs[1])
        return fraction_of(progress)


def fraction_of(progress: Progress | None) -> float | None:
    """Returns a progress as a number from 0 to 1; None if there is none."""
    if progress is None:
        return None
    return min(1.0, max(0.0, progress.done / progress.total)) if progress.total else 1.0


def is_finite(value: Any) -> TypeGuard[float]:
    """Returns whether a value is a number that a curve can show."""
    # An integer may be beyond all floats.
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return known and abs(value) <= sys.float_info.max


def _first_value(run: Path, metric: Metric) -> float | None:
    try:
        descriptor = open_regular(file_of_log(run / "metrics", metric.log), run.parent)
        with os.fdopen(descriptor, "rb") as file:
            value = json.loads(file.readline(_TAIL)).get(metric.key)
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    return value if is_finite(value) else None
