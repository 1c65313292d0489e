"""mlxpy: numbered, described, logged runs, for Hydra apps and for programs that are none yet."""

from mlxpy_core import Logger, MlxpyError, Run, current_run, get_logger

from ._context import Context
from ._launch import launch

__all__ = ["Context", "Logger", "MlxpyError", "Run", "current_run", "get_logger", "launch"]
