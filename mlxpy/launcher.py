"""The names of MLXP's module of this name, which import what mlxpy has for them."""

from collections.abc import Mapping
from typing import Any

from hydra.utils import get_object as instantiate

from ._context import Context
from ._launch import launch

__all__ = ["Context", "instance_from_dict", "instantiate", "launch"]


def instance_from_dict(class_name: str, arguments: Mapping[str, Any]) -> Any:
    """Calls a class or a function of this name with arguments."""
    return instantiate(class_name)(**arguments)
