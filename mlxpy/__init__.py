"""mlxpy: numbered, described, logged runs, for Hydra apps and for programs that are none yet."""

import importlib
from typing import TYPE_CHECKING, Any

import mlxpy_core
from mlxpy_core import (
    InvalidNameError,
    Logger,
    MlxpyError,
    Run,
    RunEndedError,
    StorageError,
    UnstorableValueError,
    Version,
    VersionManager,
    current_run,
    get_logger,
)

if TYPE_CHECKING:
    from mlxpy_core import (
        ArtifactType,
        ConfigList,
        GitVM,
        GroupedConfigList,
        JobOutlook,
        QueryError,
        QueuedJob,
        Reader,
        Scheduler,
        Status,
        SubmissionError,
        hookimpl,
    )

    from ._config_dict import ConfigDict
    from ._context import Context
    from ._launch import launch

    DataFrame = ConfigList

__all__ = [
    "ArtifactType",
    "ConfigDict",
    "ConfigList",
    "Context",
    "DataFrame",
    "DefaultLogger",
    "GitVM",
    "GroupedConfigList",
    "InvalidNameError",
    "JobOutlook",
    "Logger",
    "MlxpyError",
    "QueryError",
    "QueuedJob",
    "Reader",
    "Run",
    "RunEndedError",
    "Scheduler",
    "Status",
    "StorageError",
    "SubmissionError",
    "UnstorableValueError",
    "Version",
    "VersionManager",
    "current_run",
    "get_logger",
    "hookimpl",
    "launch",
]

__version__: str

# The names that MLXP has for them.
DefaultLogger = Logger
_NAMES_OF_MLXP = {"DataFrame": "ConfigList"}

_OF_THIS_PACKAGE = {"ConfigDict": "_config_dict", "Context": "_context", "launch": "_launch"}


def __getattr__(name: str) -> Any:
    # Looked up when they are used: a program that trains does not wait for the reader and for pluggy,
    # and one without Hydra not for Hydra.
    if name in _OF_THIS_PACKAGE:
        return getattr(importlib.import_module(f".{_OF_THIS_PACKAGE[name]}", __name__), name)
    if name in __all__:
        return getattr(mlxpy_core, _NAMES_OF_MLXP.get(name, name))
    if name == "__version__":
        from importlib.metadata import version  # takes as long as half of this package

        return version("mlxpy")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
