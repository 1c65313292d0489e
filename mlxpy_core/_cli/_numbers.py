"""Runs that arguments name by number."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlxpy_core._errors import MlxpyError, StorageError
from mlxpy_core._runs._directory import is_run_name
from mlxpy_core._runs._trash import is_in_trash

_SPAN = re.compile(r"([1-9]\d{0,17})(?:-([1-9]\d{0,17}))?")


def named_numbers(logs: Path, arguments: Sequence[str]) -> list[int] | None:
    """Finds the numbers of the runs that arguments name by number, ascending; None if they do not.

    Raises:
        MlxpyError: there is no such directory or no run of a number that is given by itself.
    """
    if not logs.is_dir():
        raise MlxpyError(f"no directory {str(logs)!r}: give --logs DIR, the parent_log_dir of your runs")
    spans = _spans(arguments)
    return (
        None if spans is None else sorted({number for span in spans for number in _numbers(logs, *span)})
    )


def numbers_among(there: Sequence[int], arguments: Sequence[str]) -> list[int] | None:
    """Returns the numbers that arguments name: those of spans that are there, and single ones.

    None if they name none by number.
    """
    spans = _spans(arguments)
    if spans is None:
        return None
    wanted: set[int] = set()
    for first, last in spans:
        wanted.update([first] if last is None else (n for n in there if first <= n <= last))
    return sorted(wanted)


def earlier_numbers(after: Any) -> str:
    """Returns the numbers of the runs that ``info.scheduler.after`` names, as text."""
    return " ".join(name.partition(":")[0] for name in str(after).split())


def _spans(arguments: Sequence[str]) -> list[tuple[int, int | None]] | None:
    """Returns the first and the last number of each span, no last one of a number that stands alone."""
    spans = [_SPAN.fullmatch(part) for argument in arguments for part in argument.split(",")]
    if not arguments or not all(spans):
        return None
    return [(int(span[1]), int(span[2]) if span[2] else None) for span in spans if span]


def _numbers(logs: Path, first: int, last: int | None) -> list[int]:
    if last is None:
        if not (logs / str(first)).is_dir():
            if is_in_trash(logs, first):
                raise MlxpyError(
                    f"run {first} is in the trash: mlxpy rm --restore {first} brings it back"
                )
            raise MlxpyError(f"no run {first} in {str(logs)!r}")
        return [first]
    try:
        names = os.listdir(logs)
    except OSError as error:
        raise StorageError(f"cannot read {logs}", error) from error
    # A span may have gaps, and end far beyond the last run.
    within = (int(name) for name in names if is_run_name(name) and first <= int(name) <= last)
    return [number for number in within if (logs / str(number)).is_dir()]
