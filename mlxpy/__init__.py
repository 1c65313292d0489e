"""mlxpy: numbered, described, logged runs, for Hydra apps and for programs that are none yet."""

from typing import TYPE_CHECKING, Any

import mlxpy_core
from mlxpy_core import Logger, MlxpyError, Run, Version, VersionManager, current_run, get_logger

from ._context import Context
from ._launch import launch

if TYPE_CHECKING:
    from mlxpy_core import (
        ArtifactType,
        ConfigList,
        GroupedConfigList,
        QueryError,
        Reader,
        Scheduler,
        Status,
        SubmissionError,
        hookimpl,
    )

__all__ = [
    "ArtifactType",
    "ConfigList",
    "Context",
    "GroupedConfigList",
    "Logger",
    "MlxpyError",
    "QueryError",
    "Reader",
    "Run",
    "Scheduler",
    "Status",
    "SubmissionError",
    "Version",
    "VersionManager",
    "current_run",
    "get_logger",
    "hookimpl",
    "launch",
]


def __getattr__(name: str) -> Any:
    # Looked up when they are used: a program that trains does not wait for the reader and for pluggy.
    if name in __all__:
        return getattr(mlxpy_core, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
