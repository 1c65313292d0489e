"""Shows Hydra the config groups of mlxpy; their nodes are loaded when one is chosen."""

import builtins
import copy
import functools
import sys
from typing import ClassVar

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf


class MlxpyConfigSource(ConfigSource):
    """The config groups of mlxpy as a source of configs, ``mlxpy://``."""

    CALLBACKS = "hydra/callbacks"
    LAUNCHERS = "hydra/launcher"
    _configs: ClassVar[dict[str, str]] = {
        "hydra/callbacks/mlxp_logger": "MlxpLoggerNode",
        "hydra/launcher/mlxp_local": "LocalLauncherNode",
        "hydra/launcher/mlxp_oar": "OarLauncherNode",
        "hydra/launcher/mlxp_slurm": "SlurmLauncherNode",
    }
    _groups = ("", "hydra", CALLBACKS, LAUNCHERS)

    @staticmethod
    def scheme() -> str:
        return "mlxpy"

    def available(self) -> bool:
        return self.path == ""

    def is_group(self, config_path: str) -> bool:
        return config_path.rstrip("/") in self._groups

    def is_config(self, config_path: str) -> bool:
        return _without_suffix(config_path) in self._configs

    def load_config(self, config_path: str) -> ConfigResult:
        name = _without_suffix(config_path)
        if name not in self._configs:
            raise ConfigLoadError(f"Config not found : {config_path}")
        if name.startswith(f"{self.LAUNCHERS}/"):
            _warn_without_sweep(name.rpartition("/")[2])
        return ConfigResult(
            provider=self.provider,
            path=self.full_path(),
            config=copy.deepcopy(_node(self._configs[name])),
            header={"package": _package(name)},
        )

    def list(self, config_path: str, results_filter: ObjectType | None) -> builtins.list[str]:
        prefix = f"{config_path.strip('/')}/".lstrip("/")
        if not self.is_group(config_path):
            raise ConfigLoadError(f"Config source group not found : {config_path}")
        found = set()
        for path in (*self._groups, *self._configs):
            name = path[len(prefix) :]
            if not path.startswith(prefix) or not name or "/" in name:
                continue
            kind = ObjectType.CONFIG if path in self._configs else ObjectType.GROUP
            if results_filter in (None, kind):
                found.add(name)
        return sorted(found)


class MlxpySearchPath(SearchPathPlugin):
    """Puts the config groups of mlxpy on Hydra's search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        search_path.append(provider="mlxpy", path=f"{MlxpyConfigSource.scheme()}://")


@functools.cache
def _node(name: str) -> DictConfig:
    # Each job of a sweep loads it twice, and to make one takes three times as long as to copy it.
    from . import _nodes

    node: DictConfig = OmegaConf.structured(getattr(_nodes, name))
    return node


@functools.cache  # once
def _warn_without_sweep(launcher: str) -> None:
    """Tells who names a launcher, but runs a single job, that Hydra will not ask the launcher."""
    words = sys.argv[1:]
    sweeps = {"-m", "--multirun"}.intersection(words) or any("hydra.mode=" in word for word in words)
    asks = [
        word for word in words if word.startswith(("--", "-c", "-i", "-h", "-s")) and "=" not in word
    ]
    is_job = any("forced_log_id" in word for word in words)
    if f"hydra/launcher={launcher}" in words and not (sweeps or asks or is_job):
        print(f"mlxpy: without -m Hydra runs the job here: {launcher} does nothing", file=sys.stderr)


def _without_suffix(config_path: str) -> str:
    suffix = ".yaml"
    return config_path[: -len(suffix)] if config_path.endswith(suffix) else config_path


def _package(name: str) -> str:
    # A key of its own below hydra.callbacks: several callbacks can then be chosen at once.
    group, _, _ = name.rpartition("/")
    return (name if group == MlxpyConfigSource.CALLBACKS else group).replace("/", ".")
