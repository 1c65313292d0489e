"""The names of MLXP's module of this name, which import what mlxpy has for them."""

from mlxpy_core import Logger

DefaultLogger = Logger

__all__ = ["DefaultLogger", "Logger"]
