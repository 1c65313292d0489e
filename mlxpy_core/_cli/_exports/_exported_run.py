"""What other trackers take of a run."""

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlxpy_core._reading._moments import moment

if TYPE_CHECKING:
    from mlxpy_core._reading import RunRow


_MOST_STEPS = 2**63  # for integers of 64 bits


@dataclass(frozen=True)
class MetricsRow:
    """One row of a log.

    Attributes:
        log: the log's name.
        step: what the row has under ``step``, or its number from 0.
        time: what it has under ``time`` or ``wall_time``, where that is seconds since 1970; otherwise
            the run's start.
        values: its other numbers, by name.
    """

    log: str
    step: int
    time: float
    values: dict[str, float]


class ExportedRun:
    """A run, as the reader has it.

    Args:
        row: the run.

    Attributes:
        log_id: its number.
        directory: where it lies.
        run_id: its identity.
        status: its status.
        start: when it started, in seconds since 1970; one that waits, when it was submitted.
        end: when it ended; None if it has not.
        config: the config's values by dotted names; lists and dicts are JSON.
    """

    def __init__(self, row: "RunRow") -> None:
        self._row = row
        self.log_id = int(row["info.log_id"])
        self.directory = Path(row["info.log_dir"])
        self.run_id = _identity(self.info("run_id"), self.directory)
        self.status = str(row["info.status"])
        self.start = self._moment("start") or self._moment("submit") or 0
        self.end = self._moment("end")
        self.config = {
            field.removeprefix("config."): _plain(row[field])
            for field in row
            if field.startswith("config.")
        }

    def info(self, name: str) -> Any:
        """Returns a field of info; None where the run does not have it."""
        return self._row.get(f"info.{name}")

    def rows(self) -> Iterator[MetricsRow]:
        """Yields the rows of all logs, also of what the app wrote; they are named as the reader does."""
        for log in self._row.log_names:
            for place, row in enumerate(self._row.log(log)):
                numbers = {
                    key: number for key, value in row.items() if (number := _number(value)) is not None
                }
                step = numbers.pop("step", math.nan)
                time = numbers.get("time", numbers.get("wall_time", 0))  # the latter is TensorBoard's
                yield MetricsRow(
                    log,
                    int(step) if abs(step) < _MOST_STEPS else place,
                    time if 1e9 < time < 1e11 else self.start,
                    numbers,
                )

    def _moment(self, event: str) -> float | None:
        found = moment(self.info(f"{event}_date"), self.info(f"{event}_time"))
        return found.timestamp() if found else None


def _identity(run_id: Any, directory: Path) -> str:
    """Returns a run's identity; where it has none (MLXP), or nothing that is one, by its place."""
    if isinstance(run_id, str) and re.fullmatch(r"r[0-9a-f]{16}", run_id):
        return run_id  # goes into names of files, and into queries
    return f"p{hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]}"


def _number(value: Any) -> float | None:
    try:
        return float(value) if isinstance(value, int | float) else None
    except OverflowError:
        return None


def _plain(value: Any) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float | str) else json.dumps(value, default=str)
