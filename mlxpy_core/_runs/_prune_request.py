"""The request to give a run up, a file that the search writes and the run's logger looks for."""

import os

from mlxpy_core._io._files import write_whole

from ._directory import RunDirectory

_FILE = "prune"


def request_pruning(directory: RunDirectory) -> None:
    """Asks a run's program to end, as soon as it asks.

    Raises:
        StorageError: the file system refused.
    """
    write_whole(directory.state / _FILE, "", directory.logs)


def is_pruning_requested(directory: RunDirectory) -> bool:
    """Returns whether a run's program was asked to end."""
    return os.path.lexists(directory.state / _FILE)
