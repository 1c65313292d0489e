"""How a run's program is asked to stop, and whether it stopped because of that.

A run is INTERRUPTED by a signal if its program

- was ended by it, or by what the program's handler (or Python's: KeyboardInterrupt) raised, or by what
  was raised in dealing with that;
- was told by `should_stop` or a function of `on_stop`; or
- had a handler of its own, or caught what was raised, and ended *soon after*: in no more time than it
  had run before the signal, and at least `_SOON_S`, at most `_LATE_S` seconds.

In the last two cases an ordinary exception means FAILED. A program that went on for longer than that has
ignored the signal, and so has one for which it was SIG_IGN.
"""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mlxpy_core._runs._status import Status

_SOON_S = 2
_LATE_S = 600


@dataclass(frozen=True)
class _Handled:
    """A signal that a handler of the program took.

    Attributes:
        signal: its name.
        time: when, in seconds of `time.monotonic`.
        raised: what the handler raised.
    """

    signal: str
    time: float
    raised: BaseException | None


class Stopping:
    """The program's side of a stop, which asks and listens, and the signals' side, which tell it.

    Args:
        write_status: writes a status while the run goes on: the process may be about to end.

    Attributes:
        signal: the name of the signal that asked the program to stop, or ends the process.
    """

    def __init__(self, write_status: Callable[[Status], object]) -> None:
        self._write_status = write_status
        self._started = time.monotonic()
        self._announced = False
        self._listens = False
        self._heard = False
        self._interrupted = False
        self._handled: _Handled | None = None
        self._callbacks: list[Callable[[], object]] = []
        self.signal: str | None = None

    # The program's side.

    @property
    def should_stop(self) -> bool:
        """Whether a signal has announced the end; asking takes over the duty to stop."""
        self._listens = True
        self._heard = self._heard or self._announced
        return self._announced

    def on_stop(self, callback: Callable[[], object]) -> None:
        """Calls `callback` when a signal announces the end; takes over the duty to stop."""
        self._callbacks.append(callback)

    # The signals' side.

    def announce_stop(self, signal_name: str) -> bool:
        """Asks the program to stop; returns whether it listens."""
        if not (self._listens or self._callbacks):
            return False
        if self._announced:  # OAR says it again and again
            return True
        self._announced, self.signal = True, signal_name
        for callback in self._callbacks:
            self._heard = True
            callback()
        return True

    def interrupt(self, signal_name: str) -> None:
        """Writes INTERRUPTED: a signal is about to end the process."""
        self._interrupted, self.signal = True, signal_name
        self._write_status(Status.INTERRUPTED)

    def carry_on(self) -> None:
        """Writes RUNNING again: the process went on after the signal."""
        self._interrupted, self.signal = False, None
        self._write_status(Status.RUNNING)

    def note_handled(self, signal_name: str, raised: BaseException | None) -> None:
        """Notes that a handler of the program took a signal, and what it raised."""
        if hasattr(sys, "ps1") and signal_name == "SIGINT":
            return  # at a prompt it ends what was typed, not the program
        self._handled = _Handled(signal_name, time.monotonic(), raised)

    # The run's side.

    def signal_that_ended(self, error: BaseException | None) -> str | None:
        """Returns the name of the signal that made the program end with `error`; None if none did."""
        handled = self._handled
        for link in _chain(error):
            if handled and link is handled.raised:
                return handled.signal
            if isinstance(link, KeyboardInterrupt):
                return "SIGINT"
        if isinstance(error, Exception):
            return None
        if self._interrupted or self._heard:
            return self.signal
        if handled and time.monotonic() - handled.time <= self._soon_s(handled):
            return handled.signal
        return None

    def _soon_s(self, handled: _Handled) -> float:
        return min(max(handled.time - self._started, _SOON_S), _LATE_S)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Lists an exception and those in dealing with which it was raised."""
    seen: set[int] = set()
    while error and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
