"""Has a sweep in one process compose each job's config once.

Hydra's basic sweeper composes the config of every job to validate it and throws it away; its basic
launcher composes the same config again. Composing is nearly all that a short job costs.
"""

import os
import pickle
from collections.abc import Hashable
from contextlib import suppress
from typing import Any

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf

_VALIDATES = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
_COMPOSE_HERE = (
    "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
    "hydra_plugins.mlxpy.launcher.MlxpLauncher",
)


def compose_once(loader: ConfigLoader, config: DictConfig) -> None:
    """Has the loader keep what it composes, if the sweep of this config asks for it twice."""
    if isinstance(getattr(loader.load_sweep_config, "__self__", None), ComposedConfigs):
        return  # by the callback already
    if config.hydra.sweeper._target_ == _VALIDATES and config.hydra.launcher._target_ in _COMPOSE_HERE:
        # In this very loader: the sweeper and the launcher hold it already, and Hydra 1.4 asks its type.
        loader.load_sweep_config = ComposedConfigs(loader).load_sweep_config  # type: ignore[method-assign]


class ComposedConfigs:
    """Keeps each job's config from the first request to the second, then forgets it."""

    def __init__(self, loader: ConfigLoader) -> None:
        self._compose = loader.load_sweep_config
        self._kept: dict[Hashable, bytes] = {}

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Gives what Hydra's loader of the same name gives."""
        # All that composing reads but the config files and Python's state.
        key = (
            master_config.hydra.job.config_name,
            str(OmegaConf.to_container(master_config.hydra.overrides.hydra)),  # not resolved
            tuple(sweep_overrides),
            os.getcwd(),
            frozenset(os.environ.items()),
        )
        kept = self._kept.pop(key, None)
        if kept is None:
            config = self._compose(master_config=master_config, sweep_overrides=sweep_overrides)
            self._keep(key, config)
        else:
            config = pickle.loads(kept)
            OmegaConf.copy_cache(from_config=master_config, to_config=config)
        return config

    def _keep(self, key: Hashable, config: Any) -> None:
        # Pickled it takes a tenth of the memory; what cannot be pickled is composed again.
        with suppress(Exception):
            self._kept[key] = pickle.dumps(config, pickle.HIGHEST_PROTOCOL)
