"""Where the rows of one log of all runs come from."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mlxpy_core._io._files import stamp_of
from mlxpy_core._io._retries import Retries
from mlxpy_core._runs._metrics_files import file_of_log, is_of_other_rank

from ._catalog import Catalog
from ._metric_lines import Row, rows_in
from ._segments import StampedRuns

_SETTLES_S = 5  # a network file system may be asked once a second only, by each of its layers


@dataclass(frozen=True)
class LogSource:
    """Where the rows of one log of all runs come from.

    Attributes:
        runs: all runs, with the stamps of what holds the rows; where one has changed, the run's rows are
            read again.
        kept: shape (n,): whether the rows of a run are kept in the cache.
        rows: returns the rows of the run at a position; notes what is none, and waits for a file system
            as long as it may. Raises OSError where they cannot be read.
    """

    runs: StampedRuns
    kept: npt.NDArray[np.bool_]
    rows: Callable[[int, list[str], Retries], list[Row]]


def source_of_log(catalog: Catalog, log: str) -> LogSource:
    """Returns where the rows of a log that mlxpy wrote come from.

    Those of runs that ended so long ago are kept that no mount has the old length of a file any more.
    """

    def path(position: int) -> Path:
        return file_of_log(catalog.run_path(position) / "metrics", log)

    def rows(position: int, damaged: list[str], retries: Retries) -> list[Row]:
        return rows_in(path(position), damaged, catalog.logs, retries)

    runs = catalog.runs
    if is_of_other_rank(log):
        # Other ranks may go on for a while when rank 0 has ended the run.
        stamps = np.zeros((2, len(catalog)), dtype=np.int64)
        for position in range(len(catalog)):
            with contextlib.suppress(OSError):  # not every run has such a file
                stamps[:, position] = stamp_of(path(position))
        runs = StampedRuns(runs.log_ids, *stamps)
    settled = np.less(runs.changed, (time.time() - _SETTLES_S) * 1e9)
    return LogSource(runs, catalog.ended & settled, rows)
