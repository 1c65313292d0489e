"""Runs that failed: how, and the end of what they printed."""

import contextlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlxpy_core._io._files import open_regular
from mlxpy_core._reading import ConfigList
from mlxpy_core._reading._rows import missing_as_none
from mlxpy_core._runs._status import Status

from ._texts import clean

_FAILURES = (Status.FAILED.value, Status.KILLED.value)

_MOST = 100  # runs
_TAIL = 2**14  # bytes
_LINES = 40
_COLOURS = re.compile(r"\x1b\[[0-9;:]{0,40}m")
_TRACEBACK = "info.exception.traceback"
_EXCEPTION = ("info.exception.type", "info.exception.message")


def failed_runs(found: ConfigList, directories: Sequence[Path]) -> dict[str, Any]:
    """Returns the failed runs, the newest first, with exceptions and the ends of their logs.

    Returns:
        ``runs``: `run` (a place in `found`), `exception`, `log` (a file's name) and `tail`; ``count``:
        how many failed.
    """
    places = [place for place, status in enumerate(found["info.status"]) if status in _FAILURES]
    newest = places[: -_MOST - 1 : -1]
    rows = found._rows.take(newest)
    traceback, *summary = (
        missing_as_none(rows.column(field)) if field in rows.fields else [None] * len(newest)
        for field in (_TRACEBACK, *_EXCEPTION)
    )
    shown = []
    for index, place in enumerate(newest):
        said = traceback[index] or ": ".join(str(column[index]) for column in summary if column[index])
        name, tail = _end_of_log(directories[place])
        shown.append(
            {
                "run": place,
                "exception": clean(_last_lines(str(said)), most=_TAIL),
                "log": clean(name),
                "tail": clean(tail, most=_TAIL),
            }
        )
    return {"runs": shown, "count": len(places)}


def _end_of_log(directory: Path) -> tuple[str, str]:
    """Returns the name and the last lines of the first log that says anything."""
    own = sorted(path.name for path in directory.glob("*.log"))  # Hydra's
    for name in ("log.stderr", "log.stdout", *own):
        with contextlib.suppress(OSError):
            with os.fdopen(open_regular(directory / name, directory.parent), "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
                text = file.read(_TAIL).decode(errors="backslashreplace")
            if text.strip():
                return name, _last_lines(_COLOURS.sub("", text))
    return "", ""


def _last_lines(text: str) -> str:
    # What a progress bar wrote over is not seen in a terminal, either.
    lines = [line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.rstrip().split("\n")]
    return "\n".join(lines[-_LINES:])
