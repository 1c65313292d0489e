"""What a signal that asks the program to end does to the run."""

import os
import signal
from types import FrameType

from ._handlers import ProgramHandlers
from ._stopping import Stopping

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What a scheduler announces the end of a job with, if it is told to (sbatch --signal, OAR --signal).
WARNING_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)


class SignalWatch:
    """Stands between the signals that end a process and the program's handlers.

    A program that listens for the stop is told and left to end by itself. For any other the run's
    status is written, since its handler, or the signal, may end the process on the spot. Then the
    program's handler acts as if this one were not there; it is noted if it returns or raises. A signal
    that is ignored stays ignored, and outside the main thread nothing is watched.

    Args:
        stopping: what the signals act on: how the run is asked to stop.
        in_job: whether this is a scheduler's job, whose warning signals count as well.
    """

    def __init__(self, stopping: Stopping, *, in_job: bool = False) -> None:
        self._stopping = stopping
        self._process_id = os.getpid()
        numbers = (*STOP_SIGNALS, *(WARNING_SIGNALS if in_job else ()))
        self._program = ProgramHandlers(numbers, self._handle, self._note_interrupt)
        self._mask: set[int | signal.Signals] = set()

    def start(self) -> None:
        """Takes the place of the handlers."""
        self._program.install()

    def stop(self) -> None:
        """Returns the place back."""
        self._program.remove()

    # A fork of the program (a data loader's worker, say) is no run: it has the program's handlers from
    # its first moment. Signals wait meanwhile, because Python drops those that meet it half-forked.

    def before_fork(self) -> None:
        """Has signals wait."""
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, {*STOP_SIGNALS, *WARNING_SIGNALS})

    def after_fork_in_parent(self) -> None:
        """Lets them come."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def after_fork_in_child(self) -> None:
        """Lets them come, to the program's handlers."""
        self.stop()
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process_id:  # forked behind Python's back
            self._program.act(number, frame)
            return
        name = signal.Signals(number).name
        handler = self._program.of(number)
        if number != signal.SIGINT and self._stopping.announce_stop(name):
            if callable(handler):
                self._call_handler(number, frame)
        else:
            self._stopping.interrupt(name)
            try:
                self._call_handler(number, frame)
            finally:
                self._stopping.carry_on()

    def _note_interrupt(self, _number: int, _frame: None) -> None:
        self._stopping.note_handled("SIGINT", None)

    def _call_handler(self, number: int, frame: FrameType | None) -> None:
        raised: BaseException | None = None
        try:
            self._program.act(number, frame)
        except BaseException as error:
            raised = error
            raise
        finally:
            self._stopping.note_handled(signal.Signals(number).name, raised)
