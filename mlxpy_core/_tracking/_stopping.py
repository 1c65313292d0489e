"""How a run's program is asked to stop, and what it made of that."""

from collections.abc import Callable

from mlxpy_core._runs._status import Status


class Stopping:
    """The program's side of a stop, which asks and listens, and the signals' side, which tell it.

    Args:
        write_status: writes a status while the run goes on: the process may be about to end.

    Attributes:
        signal: the name of the signal that asked the program to stop, or ends the process.
        interrupted: whether a signal is ending the process.
        heard: whether the program knows that it is to stop.
    """

    def __init__(self, write_status: Callable[[Status], object]) -> None:
        self._write_status = write_status
        self._announced = False
        self._listens = False
        self._callbacks: list[Callable[[], object]] = []
        self.signal: str | None = None
        self.interrupted = False
        self.heard = False

    # The program's side.

    @property
    def should_stop(self) -> bool:
        """Whether a signal has announced the end; asking takes over the duty to stop."""
        self._listens = True
        self.heard = self.heard or self._announced
        return self._announced

    def on_stop(self, callback: Callable[[], object]) -> None:
        """Calls `callback` when a signal announces the end; takes over the duty to stop."""
        self._callbacks.append(callback)

    # The signals' side.

    def announce_stop(self, signal_name: str) -> bool:
        """Asks the program to stop; false if it does not listen."""
        if not (self._listens or self._callbacks):
            return False
        if self._announced:  # OAR says it again and again
            return True
        self._announced, self.signal = True, signal_name
        for callback in self._callbacks:
            self.heard = True
            callback()
        return True

    def interrupt(self, signal_name: str) -> None:
        """Writes INTERRUPTED: a signal is about to end the process."""
        self.interrupted, self.signal = True, signal_name
        self._write_status(Status.INTERRUPTED)

    def carry_on(self) -> None:
        """Writes RUNNING again: the process went on after the signal."""
        self.interrupted, self.signal = False, None
        self._write_status(Status.RUNNING)
