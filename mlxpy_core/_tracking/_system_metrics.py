"""What the machine does while a run goes on, written to the log ``system`` by a thread of its own."""

import math
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from mlxpy_core._errors import MlxpyError

from ._machine import Machine
from ._metrics import MetricsWriter

LOG_NAME = "system"

_FIRST_S = 1.0  # short runs, too, have a row
_SHARE = 0.005  # of a core


class SystemMetrics:
    """Writes a row each few seconds, from `start` to `stop`, in the process that started it.

    The thread takes no signal, keeps no process alive and is not waited for; a fork of the program does
    not have it. Nothing that goes wrong in it reaches the program.

    Args:
        metrics: writes the rows.
        place: returns the run's directory, whose disk is looked at.
        interval_s: how many seconds lie between two rows, at least: where a row takes more than half a
            percent of a core, more.

    Raises:
        MlxpyError: there is no such interval.
    """

    def __init__(self, metrics: MetricsWriter, place: Callable[[], Path], interval_s: float) -> None:
        if not 0 < interval_s < math.inf:
            raise MlxpyError(
                f"system_metrics_interval_s={interval_s} is no number of seconds: give one above 0"
            )
        self._metrics = metrics
        self._place = place
        self._interval_s = interval_s
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begins, or says what is missing."""
        try:
            import psutil  # noqa: F401  # not at the start of every program
        except ImportError as error:
            print(
                f"mlxpy: there will be no system metrics ({error}): pip install 'mlxpy[system]'",
                file=sys.stderr,
            )
            return
        threading.Thread(target=self._work, name="mlxpy-system", daemon=True).start()

    def stop(self) -> None:
        """Ends it without waiting; a row that is being written may still come."""
        self._stopped.set()

    def _work(self) -> None:
        # Otherwise the kernel may choose this thread, and what the main one waits in goes on.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            machine = Machine(self._place)
            pause_s = min(self._interval_s, _FIRST_S)
            while not self._stopped.wait(pause_s):
                before = time.thread_time()
                row = machine.sample()
                if not self._stopped.is_set():
                    self._metrics.write_beside(row, LOG_NAME)
                pause_s = pause_after(time.thread_time() - before, self._interval_s)
        except Exception as error:
            if not self._stopped.is_set():
                print(f"mlxpy: there are no system metrics from here on: {error}", file=sys.stderr)


def pause_after(cpu_s: float, interval_s: float) -> float:
    """Returns how many seconds to wait after a row that has taken `cpu_s` seconds of a core."""
    return max(interval_s, cpu_s / _SHARE)
