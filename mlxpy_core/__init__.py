"""The engine of mlxpy: run directories, metadata, and the logger.

It knows nothing of Hydra. The faces, ``hydra_plugins.mlxpy`` and ``mlxpy``, are built on it.
"""

from ._config import plain_config
from ._directories import RunDirectory, is_run_name, take_run_directory
from ._errors import (
    InvalidNameError,
    MlxpyError,
    RunEndedError,
    StorageError,
    UnstorableValueError,
)
from ._info import Launch, Status, relative_to_launch
from ._logger import Logger, get_logger
from ._run import Run, current_run
from ._yaml import dump_yaml, load_yaml

__all__ = [
    "InvalidNameError",
    "Launch",
    "Logger",
    "MlxpyError",
    "Run",
    "RunDirectory",
    "RunEndedError",
    "Status",
    "StorageError",
    "UnstorableValueError",
    "current_run",
    "dump_yaml",
    "get_logger",
    "is_run_name",
    "load_yaml",
    "plain_config",
    "relative_to_launch",
    "take_run_directory",
]
