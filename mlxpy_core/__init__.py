"""The engine of mlxpy: run directories, metadata, the logger and the reader.

It knows nothing of Hydra. The faces, ``hydra_plugins.mlxpy`` and ``mlxpy``, are built on it.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ._artifacts import ArtifactType
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
from ._versioning import Version, VersionManager
from ._yaml import dump_yaml, load_yaml

if TYPE_CHECKING:
    from ._config import plain_config
    from ._hooks import hookimpl
    from ._reading import ConfigList, GroupedConfigList, QueryError, Reader
    from ._scheduling import Scheduler, SubmissionError

__all__ = [
    "ArtifactType",
    "ConfigList",
    "GroupedConfigList",
    "InvalidNameError",
    "Launch",
    "Logger",
    "MlxpyError",
    "QueryError",
    "Reader",
    "Run",
    "RunDirectory",
    "RunEndedError",
    "Scheduler",
    "Status",
    "StorageError",
    "SubmissionError",
    "UnstorableValueError",
    "Version",
    "VersionManager",
    "current_run",
    "dump_yaml",
    "get_logger",
    "hookimpl",
    "is_run_name",
    "load_yaml",
    "plain_config",
    "relative_to_launch",
    "take_run_directory",
]

_LATER = {
    "ConfigList": "_reading",
    "GroupedConfigList": "_reading",
    "QueryError": "_reading",
    "Reader": "_reading",
    "Scheduler": "_scheduling",
    "SubmissionError": "_scheduling",
    "hookimpl": "_hooks",
    "plain_config": "_config",
}


def __getattr__(name: str) -> Any:
    # A program that trains waits neither for pyarrow nor for pluggy, one that reads not for omegaconf.
    if name in _LATER:
        return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
