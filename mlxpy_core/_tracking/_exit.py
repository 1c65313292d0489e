"""The end of a process whose run nobody has ended."""

import atexit
import os
import sys
from collections.abc import Callable

from ._system_exit import ExitListener, exit_listener, outermost_frame

_watching: "list[ExitWatch]" = []
_registered_in: int | None = None  # which process; a fork may begin without what was registered


class ExitWatch:
    """Ends a run when the process ends, by what the process ends with.

    Python tells nobody the status that it exits with: an uncaught exception is left in
    ``sys.last_value``, and a SystemExit has to be listened to.

    Args:
        end: called once with the exception that ended the process, or None.
        listen: whether to listen for a SystemExit; not needed where Hydra runs the task.
    """

    def __init__(self, end: Callable[[BaseException | None], None], *, listen: bool) -> None:
        self._end = end
        self._program = outermost_frame()
        self._listener: ExitListener | None = exit_listener(self._note_exit) if listen else None
        self._exit: SystemExit | None = None

    def start(self) -> None:
        """Begins to watch."""
        global _registered_in
        # Once, and not for each run: atexit frees nothing that is unregistered, before Python 3.14.
        if _registered_in != os.getpid():
            atexit.register(_end_all)
            _registered_in = os.getpid()
        _watching.append(self)
        if self._listener:
            self._listener.start()

    def stop(self) -> None:
        """Ends watching: the run has ended."""
        if self not in _watching:
            return
        _watching.remove(self)
        if self._listener:
            self._listener.stop()

    def _note_exit(self, error: SystemExit) -> None:
        self._exit = error.with_traceback(None)

    def at_exit(self) -> None:
        """Ends the run, as the process does."""
        self._end(self._exit or self._uncaught())

    def _uncaught(self) -> BaseException | None:
        # At a prompt last_value is any earlier mistake, not what ends the process.
        error = None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)
        # A debugger and tkinter leave there what they have caught, which came from further in.
        trace = error.__traceback__ if isinstance(error, BaseException) else None
        return error if trace is None or trace.tb_frame is self._program else None


def _end_all() -> None:
    for watch in reversed(_watching.copy()):
        watch.at_exit()
