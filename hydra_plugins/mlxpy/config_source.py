"""Shows Hydra the config groups of mlxpy; their nodes are loaded when one is chosen."""

import builtins
import contextlib
import copy
import functools
import os
import sys
from importlib import import_module
from types import FrameType
from typing import ClassVar, NoReturn

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf

_SWEEPING = frozenset(("-m", "--multirun"))
_OPTIONS = ("hydra.callbacks.mlxp_", "hydra.launcher.", "hydra.sweeper.")
_NOTHING_STARTED = "mlxpy: interrupted: nothing was started"


class MlxpyConfigSource(ConfigSource):
    """The config groups of mlxpy as a source of configs, ``mlxpy://``."""

    CALLBACKS = "hydra/callbacks"
    LAUNCHERS = "hydra/launcher"
    SWEEPERS = "hydra/sweeper"
    SAMPLERS = "hydra/sweeper/sampler"
    PRUNERS = "hydra/sweeper/pruner"
    _configs: ClassVar[dict[str, str]] = {
        "hydra/callbacks/mlxp_git": "_nodes.MlxpGitNode",
        "hydra/callbacks/mlxp_logger": "_nodes.MlxpLoggerNode",
        "hydra/launcher/mlxp_local": "_nodes.LocalLauncherNode",
        "hydra/launcher/mlxp_oar": "_nodes.OarLauncherNode",
        "hydra/launcher/mlxp_slurm": "_submitit_nodes.SlurmLauncherNode",
        "hydra/launcher/mlxp_submitit": "_submitit_nodes.SubmititLauncherNode",
        "hydra/sweeper/mlxp_optuna": "_sweeper_nodes.OptunaSweeperNode",
        "hydra/sweeper/pruner/asha": "_sweeper_nodes.AshaNode",
        "hydra/sweeper/pruner/hyperband": "_sweeper_nodes.HyperbandNode",
        "hydra/sweeper/pruner/median": "_sweeper_nodes.MedianNode",
        "hydra/sweeper/pruner/none": "_sweeper_nodes.NoPrunerNode",
        "hydra/sweeper/pruner/percentile": "_sweeper_nodes.PercentileNode",
        "hydra/sweeper/sampler/cmaes": "_sweeper_nodes.CmaEsNode",
        "hydra/sweeper/sampler/gp": "_sweeper_nodes.GpNode",
        "hydra/sweeper/sampler/grid": "_sweeper_nodes.GridNode",
        "hydra/sweeper/sampler/motpe": "_sweeper_nodes.TpeNode",
        "hydra/sweeper/sampler/nsgaii": "_sweeper_nodes.NsgaIINode",
        "hydra/sweeper/sampler/nsgaiii": "_sweeper_nodes.NsgaIIINode",
        "hydra/sweeper/sampler/random": "_sweeper_nodes.RandomNode",
        "hydra/sweeper/sampler/sobol": "_sweeper_nodes.SobolNode",
        "hydra/sweeper/sampler/tpe": "_sweeper_nodes.TpeNode",
    }
    # Launchers that have no options of their own. Those of plugins are not listed here.
    _schedulers: ClassVar[dict[str, str]] = {
        "hydra/launcher/mlxp_lsf": "LSFScheduler",
        "hydra/launcher/mlxp_moab": "MoabScheduler",
        "hydra/launcher/mlxp_pbs": "PBSScheduler",
        "hydra/launcher/mlxp_sge": "SGEScheduler",
    }
    # Samplers that hydra-optuna-sweeper has, too.
    _of_both = frozenset(
        f"hydra/sweeper/sampler/{name}" for name in ("cmaes", "grid", "motpe", "nsgaii", "random", "tpe")
    )
    _groups = ("", "hydra", CALLBACKS, LAUNCHERS, SWEEPERS, SAMPLERS, PRUNERS)

    @staticmethod
    def scheme() -> str:
        return "mlxpy"

    def available(self) -> bool:
        return self.path == ""

    def is_group(self, config_path: str) -> bool:
        return config_path.rstrip("/") in self._groups

    def is_config(self, config_path: str) -> bool:
        name = config_path.removesuffix(".yaml")
        if name in self._of_both and _has_other_samplers():
            return False
        return name in self._configs or self._scheduler_of(name) is not None

    def load_config(self, config_path: str) -> ConfigResult:
        name = config_path.removesuffix(".yaml")
        scheduler = self._scheduler_of(name)
        if name not in self._configs and scheduler is None:
            raise ConfigLoadError(f"Config not found : {config_path}")
        group, _, choice = name.rpartition("/")
        if group == self.LAUNCHERS:
            _warn_without_sweep(choice)
        if group == self.LAUNCHERS or choice == "mlxp_logger":
            _end_by_signals()
        config = copy.deepcopy(_node(self._configs.get(name, "_nodes.MlxpLauncherNode")))
        if scheduler is not None:
            config.scheduler = scheduler
        return ConfigResult(
            provider=self.provider,
            path=self.full_path(),
            config=config,
            # A key of its own below hydra.callbacks: several callbacks can then be chosen at once.
            header={"package": (name if group == self.CALLBACKS else group).replace("/", ".")},
        )

    def list(self, config_path: str, results_filter: ObjectType | None) -> builtins.list[str]:
        group = config_path.strip("/")
        if not self.is_group(config_path):
            raise ConfigLoadError(f"Config source group not found : {config_path}")
        configs = {*self._configs, *self._schedulers}
        if group == self.LAUNCHERS:
            configs.update(f"{self.LAUNCHERS}/mlxp_{plugin}" for plugin in _plugin_names())
        found = set()
        for path in (*self._groups, *configs):
            parent, _, name = path.rpartition("/")
            kind = ObjectType.CONFIG if path in configs else ObjectType.GROUP
            if name and parent == group and results_filter in (None, kind):
                found.add(name)
        return sorted(found)

    def _scheduler_of(self, name: str) -> str | None:
        """Returns the scheduler of a launcher that has no options of its own."""
        if name in self._configs or name in self._schedulers:
            return self._schedulers.get(name)
        prefix = f"{self.LAUNCHERS}/mlxp_"
        plugin = name[len(prefix) :]
        return plugin if name.startswith(prefix) and plugin in _plugin_names() else None


