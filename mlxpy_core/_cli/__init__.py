"""The command ``mlxpy``."""

from ._main import main

__all__ = ["main"]
