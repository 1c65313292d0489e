"""What a network file system refuses for a moment only is tried again, for a bounded time."""

import errno
import sys
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

MOMENT_S = 3.0
"""For how long what somebody waits for is tried again."""

OUTAGE_S = 60.0
"""For how long what would be lost otherwise is tried again: a server is started again meanwhile."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.01, 0.5
# Another host has replaced a file; the server or the mount is away. EIO is what a broken disk says for
# ever, but a soft mount of NFS as long as its server is away.
_NAMES = """EBADFD ECONNABORTED ECONNREFUSED ECONNRESET EHOSTDOWN EHOSTUNREACH EIO ENETDOWN ENETUNREACH
    ENOTCONN ESHUTDOWN ESTALE ETIMEDOUT"""
_PASSING = frozenset(getattr(errno, name, None) for name in _NAMES.split()) - {None}


def can_pass(error: BaseException) -> bool:
    """Returns whether what was refused may be granted in a moment."""
    return isinstance(error, OSError) and error.errno in _PASSING


class Retries:
    """Calls functions, and again those whose refusal can pass, for a bounded time in all.

    Args:
        seconds: how long the refusals of all calls together may be waited for.
        passing: tells which errors can pass.
        announce: whether to report on standard error that something is tried again.
    """

    def __init__(
        self,
        seconds: float = MOMENT_S,
        *,
        passing: Callable[[BaseException], bool] = can_pass,
        announce: bool = False,
    ) -> None:
        self._left_s = seconds
        self._passing = passing
        self._announce = announce

    def __call__(self, action: Callable[[], T]) -> T:
        """Returns what `action` returns.

        Raises:
            Exception: what `action` raised, if that cannot pass or has not passed.
        """
        pause = _FIRST_PAUSE_S
        while True:
            started = time.monotonic()
            try:
                return action()
            except Exception as error:
                if self._left_s <= 0 or not self._passing(error):
                    raise
                if self._announce:
                    print(f"mlxpy: {error}: trying again for {self._left_s:.0f} s", file=sys.stderr)
                    self._announce = False
            time.sleep(min(pause, self._left_s))
            self._left_s -= time.monotonic() - started
            pause = min(2 * pause, _LONGEST_PAUSE_S)
