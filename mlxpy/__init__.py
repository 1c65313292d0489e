"""mlxpy: numbered, described, logged runs, for Hydra apps and for programs that are none yet."""

from typing import TYPE_CHECKING, Any

import mlxpy_core
from mlxpy_core import Logger, MlxpyError, Run, current_run, get_logger

from ._context import Context
from ._launch import launch

if TYPE_CHECKING:
    from mlxpy_core import ConfigList, GroupedConfigList, QueryError, Reader

__all__ = [
    "ConfigList",
    "Context",
    "GroupedConfigList",
    "Logger",
    "MlxpyError",
    "QueryError",
    "Reader",
    "Run",
    "current_run",
    "get_logger",
    "launch",
]


def __getattr__(name: str) -> Any:
    # The reader's names are looked up when they are used: a program that trains does not wait for them.
    if name in __all__:
        return getattr(mlxpy_core, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
