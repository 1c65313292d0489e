"""The sweeper ``mlxp_optuna`` as Hydra finds it; what it does is loaded when it is used."""

from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class MlxpOptunaSweeper(Sweeper):
    """Searches for the best parameters by optuna, and keeps the queue full meanwhile.

    The options are those of `_sweeper_nodes.OptunaSweeperNode`.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Makes the launcher."""
        from ._searching._start import prepare_search

        self._search = prepare_search(hydra_context, task_function, config, self._options)

    def sweep(self, arguments: list[str]) -> None:
        """Searches the space that the command and the option ``params`` give."""
        self._search(arguments)
