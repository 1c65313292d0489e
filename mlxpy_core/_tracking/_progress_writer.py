"""What a program says of its progress, on its way to a file: at most once a second."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from mlxpy_core._errors import MlxpyError
from mlxpy_core._runs._progress_file import Progress, checked_progress, write_progress

_INTERVAL_S = 1.0


class ProgressWriter:
    """Writes the progress of one run.

    It is for people who look, so a file system that refuses is no error: a later call tries again.

    Args:
        place: returns the run's directory as it is now; None if this process must not write there.
    """

    def __init__(self, place: Callable[[], Path | None]) -> None:
        self._place = place
        self._next = 0.0
        self._unwritten: Progress | None = None

    def report(self, done: float, total: float) -> None:
        """Takes note of how much is done; writes it if the last time was a second ago, or all is done.

        Raises:
            MlxpyError: one of the two is no number, or a negative or infinite one.
        """
        try:
            self._unwritten = checked_progress(done, total)
        except (TypeError, ValueError, OverflowError) as error:
            raise MlxpyError(
                f"progress({done!r}, {total!r}): {error}: give how much is done and of how much, "
                "such as progress(3, 100)"
            ) from error
        if time.monotonic() >= self._next or done == total:
            self.flush()

    def flush(self) -> None:
        """Writes what is not written yet."""
        progress, self._unwritten = self._unwritten, None
        self._next = time.monotonic() + _INTERVAL_S
        if progress is not None and (place := self._place()) is not None:
            with contextlib.suppress(OSError):
                write_progress(place, progress)
