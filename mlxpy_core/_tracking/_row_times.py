"""Notes when rows were logged, see `mlxpy_core._runs._row_times`."""

import contextlib
import time
from collections.abc import Callable

from mlxpy_core._io._retries import Retries
from mlxpy_core._runs._row_times import time_line

from ._appended_file import AppendedFile

_FINEST_S = 0.01
_SHARE = 0.01  # of the time since the first row: it is then a hundredth of a plot's width


class RowTimes:
    """Notes when rows were logged: each, or so many that a plot over time shows no difference.

    What cannot be written is left out: nobody loses a row for the time of another.

    Args:
        open_file: opens the file, where it is now; makes it where there is none.
    """

    def __init__(self, open_file: Callable[[], int]) -> None:
        self._file = AppendedFile(open_file, "cannot note when rows were logged")
        self._begun = time.monotonic()

    def note(self, log: str, row: int, now: float) -> float:
        """Notes that a row has been logged.

        Args:
            log: the log.
            row: the number of the row in the log.
            now: what `time.monotonic` says.

        Returns:
            When, by `time.monotonic`, the next row of this log is to be noted.
        """
        with contextlib.suppress(OSError):
            self._file.append(time_line(row, time.time(), log))
        return now + max(_FINEST_S, (now - self._begun) * _SHARE)

    def look(self) -> None:
        """Drops what is kept in case the file system loses it, if it has it."""
        with contextlib.suppress(OSError):
            self._file.look()

    def detach(self) -> None:
        """Closes the file for now; the next note opens it again."""
        self._file.detach()

    def close(self, retries: Retries) -> None:
        """Closes the file; the next note opens it again."""
        with contextlib.suppress(OSError):
            self._file.close(retries)
