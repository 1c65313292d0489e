"""A metric of a run under way, read as its program logs it."""

import json
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._files import open_regular
from mlxpy_core._io._flatten import flat_row
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._metrics_files import file_of_log


class MetricName(NamedTuple):
    """The name of a metric, ``<log>.<key>`` as in ``val.loss``.

    Attributes:
        log: the name of the log.
        key: that of the value in its rows.
    """

    log: str
    key: str

    @classmethod
    def parse(cls, text: str, option: str) -> "MetricName":
        """Takes a name apart.

        Args:
            text: the name.
            option: the option that holds it.

        Raises:
            MlxpyError: it is none.
        """
        log, _, key = text.partition(".")
        if not (log and key):
            raise MlxpyError(
                f"{option}={text} names no metric: give the log and the key, as in {option}=val.loss"
            )
        return cls(log, key)

    def __str__(self) -> str:
        return f"{self.log}.{self.key}"


class FollowedMetric:
    """The values of a metric of one run; each look reads what is new in the file.

    Args:
        directory: the run's directory.
        metric: the metric.
        step: the key that holds the step of a row; a row without it has its number, from 1.
    """

    def __init__(self, directory: RunDirectory, metric: MetricName, step: str) -> None:
        self._path: Path = file_of_log(directory.metrics, metric.log)
        self._logs = directory.logs
        self._key = metric.key
        self._step = step
        self._offset = 0
        self._rows = 0

    def new_values(self) -> list[tuple[int, float]]:
        """Returns the steps and values that were logged since the last look.

        Where the run goes on from a checkpoint, the file begins anew, and so do these.
        """
        found = []
        for line in self._new_lines():
            self._rows += 1
            try:
                row = flat_row(json.loads(line))
                value, step = row[self._key], row.get(self._step, self._rows)
                if _is_number(value) and _is_number(step) and 0 <= step < math.inf:
                    found.append((int(step), float(value)))
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError):
                continue
        return found

    def _new_lines(self) -> list[bytes]:
        try:
            with os.fdopen(open_regular(self._path, self._logs), "rb") as file:
                if os.fstat(file.fileno()).st_size < self._offset:
                    self._offset = self._rows = 0
                file.seek(self._offset)
                text = file.read()
        except OSError:  # nothing is logged yet, or a file system is away
            return []
        whole, end, _ = text.rpartition(b"\n")
        self._offset += len(whole) + len(end)
        return whole.split(b"\n") if end else []


def values_of(directory: RunDirectory, metric: MetricName) -> list[float]:
    """Returns all values of a metric that a run has logged."""
    return [value for _, value in FollowedMetric(directory, metric, "").new_values()]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
