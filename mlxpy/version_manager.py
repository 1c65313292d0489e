"""The names of MLXP's module of this name, which import what mlxpy has for them."""

from mlxpy_core import GitVM, VersionManager

__all__ = ["GitVM", "VersionManager"]
