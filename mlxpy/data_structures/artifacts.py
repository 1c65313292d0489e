"""The names of MLXP's module of this name, which import what mlxpy has for them."""

from mlxpy_core import Artifact

__all__ = ["Artifact"]
