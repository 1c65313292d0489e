"""Where a run writes that makes another one again: never where something is already.

An app's config or command may name a place outside of the run's directory. The program would overwrite
there what the run before it has left.
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from mlxpy_core._errors import MlxpyError, StorageError
from mlxpy_core._io._files import write_whole

from ._attempt import Attempt

# How long other ranks wait for rank 0 to decide.
_DECISION_S = 60


def writes_to_own_directory(attempt: Attempt, written: str, resolve: Callable[[], str]) -> bool:
    """Returns whether a run is to write to its own directory instead of the place that it was given.

    That is decided, and noted, when a rerun first starts: later attempts go on where it wrote. A place
    that is not there is made, so that of several reruns one gets it.

    Args:
        attempt: the attempt at the run.
        written: the place as the user wrote it, which is the same for all attempts.
        resolve: returns its path.

    Raises:
        MlxpyError: rank 0 does not decide.
        StorageError: the place cannot be made.
    """
    note = attempt.directory.state / "not_written_to"
    if attempt.rerun_of and not note.exists():
        if attempt.rank:
            _wait_for(note, attempt)
        else:
            place = os.path.abspath(resolve())
            taken = place == str(attempt.directory.path) or _make(place)
            write_whole(note, "" if taken else written, attempt.directory.logs)
            if not taken:
                _tell(attempt, place)
    try:
        return note.read_text(encoding="utf-8") == written
    except FileNotFoundError:
        return False  # no rerun


def _make(place: str) -> bool:
    """Makes a directory; returns whether it was not there before."""
    try:
        os.makedirs(os.path.dirname(place), exist_ok=True)
        os.mkdir(place)
    except FileExistsError:
        return False
    except OSError as error:
        raise StorageError(f"cannot make the output directory {place}", error) from error
    return True


def _tell(attempt: Attempt, place: str) -> None:
    new, old = attempt.directory, os.path.basename(str(attempt.rerun_of))
    print(
        f"mlxpy: {place} is there already: run {new.log_id}, which makes run {old} again, "
        f"writes to {new.path}",
        file=sys.stderr,
        flush=True,
    )


def _wait_for(note: Path, attempt: Attempt) -> None:
    end = time.monotonic() + _DECISION_S
    while not note.exists():
        if time.monotonic() > end:
            run = f"run {attempt.directory.log_id}"
            raise MlxpyError(
                f"rank 0 has not decided within {_DECISION_S} s where {run} writes: "
                "look at what it printed"
            )
        time.sleep(0.05)
