"""The end of a process whose run nobody has ended."""

import atexit
import sys
from collections.abc import Callable
from typing import Any, NoReturn


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
        atexit.register(self._at_exit)
        if self._listen:
            self._exit = sys.exit
            sys.exit = self._note_exit

    def stop(self) -> None:
        """Ends watching: the run has ended."""
        atexit.unregister(self._at_exit)
        if sys.exit == self._note_exit:
            sys.exit = self._exit

    def _note_exit(self, code: Any = None, /) -> NoReturn:
        self._asked = SystemExit(code)
        self._exit(code)

    def _at_exit(self) -> None:
        # At a prompt last_value is any earlier mistake, not what ends the process.
        interactive = hasattr(sys, "ps1")
        uncaught = None if interactive else getattr(sys, "last_value", None)
        self._end(uncaught or self._asked)
