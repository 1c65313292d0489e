"""What a run's function returned or raised, kept for the process that waits for it."""

import os
import pickle
import traceback
from dataclasses import dataclass
from typing import Any

import cloudpickle

from mlxpy_core._io._files import open_regular, whole_stream

from ._directory import RunDirectory

_FILE = "outcome.pkl"


class RemoteError(Exception):
    """An error as it was printed in the job; the cause of the error that is raised here."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


@dataclass(frozen=True)
class Outcome:
    """How a run's function ended.

    Attributes:
        value: what it returned.
        error: what it raised, or None.
        traceback: the error's, as Python prints it: pickling an error drops it.
    """

    value: Any = None
    error: BaseException | None = None
    traceback: str = ""

    @classmethod
    def of(cls, error: BaseException) -> "Outcome":
        """Returns the outcome of a function that raised."""
        return cls(error=error, traceback="".join(traceback.format_exception(error)))


def keep_outcome(directory: RunDirectory, outcome: Outcome) -> None:
    """Keeps an outcome in the run's directory.

    Raises:
        StorageError: the file system refused.
        Exception: the value or the error cannot be pickled; pickling raises what it likes.
    """
    pickled = cloudpickle.dumps(outcome)
    with whole_stream(directory.state / _FILE, directory.logs) as file:
        file.write(pickled)


def kept_outcome(directory: RunDirectory) -> Outcome | None:
    """Returns the outcome that a run has kept; None if there is none that can be read here.

    Nobody has asked for it by name, so only what this user has kept is unpickled: another's could run
    any code.
    """
    try:
        with os.fdopen(open_regular(directory.state / _FILE, directory.logs), "rb") as file:
            if os.fstat(file.fileno()).st_uid != os.getuid():
                return None
            outcome = pickle.load(file)
    except Exception:  # unpickling runs the code of the user's classes
        return None
    if not isinstance(outcome, Outcome):
        return None
    if outcome.error:
        outcome.error.__cause__ = RemoteError(outcome.traceback)
    return outcome
