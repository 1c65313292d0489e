"""The copy of its code that this process runs from."""

import os
from pathlib import Path

from mlxpy_core._versioning._startup.sitecustomize import VARIABLE, SafeCopy, hint

STARTUP = str(Path(__file__).parent / "_startup")
"""What stands on the PYTHONPATH of a program that runs from a copy."""


def current_copy() -> SafeCopy | None:
    """Returns the copy that this process is to run from; None if there is none."""
    text = os.environ.get(VARIABLE)
    try:
        return SafeCopy.read(text) if text else None
    except ValueError:  # which was reported at this interpreter's start
        return None


def runs_from_copy(main_file: str | None) -> bool:
    """Returns whether a program is in the copy that this process is to run from."""
    safe_copy = current_copy()
    return bool(safe_copy and main_file and Path(main_file).is_relative_to(safe_copy.copy))


def original_place(path: str, safe_copy: SafeCopy | None = None) -> str:
    """Returns the place in the development tree of a path in a copy, by default in this process's.

    Any other path is returned as it is.
    """
    safe_copy = safe_copy or current_copy()
    if safe_copy and Path(path).is_relative_to(safe_copy.copy):
        return os.path.normpath(
            os.path.join(safe_copy.repository, os.path.relpath(path, safe_copy.copy))
        )
    return path


def missing_in_copy(error: BaseException) -> str | None:
    """Returns a hint if what an error, or its cause, did not find is in the development tree only."""
    safe_copy = current_copy()
    looked_at: BaseException | None = error
    while safe_copy and looked_at:
        if sentence := hint(looked_at, safe_copy):
            return sentence
        looked_at = looked_at.__cause__ or looked_at.__context__
    return None


def job_environment() -> dict[str, str]:
    """Returns the variables that have a job run from the copy that this process runs from."""
    if VARIABLE not in os.environ:
        return {}
    return {VARIABLE: os.environ[VARIABLE], "PYTHONPATH": STARTUP}
