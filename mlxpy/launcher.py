"""The names of MLXP's module of this name, which import what mlxpy has for them."""

from hydra.utils import get_object as instantiate

from ._context import Context
from ._launch import launch

__all__ = ["Context", "instantiate", "launch"]
