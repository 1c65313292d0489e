"""The errors that mlxpy raises; the message alone tells the user what to do."""


class MlxpyError(Exception):
    """Base of all errors that a user of mlxpy can cause.

    The faces (the Hydra callback, ``mlxpy.launch``) print its message without a traceback.

    Attributes:
        exit_code: the exit code of a program that it ends.
    """

    exit_code = 1


class InvalidNameError(MlxpyError, ValueError):
    """A name that cannot be a metrics log, an artifact or a checkpoint of a run."""


class UnstorableValueError(MlxpyError, TypeError):
    """A value that cannot be stored as what it was logged as; nothing of it was written."""


class RunEndedError(MlxpyError):
    """Something was logged to a run that has ended."""


class StorageError(MlxpyError, OSError):
    """The file system refused: no space, no permission, a file too large."""

    def __init__(self, what: str, cause: OSError) -> None:
        super().__init__(what, cause)
        self.errno = cause.errno

    def __str__(self) -> str:
        what, cause = self.args
        return f"{what}: {cause.strerror or cause}"
