"""What a run has used of its machine, as the kernel counts it for every process anyway."""

import resource
import sys
import time

# https://man7.org/linux/man-pages/man2/getrusage.2.html: kilobytes; on macOS bytes
_UNIT_OF_MEMORY = 1 if sys.platform == "darwin" else 1024


class UsageMeter:
    """Measures from its making on what this process and its children use.

    Children count when they have ended and this process has waited for them. Memory is the most that a
    single process held since it began, so what an earlier run of the same process held counts, too.
    """

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._cpu_s, _ = _used()

    def usage(self) -> dict[str, float]:
        """Returns what was used so far.

        Returns:
            ``wall_seconds``, ``cpu_seconds`` and ``peak_memory`` in bytes.
        """
        cpu_s, peak = _used()
        return {
            "wall_seconds": round(time.monotonic() - self._started, 3),
            "cpu_seconds": round(cpu_s - self._cpu_s, 3),
            "peak_memory": peak,
        }


def _used() -> tuple[float, int]:
    """Returns the processor's seconds, and the bytes of the largest process."""
    of_all = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    # Not the sum: a child counts its parent's memory until it has started its own program, and of
    # several children only the largest is known.
    peak = max(one.ru_maxrss for one in of_all)
    return sum(one.ru_utime + one.ru_stime for one in of_all), peak * _UNIT_OF_MEMORY
