"""The names of MLXP's module of this name, which import what mlxpy has for them."""

from mlxpy_core import MlxpyError, SubmissionError

JobSubmissionError = SubmissionError
InvalidArtifactError = MlxpyError
InvalidConfigFileError = MlxpyError
InvalidKeyError = MlxpyError
InvalidMapError = MlxpyError
InvalidSchedulerError = MlxpyError
InvalidShellPathError = MlxpyError
MissingFieldError = MlxpyError
UnknownSystemError = MlxpyError

__all__ = [
    "InvalidArtifactError",
    "InvalidConfigFileError",
    "InvalidKeyError",
    "InvalidMapError",
    "InvalidSchedulerError",
    "InvalidShellPathError",
    "JobSubmissionError",
    "MissingFieldError",
    "UnknownSystemError",
]
