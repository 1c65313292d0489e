"""Which SystemExit ends the process: Python itself tells nobody."""

import ctypes
import gc
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, NoReturn


def outermost_frame() -> FrameType:
    """Returns the frame that this thread's program began with."""
    frame = sys._getframe()
    while frame.f_back:
        frame = frame.f_back
    return frame


class UnwindListener:
    """Sees by `sys.monitoring` what leaves the outermost frame."""

    def __init__(self, note: Callable[[SystemExit], None]) -> None:
        self._note = note
        self._program = outermost_frame().f_code
        self._monitoring: Any = getattr(sys, "monitoring", None)
        self._tool: int | None = None

    def start(self) -> None:
        """Begins to listen, if a place for one more tool is free."""
        monitoring = self._monitoring
        free = [number for number in (4, 3) if monitoring.get_tool(number) is None]
        if not free:
            return
        self._tool = free[0]
        unwind = monitoring.events.PY_UNWIND
        monitoring.use_tool_id(self._tool, "mlxpy")
        monitoring.register_callback(self._tool, unwind, self._see)
        monitoring.set_events(self._tool, unwind)

    def stop(self) -> None:
        """Ends listening."""
        if self._tool is None:
            return
        self._monitoring.set_events(self._tool, 0)
        self._monitoring.register_callback(self._tool, self._monitoring.events.PY_UNWIND, None)
        self._monitoring.free_tool_id(self._tool)
        self._tool = None

    def _see(self, code: CodeType, _offset: int, error: BaseException) -> None:
        if code is self._program and isinstance(error, SystemExit):
            self._note(error)


class CodeListener:
    """Sees the interpreter read the code of a SystemExit that has left all frames.

    Older versions have no other place to see it. The attribute ``SystemExit.code`` is replaced by one
    that behaves the same; only the interpreter reads it while no Python function runs. `sys.exit`
    itself raises no exception object but a mere code, so that a function that does stands in for it,
    under whichever name a module has it.
    """

    def __init__(self, note: Callable[[SystemExit], None]) -> None:
        self._note = note
        self._attributes: dict[str, Any] = gc.get_referents(SystemExit.__dict__)[0]
        self._original: Any = None
        self._exit = sys.exit
        self._aliases: list[tuple[dict[str, Any], str]] = []

    def start(self) -> None:
        """Begins to listen."""
        self._exit = sys.exit
        for module in sys.modules.copy().values():
            names = getattr(module, "__dict__", {})
            self._aliases += [(names, name) for name, one in names.copy().items() if one is self._exit]
        for names, name in self._aliases:
            names[name] = self._exit_by_object
        self._original = self._attributes["code"]
        self._replace(self)

    def stop(self) -> None:
        """Ends listening."""
        for names, name in self._aliases:
            if names.get(name) == self._exit_by_object:
                names[name] = self._exit
        if self._attributes["code"] is self:
            self._replace(self._original)

    def __get__(self, error: SystemExit | None, owner: type | None = None) -> Any:
        if isinstance(error, SystemExit) and sys._getframe().f_back is None:
            self._note(error)
        return self._original.__get__(error, owner)

    def __set__(self, error: SystemExit, code: Any) -> None:
        self._original.__set__(error, code)

    def __delete__(self, error: SystemExit) -> None:
        self._original.__delete__(error)

    def _exit_by_object(self, code: Any = None, /) -> NoReturn:
        try:
            self._exit(code)
        finally:  # makes the object
            pass

    def _replace(self, attribute: Any) -> None:
        self._attributes["code"] = attribute
        ctypes.pythonapi.PyType_Modified(ctypes.py_object(SystemExit))  # it may be cached


ExitListener = UnwindListener | CodeListener


def exit_listener(note: Callable[[SystemExit], None]) -> ExitListener:
    """Makes the listener that this version of Python allows.

    Args:
        note: is called with a SystemExit that nobody has caught.
    """
    if sys.version_info >= (3, 12):
        return UnwindListener(note)
    return CodeListener(note)
