"""The live view in the terminal, by textual."""

from ._app import TopApp
from ._runs import Runs

__all__ = ["Runs", "TopApp"]
