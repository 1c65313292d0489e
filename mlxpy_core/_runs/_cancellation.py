"""The note that somebody cancels a run: of jobs that waited some schedulers keep no record."""

from mlxpy_core._io._files import Stamp, stamp_of, write_whole

from ._directory import RunDirectory

_NOTE = "cancelled"


def note_cancelled(directory: RunDirectory) -> None:
    """Notes that somebody cancels a run.

    Raises:
        StorageError: the file system refused.
    """
    write_whole(directory.state / _NOTE, "", directory.logs)


def noted_cancellation(directory: RunDirectory) -> Stamp | None:
    """Returns what each `note_cancelled` changes; None if there was none since the last submission."""
    try:
        return stamp_of(directory.state / _NOTE)
    except OSError:
        return None


def forget_cancellation(directory: RunDirectory) -> None:
    """Removes the note of a run that is submitted again."""
    (directory.state / _NOTE).unlink(missing_ok=True)
