"""A progress bar for what takes longer than a second, on a terminal."""

import sys
import time
from collections.abc import Collection, Iterator
from typing import TypeVar

Item = TypeVar("Item")

_PATIENCE_S = 1.0


def with_progress(items: Collection[Item], description: str) -> Iterator[Item]:
    """Yields the items; after a second, a bar on standard error shows how many are done."""
    start = time.monotonic()
    iterator = iter(items)
    for done, item in enumerate(iterator, start=1):
        yield item
        if time.monotonic() - start > _PATIENCE_S:
            if sys.stderr.isatty():
                yield from _with_bar(iterator, done, len(items), description)
            else:
                yield from iterator


def _with_bar(items: Iterator[Item], done: int, total: int, description: str) -> Iterator[Item]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(description, total=total, completed=done)
        for item in items:
            yield item
            progress.advance(task)
