"""The program's side of pruning: whether a search gives the run up."""

import math
import time
from collections.abc import Callable

_LOOK_S = 0.5


class Pruning:
    """Tells a program whether the search gives its run up; a file is looked for every half a second.

    Args:
        is_requested: looks for the request.

    Attributes:
        heard: whether the program has been told so.
    """

    def __init__(self, is_requested: Callable[[], bool]) -> None:
        self._is_requested = is_requested
        self._looked = -math.inf
        self.heard = False

    @property
    def should_prune(self) -> bool:
        """Whether the run is to end."""
        now = time.monotonic()
        if not self.heard and now - self._looked >= _LOOK_S:
            self._looked = now
            self.heard = self._is_requested()
        return self.heard