class MlxpySearchPath(SearchPathPlugin):
    """Puts the config groups of mlxpy on Hydra's search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        path = f"{MlxpyConfigSource.scheme()}://"
        search_path.append(provider="mlxpy", path=path)
        if any(argument.startswith(_OPTIONS) for argument in sys.argv[1:]):
            from ._unchosen_options import explain_unchosen_options

            explain_unchosen_options(MlxpyConfigSource("mlxpy", path))


@functools.cache
def _plugin_names() -> frozenset[str]:
    # The engine knows them, too, but its import would keep a shell's completion waiting.
    from importlib.metadata import entry_points

    return frozenset(entry_point.name for entry_point in entry_points(group="mlxpy"))


@functools.cache
def _has_other_samplers() -> bool:
    """Returns whether hydra-optuna-sweeper is there, which has Hydra check nodes of these names."""
    from importlib.util import find_spec

    return find_spec("hydra_plugins.hydra_optuna_sweeper") is not None


@functools.cache
def _node(name: str) -> DictConfig:
    # Each job of a sweep loads it twice, and to make one takes three times as long as to copy it.
    module, _, node = name.rpartition(".")
    found: DictConfig = OmegaConf.structured(getattr(import_module(f".{module}", __package__), node))
    return found


@functools.cache  # warns once
def _warn_without_sweep(launcher: str) -> None:
    """Warns who chooses a launcher for a single job that Hydra does not use it."""
    typed = sys.argv[1:]
    sweeps = _SWEEPING.intersection(typed) or any("hydra.mode=" in one for one in typed)
    # Options such as --help and --cfg, with which no job runs.
    only_shows = any(one.startswith(("--", "-c", "-i", "-h", "-s")) and "=" not in one for one in typed)
    is_job = any("forced_log_id" in one for one in typed)
    if f"hydra/launcher={launcher}" in typed and not (sweeps or only_shows or is_job):
        print(f"mlxpy: without -m Hydra runs the job here: {launcher} does nothing", file=sys.stderr)


@functools.cache
def _end_by_signals() -> None:
    """Has Ctrl-C end a sweep without a traceback, from its first moments."""
    # Launcher and callback do it, too, where the config asks for a sweep; a job sees to its own signals.
    if _SWEEPING.intersection(sys.argv[1:]) and "MLXPY_SWEEP_JOB" not in os.environ:
        import signal  # takes a millisecond, of the start of every app

        if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
            signal.signal(signal.SIGINT, _end)  # while the engine is imported
        from mlxpy_core import end_by_signals

        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        if signal.getsignal(signal.SIGINT) == _end:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        end_by_signals(_NOTHING_STARTED)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    with contextlib.suppress(OSError):  # the terminal may be gone
        os.write(2, f"{_NOTHING_STARTED}\n".encode())
    os._exit(128 + number)


if any("hydra/launcher=mlxp_" in argument or "mlxp_logger" in argument for argument in sys.argv[1:]):
    _end_by_signals()
