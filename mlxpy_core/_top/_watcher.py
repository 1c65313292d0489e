"""The thread that reads and asks, so that the screen answers while a disk or a scheduler does not."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from mlxpy_core._errors import MlxpyError

from ._followed_run import Detail, FollowedRun
from ._live_run import Live
from ._runs import Runs, View

_LOOK_S = 2.0
# A refresh reads all runs that go on, and asks the scheduler: it takes at most this part of a processor.
_REFRESH_S, _SHARE = 4.0, 0.02
_AFTER_ACTION_S = 0.3

Job = Callable[[], Any]


class Watcher:
    """Does what takes time, one thing after the other.

    Args:
        runs: the runs; nobody else uses them from now on.
        show: called, in this thread, with what is to be shown: a `View`, a dict of `Live`, or an error.
    """

    def __init__(
        self, runs: Runs, show: Callable[[View | dict[int, Live] | Detail | BaseException], object]
    ) -> None:
        self._runs = runs
        self._show = show
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._on_screen: list[int] = []
        self._followed: FollowedRun | None = None
        self._next_look = self._next_refresh = 0.0
        # It is not waited for at the end: a scheduler that does not answer would keep the terminal.
        self._thread = threading.Thread(target=self._run, name="mlxpy-top", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends it; what it is about to read or ask is given a moment."""
        self._jobs.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout=0.5)

    def do(self, job: Job) -> None:
        """Has something done in the thread."""
        self._jobs.put(job)

    def follow(self, log_ids: Iterable[int]) -> None:
        """Says which runs are on the screen; only those are followed from second to second."""
        self._on_screen = list(log_ids)
        self.do(self.look)

    def follow_run(self, run: FollowedRun | None) -> None:
        """Says which run has the screen, if one has."""
        self._followed = run

    def refresh_soon(self) -> None:
        """Has the next refresh come at once; called in the thread."""
        self._next_refresh = min(self._next_refresh, time.monotonic() + _AFTER_ACTION_S)

    def show_table(self) -> None:
        """Shows the runs as they are known; called in the thread."""
        self._show(self._runs.view())
        self.look()

    def look(self) -> None:
        """Shows what is new of the runs on the screen; called in the thread."""
        self._next_look = time.monotonic() + _LOOK_S
        if followed := self._followed:
            self._show(followed.look())
        else:
            self._show(self._runs.look(self._on_screen))

    def _refresh(self) -> None:
        begun, used = time.monotonic(), time.thread_time()
        try:
            self._runs.refresh()
            self.show_table()
        finally:
            used = time.thread_time() - used
            self._next_refresh = begun + max(_REFRESH_S, used / _SHARE)

    def _run(self) -> None:
        while True:
            wait = min(self._next_look, self._next_refresh) - time.monotonic()
            job: Job | None = self._due
            with contextlib.suppress(queue.Empty):
                job = self._jobs.get(timeout=max(0.0, wait))
            if job is None:
                return
            try:
                job()
            except MlxpyError as error:  # the directory may come back
                self._show(error)
            except BaseException as error:
                self._show(error)
                return

    def _due(self) -> None:
        if time.monotonic() >= self._next_refresh:
            self._refresh()
        if time.monotonic() >= self._next_look:
            self.look()
