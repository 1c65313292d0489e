"""What a signal that ends the process does to the run."""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
# What a scheduler announces the end of a job with, if it is told to (sbatch --signal, OAR --signal).
WARNING_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)


class Stoppable(Protocol):
    """What the signals act on: a run."""

    def announce_stop(self, signal_name: str) -> bool:
        """Tells the program that it is to stop; false if it does not listen."""

    def interrupt(self, signal_name: str) -> None:
        """Writes the last word before the process goes."""

    def carry_on(self) -> None:
        """Takes the last word back: the process goes on after all."""


class SignalWatch:
    """Stands between the signals that end a process and whatever handled them before.

    A program that listens for the stop is told and left to end by itself; for any other the run's
    last word is written. Then the earlier handler acts as if this one were not there. A signal that
    was ignored stays ignored, and outside the main thread nothing is watched.

    Args:
        run: what the signals act on.
        in_job: whether this is a scheduler's job, whose warning signals count as well, where nobody
            else handles them.
    """

    def __init__(self, run: Stoppable, *, in_job: bool = False) -> None:
        self._run = run
        self._in_job = in_job
        self._process_id = os.getpid()
        self._previous: dict[int, Callable[[int, FrameType | None], Any] | int] = {}
        self._mask: set[int | signal.Signals] = set()

    def start(self) -> None:
        """Takes the place of the handlers."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in STOP_SIGNALS:
            previous = signal.getsignal(number)
            # None: a handler that was not installed from Python cannot be called from it.
            if previous not in (None, signal.SIG_IGN):
                self._previous[number] = previous
                signal.signal(number, self._handle)
        for number in WARNING_SIGNALS if self._in_job else ():
            if signal.getsignal(number) == signal.SIG_DFL:
                self._previous[number] = signal.SIG_DFL
                signal.signal(number, self._handle)

    def stop(self) -> None:
        """Gives the place back, unless the program has put a handler of its own there."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number, previous in self._previous.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, previous)
        self._previous = {}

    # A fork of the program (a data loader's worker, say) is no run: it has the earlier handlers from
    # its first moment. Signals wait meanwhile, because Python drops those that meet it half-forked.

    def before_fork(self) -> None:
        """Has signals wait."""
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, {*STOP_SIGNALS, *WARNING_SIGNALS})

    def after_fork_in_parent(self) -> None:
        """Lets them come."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def after_fork_in_child(self) -> None:
        """Lets them come, to the handlers that were there before."""
        self.stop()
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        previous = self._previous.get(number, signal.SIG_DFL)
        if os.getpid() != self._process_id:  # forked behind Python's back
            _act(previous, number, frame)
            return
        name = signal.Signals(number).name
        if self._run.announce_stop(name):
            if callable(previous):
                previous(number, frame)
            return
        self._run.interrupt(name)
        _act(previous, number, frame)
        self._run.carry_on()


def _act(
    handler: Callable[[int, FrameType | None], Any] | int, number: int, frame: FrameType | None
) -> None:
    if callable(handler):
        handler(number, frame)
    else:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
