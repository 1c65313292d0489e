"""The engine of mlxpy: run directories, metadata, the logger and the reader.

It knows nothing of Hydra. The faces, ``hydra_plugins.mlxpy`` and ``mlxpy``, are built on it.
"""

from typing import TYPE_CHECKING, Any

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
from ._process import rank_of_this_process
from ._run import Run, current_run
from ._yaml import dump_yaml, load_yaml

if TYPE_CHECKING:
    from ._reading import ConfigList, GroupedConfigList, QueryError, Reader

__all__ = [
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
    "Status",
    "StorageError",
    "UnstorableValueError",
    "current_run",
    "dump_yaml",
    "get_logger",
    "is_run_name",
    "load_yaml",
    "plain_config",
    "rank_of_this_process",
    "relative_to_launch",
    "take_run_directory",
]

_OF_THE_READER = frozenset({"ConfigList", "GroupedConfigList", "QueryError", "Reader"})


def __getattr__(name: str) -> Any:
    # A program that trains does not wait for pyarrow.
    if name in _OF_THE_READER:
        from . import _reading

        return getattr(_reading, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
