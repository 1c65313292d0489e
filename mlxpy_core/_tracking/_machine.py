"""What this process, its children and the machine do at a moment."""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ._gpus import Gpus

if TYPE_CHECKING:
    from psutil import Process


class Machine:
    """Samples the machine; percentages of processors are since the last sample.

    Args:
        place: returns a directory whose disk is looked at.

    Raises:
        ImportError: psutil is not installed.
    """

    def __init__(self, place: Callable[[], Path]) -> None:
        import psutil  # the extra "system"; not at the start of every program

        self._psutil = psutil
        self._place = place
        self._root = psutil.Process()
        self._gpus = Gpus(os.environ)
        self._started = self._at = time.monotonic()
        self._cpu_s, _ = self._processes()
        psutil.cpu_percent()  # the first answer means nothing

    def sample(self) -> dict[str, float]:
        """Returns a row of metrics; memory is in bytes, 100 percent of a process are one core."""
        now, (cpu_s, memory) = time.monotonic(), self._processes()
        # One that has begun since has used all that it has used.
        used = sum(seconds - self._cpu_s.get(process, 0) for process, seconds in cpu_s.items())
        elapsed = max(now - self._at, 1e-6)
        self._at, self._cpu_s = now, cpu_s
        psutil = self._psutil
        disk = psutil.disk_usage(str(self._place()))
        return {
            "time": round(time.time(), 3),
            "seconds": round(now - self._started, 3),
            "cpu_percent": round(100 * used / elapsed, 1),
            "memory": memory,
            "processes": len(cpu_s),
            "machine_cpu_percent": psutil.cpu_percent(),
            "machine_memory_percent": psutil.virtual_memory().percent,
            "disk_free": disk.free,
            "disk_percent": disk.percent,
            **self._gpus.sample(),
        }

    def _processes(self) -> tuple[dict["Process", float], int]:
        """Returns the processor's seconds of each process of the tree, and the memory of all."""
        cpu_s, memory = {}, 0
        for process in (self._root, *self._root.children(recursive=True)):
            with contextlib.suppress(self._psutil.Error), process.oneshot():  # it has just ended
                times, resident = process.cpu_times(), process.memory_info().rss
                cpu_s[process] = times.user + times.system
                memory += resident
        return cpu_s, memory
