"""How a command ends that cannot go on: with one sentence, and without a traceback."""

import contextlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from mlxpy_core import MlxpyError, StorageError, end_by_signals, exit_code_of

from ._hydra import is_of_hydra


def stop(message: str) -> NoReturn:
    """Ends the command with an error message."""
    # Hydra turns any other exception of a callback into a warning and goes on.
    sys.stdout.flush()
    raise SystemExit(f"mlxpy: {message}")


@contextmanager
def errors_stop() -> Iterator[None]:
    """Has an error that the user can cause `stop` the command, also within a callback."""
    try:
        yield
    except MlxpyError as error:
        stop(str(error))


@contextmanager
def errors_end_the_program() -> Iterator[None]:
    """Has such an error, or a signal, end a program that submits, each with its exit code."""
    try:
        end_by_signals()
        yield
    except KeyboardInterrupt as interrupt:
        _end("interrupted: nothing was submitted", exit_code_of(interrupt))
    except MlxpyError as error:
        _end(str(error), error.exit_code)


def _end(message: str, exit_code: int) -> NoReturn:
    with contextlib.suppress(OSError):  # the terminal may be gone
        sys.stdout.flush()
        print(f"mlxpy: {message}", file=sys.stderr)
    raise SystemExit(exit_code) from None


def refusal_of_file_system(error: BaseException) -> str | None:
    """Returns the error message where the file system refused what mlxpy or Hydra wanted to write."""
    if isinstance(error, StorageError):
        return str(error)
    cause = error.__cause__ if isinstance(error, ValueError) else error  # logging's own
    if isinstance(cause, OSError) and cause.strerror and is_of_hydra(error):
        return f"Hydra cannot write {cause.filename or 'its output'}: {cause.strerror}"
    return None
