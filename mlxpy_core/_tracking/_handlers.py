"""A handler that stands before the program's own, which the program does not notice."""

import functools
import operator
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], Any]
Disposition = Handler | int | None


class ProgramHandlers:
    """The handlers that the program has for some signals, as it would have them by itself.

    Another one is installed before each of them. `signal.signal` and `signal.getsignal` set and return
    the program's, though, whichever way they were imported: both ask the module ``_signal``, whose
    functions are replaced until `remove`. A signal that the program ignores is really ignored.

    Args:
        numbers: the signals.
        before: is called in place of the program's handler.
        before_interrupt: is called before Python's own handler of SIGINT raises KeyboardInterrupt.
    """

    def __init__(
        self, numbers: Iterable[int], before: Handler, before_interrupt: Callable[[int, None], object]
    ) -> None:
        self._numbers = tuple(numbers)
        self._before = before
        # Calls one after the other from C: the traceback of KeyboardInterrupt has no frame of ours.
        self._interrupt: Handler = functools.partial(
            min,
            before_interrupt,
            signal.default_int_handler,
            key=operator.methodcaller("__call__", signal.SIGINT, None),
        )
        self._handlers: dict[int, Disposition] = {}
        self._module: Any = sys.modules["_signal"]
        self._set: Callable[[Any, Any], Any] = self._module.signal
        self._get: Callable[[Any], Any] = self._module.getsignal

    def install(self) -> None:
        """Takes the place of the handlers; only the main thread can."""
        if not _in_main_thread():
            return
        self._set, self._get = self._module.signal, self._module.getsignal
        for number in self._numbers:
            handler = self._get(number)
            if handler is None:  # not installed from Python, which cannot call it
                continue
            self._handlers[number] = handler
            self._set(number, self._in_place_of(handler))
        self._module.signal, self._module.getsignal = self._set_programs, self._get_programs

    def remove(self) -> None:
        """Puts the program's handlers in place; only the main thread can."""
        if not _in_main_thread():
            return
        handlers, self._handlers = self._handlers, {}
        for number, handler in handlers.items():
            if self._get(number) == self._in_place_of(handler):
                self._set(number, handler)
        if self._module.signal == self._set_programs:
            self._module.signal, self._module.getsignal = self._set, self._get

    def act(self, number: int, frame: FrameType | None) -> None:
        """Does with a signal what the program would have done with it."""
        handler = self.of(number)
        if callable(handler):
            handler(number, frame)
        elif handler == signal.SIG_DFL:
            self._set(number, int(signal.SIG_DFL))  # the enumeration is that of ``signal``
            signal.raise_signal(number)

    def of(self, number: int) -> Disposition:
        """Returns the program's handler of a signal."""
        return self._handlers.get(number, signal.SIG_DFL)

    def _in_place_of(self, handler: Any) -> Any:
        if handler is signal.default_int_handler:
            return self._interrupt
        return self._before if callable(handler) or handler == signal.SIG_DFL else handler

    def _set_programs(self, number: Any, handler: Any, /) -> Any:
        if number not in self._handlers:
            return self._set(number, handler)
        self._set(number, self._in_place_of(handler))  # refuses what is no handler
        earlier, self._handlers[number] = self._handlers[number], handler
        return earlier

    def _get_programs(self, number: Any, /) -> Any:
        return self._handlers[number] if number in self._handlers else self._get(number)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
