"""The end of a process whose run nobody has ended."""

import atexit
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

_watching: "list[ExitWatch]" = []
_registered_in: int | None = None  # which process; a fork may begin without what was registered


class ExitWatch:
    """Ends a run when the process ends, by what the process ends with.

    Python tells nobody the status that it exits with: an uncaught exception is left in
    ``sys.last_value``, and ``sys.exit`` has to be listened to. ``raise SystemExit(n)`` goes
    unnoticed; a ``with`` block around the run sees it.

    Args:
        end: called once with the exception that ended the process, or None.
        listen: whether to listen to ``sys.exit``; not needed where Hydra runs the task.
    """

    def __init__(self, end: Callable[[BaseException | None], None], *, listen: bool) -> None:
        self._end = end
        self._listen = listen
        self._exit: Callable[..., NoReturn] = sys.exit
        self._asked: SystemExit | None = None

    def start(self) -> None:
        """Begins to watch."""
        global _registered_in
        # Once, and not for each run: atexit frees nothing that is unregistered, before Python 3.14.
        if _registered_in != os.getpid():
            atexit.register(_end_all)
            _registered_in = os.getpid()
        _watching.append(self)
        if self._listen:
            self._exit = sys.exit
            sys.exit = self._note_exit

    def stop(self) -> None:
        """Ends watching: the run has ended."""
        if self in _watching:
            _watching.remove(self)
        if sys.exit == self._note_exit:
            sys.exit = self._exit

    def _note_exit(self, code: Any = None, /) -> NoReturn:
        self._asked = SystemExit(code)
        self._exit(code)

    def at_exit(self) -> None:
        """Ends the run, as the process does."""
        # At a prompt last_value is any earlier mistake, not what ends the process.
        interactive = hasattr(sys, "ps1")
        uncaught = None if interactive else getattr(sys, "last_value", None)
        self._end(uncaught or self._asked)


def _end_all() -> None:
    for watch in reversed(_watching.copy()):
        watch.at_exit()
