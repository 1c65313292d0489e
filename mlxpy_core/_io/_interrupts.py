"""Signals that end a program between two steps: Ctrl-C, SIGTERM, SIGHUP of a closed terminal."""

import atexit
import contextlib
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# Who presses Ctrl-C twice within this time has pressed it once.
_SAME_S = 1.0
# How long a finalizer takes to return, in which a signal was raised in vain.
_FINALIZER_S = 0.05


class Interrupted(SystemExit, KeyboardInterrupt):
    """A signal ends the program: with its exit code and, wherever it comes, without a traceback.

    Who catches KeyboardInterrupt catches it.

    Attributes:
        number: the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.number = number


def exit_code_of(interrupt: KeyboardInterrupt) -> int:
    """Returns the exit code of a program that is ended by a signal."""
    return int(interrupt.code or 0) if isinstance(interrupt, Interrupted) else 128 + signal.SIGINT


def end_by_signals(message: str = "", numbers: Collection[int] = ENDING_SIGNALS) -> None:
    """Has the signals print a message and raise `Interrupted` in the main thread, from now on.

    A second one ends the process on the spot. A signal that is ignored or that the program has a handler
    for is left alone.

    Args:
        message: a line for standard error; empty: who catches the exception prints what is to be said.
        numbers: the signals.
    """
    handler = _Ending(message)
    _install(handler, numbers)
    # What is raised while the interpreter is taken down is printed with its traceback.
    atexit.register(handler.raise_no_more)


def end_by_signals_no_more() -> None:
    """Puts Python's own handlers back."""
    for number in ENDING_SIGNALS:
        if isinstance(signal.getsignal(number), _Handler):
            is_interrupt = number == signal.SIGINT
            signal.signal(number, signal.default_int_handler if is_interrupt else signal.SIG_DFL)


def _install(handler: Callable[[int, FrameType | None], NoReturn], numbers: Collection[int]) -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    for number in numbers:
        earlier = signal.getsignal(number)
        if isinstance(earlier, _Handler) or earlier in (signal.default_int_handler, signal.SIG_DFL):
            signal.signal(number, handler)


class _Handler:
    """A handler of signals that raises `Interrupted`."""

    def __init__(self) -> None:
        self._came = False
        _RaiseAgain.install()

    def forget(self) -> None:
        """Notes that a signal that has come was caught, and the program goes on."""
        self._came = False


class _RaiseAgain:
    """Has a signal come once more that came in a finalizer, where Python drops what is raised.

    Args:
        otherwise: what is called of other exceptions.
    """

    def __init__(self, otherwise: Callable[["sys.UnraisableHookArgs"], Any]) -> None:
        self._otherwise = otherwise

    @classmethod
    def install(cls) -> None:
        if not isinstance(sys.unraisablehook, cls):
            sys.unraisablehook = cls(sys.unraisablehook)

    def __call__(self, unraisable: "sys.UnraisableHookArgs") -> None:
        if not isinstance(unraisable.exc_value, Interrupted):
            self._otherwise(unraisable)
            return
        number = unraisable.exc_value.number
        handler = signal.getsignal(number)
        if isinstance(handler, _Handler):
            handler.forget()
            timer = threading.Timer(_FINALIZER_S, os.kill, (os.getpid(), number))
            timer.daemon = True
            timer.start()


class Interruption(_Handler):
    """Has signals raise `Interrupted` in the main thread while code runs that may catch it.

    Args:
        message: a line for standard error at the program's end, if nobody has caught what was raised.
    """

    def __init__(self, message: str) -> None:
        super().__init__()
        self._message = message
        atexit.register(self._tell)

    def await_signals(self, numbers: Collection[int]) -> None:
        """Takes these signals from now on, but for those that the program has a handler for."""
        _install(self, numbers)

    def __call__(self, number: int, frame: FrameType | None) -> NoReturn:
        """Is the handler of the signals."""
        self._came = True
        raise Interrupted(number)

    def _tell(self) -> None:
        if self._came:
            _print(self._message)


class _Ending(_Handler):
    """The handler that `end_by_signals` installs."""

    def __init__(self, message: str) -> None:
        super().__init__()
        self._message = message
        self._can_raise = True

    def __call__(self, number: int, frame: FrameType | None) -> NoReturn:
        first, self._came = not self._came, True
        message, self._message = self._message, ""
        if message:
            _print(message)
        if first and self._can_raise:
            raise Interrupted(number)
        os._exit(128 + number)

    def raise_no_more(self) -> None:
        """Has it end the process by itself."""
        self._can_raise = False


def _print(message: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone
        # Not by print, which may be what the signal has interrupted.
        os.write(2, f"{message}\n".encode(errors="replace"))


@contextmanager
def signals_held(*, until_second: bool = False, drop: bool = False) -> Iterator[None]:
    """Holds the signals back: a step is done whole or has not begun.

    They come when the block has ended. Other threads than the main one get none.

    Args:
        until_second: whether another one, a second later or more, comes at once: the step may take long.
        drop: whether they do not come at all.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    noted: list[int] = []
    first = math.inf
    earlier = {number: signal.getsignal(number) for number in ENDING_SIGNALS}

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal first
        handler, now = earlier[signal.Signals(number)], time.monotonic()
        if until_second and now - first >= _SAME_S and callable(handler):
            noted.clear()
            handler(number, frame)
        else:
            noted.append(number)
            first = min(first, now)

    # None: not installed from Python, which could not put it back.
    held = [number for number in ENDING_SIGNALS if earlier[number] not in (None, signal.SIG_IGN)]
    try:
        for number in held:
            signal.signal(number, note)
        yield
    finally:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, held)
        for number in held:
            signal.signal(number, earlier[number])
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if not drop:
            for came in dict.fromkeys(noted):
                signal.raise_signal(came)
