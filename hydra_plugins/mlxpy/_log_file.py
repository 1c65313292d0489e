"""Hydra's log file in a run's directory, where the file system refuses to take a line."""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path


def report_refusals(directory: Path) -> None:
    """Has the handlers that log to files of a directory say in one sentence what they cannot write.

    Python's own way is a traceback for each line that the program logs.
    """
    for handler in _handlers():
        if isinstance(handler, logging.FileHandler) and directory in Path(handler.baseFilename).parents:
            # As the documentation of logging has it, to be overridden; mypy refuses that of one object.
            handler.handleError = _Refusals(handler)  # type: ignore[method-assign]


def _handlers() -> Iterator[logging.Handler]:
    root = logging.getLogger()
    others = [one for one in root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    for logger in (root, *others):
        yield from logger.handlers


class _Refusals:
    """Takes the place of a handler's `handleError`."""

    def __init__(self, handler: logging.FileHandler) -> None:
        self._file = handler.baseFilename
        self._otherwise = handler.handleError
        self._told = False

    def __call__(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            self._otherwise(record)  # a fault of the program
        elif not self._told:
            self._told = True
            print(
                f"mlxpy: cannot write {self._file}: {error.strerror}; the program goes on, what it logs "
                "there may be lost",
                file=sys.stderr,
            )
