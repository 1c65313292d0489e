"""`launch`: runs a function by Hydra, with mlxpy's callback, from nothing but a decorator."""

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import hydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hydra_plugins.mlxpy._callback import find_logger_class
from hydra_plugins.mlxpy._hydra import MAIN_OPTIONS, config_groups
from hydra_plugins.mlxpy._nodes import MlxpGitNode, MlxpLoggerNode
from hydra_plugins.mlxpy._override_values import as_override_value
from mlxpy_core import (
    SWEEP_JOB_VARIABLE,
    MlxpyError,
    current_run,
    end_by_signals,
    find_version_manager,
    fix_changing_values,
    get_logger,
)

from ._command_line import parse_command_line
from ._config_dict import ConfigDict
from ._context import Context
from ._settings import change_settings, one_line, settings_of_launch

# Launchers with options that only their scheduler has; the others' options are all the same.
_LAUNCHERS = {"LocalScheduler": "mlxp_local", "SLURMScheduler": "mlxp_slurm"}


def launch(
    config_path: str | None = "./configs",
    config_name: str | None = None,
    seeding_function: Callable[[Any], object] | None = None,
) -> Callable[[Callable[[Context], Any]], Callable[[], None]]:
    """Makes a function the main function of a program whose runs mlxpy keeps.

    The function is called once for each run with its `Context`. The program then has Hydra's command
    line; ``+key=value`` also changes a key that exists, a list of values sweeps without ``-m``, and
    ``+mlxpy.key=value`` changes the settings of ``mlxpy.yaml`` in the config directory.

    Args:
        config_path: the config directory, relative to the file of the function; None for no configs.
        config_name: the primary config, without ``.yaml``; ``config`` unless there are no configs.
        seeding_function: called with ``ctx.config.seed`` before the function, unless that is null.

    Returns:
        A decorator; the function that it returns takes no arguments.
    """

    def decorate(function: Callable[[Context], Any]) -> Callable[[], None]:
        @functools.wraps(function)
        def main() -> None:
            try:
                _launch(function, config_path, config_name, seeding_function)
            except MlxpyError as error:
                raise SystemExit(f"mlxpy: {error}") from None

        return main

    return decorate


def _launch(
    function: Callable[[Context], Any],
    config_path: str | None,
    config_name: str | None,
    seeding_function: Callable[[Any], object] | None,
) -> None:
    command_line = parse_command_line(sys.argv[1:])
    config_path = command_line.config_path or config_path
    if config_path and not config_path.startswith("pkg://"):
        config_path = _directory_beside(function, config_path)
    groups = config_groups(config_path, command_line.config_dir)
    settings, plugins = OmegaConf.create(), []
    if command_line.runs:
        settings, of_launch = settings_of_launch(config_path)
        settings = _check(change_settings(settings, command_line.settings, "the command line"))
        settings_overrides = [*of_launch, *command_line.settings_overrides]
        doubled_keys = command_line.doubled_keys(groups)
        plugins = _select_plugins(settings, settings_overrides, doubled_keys)
    # Hydra asks launchers in sweeps only; one job is a sweep, too.
    submits = bool(settings.get("use_scheduler"))
    if submits and SWEEP_JOB_VARIABLE not in os.environ:
        end_by_signals("mlxpy: interrupted: nothing was submitted")
    arguments = command_line.hydra_arguments(groups, plugins, sweeps=submits)
    config_name = config_name or ("config" if config_path else None)
    program = hydra.main(config_path=config_path, config_name=config_name, **MAIN_OPTIONS)
    with _typed(arguments):
        program(_as_task(function, settings, seeding_function))()


def _as_task(
    function: Callable[[Context], Any],
    settings: DictConfig,
    seeding_function: Callable[[Any], object] | None,
) -> Callable[[DictConfig], Any]:
    @functools.wraps(function)  # Hydra looks up where the wrapped function is from
    def task(config: DictConfig) -> Any:
        run = current_run()
        if not run:
            fix_changing_values(config)  # the callback has done it otherwise
        context = Context(
            config=_config_of_function(config, settings),
            mlxpy=settings,
            info=OmegaConf.create(run.info if run else {}),
            logger=get_logger(),
        )
        if seeding_function:
            _seed(seeding_function, context.config)
        return function(context)

    return task


def _config_of_function(config: DictConfig, settings: DictConfig) -> ConfigDict | DictConfig:
    try:
        if settings.get("as_ConfigDict", True):
            plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
            return ConfigDict(cast("dict[str, Any]", plain))
        if settings.get("resolve", True):
            OmegaConf.resolve(config)
    except OmegaConfBaseException as error:
        name = f" {error.full_key}" if error.full_key else ""
        raise SystemExit(
            f"mlxpy: the value{name} of the config cannot be had: {one_line(error)}; give it on the "
            "command line, or have values looked up when they are used by +mlxpy.as_ConfigDict=false "
            "+mlxpy.resolve=false"
        ) from None
    return config


def _seed(seeding_function: Callable[[Any], object], config: ConfigDict | DictConfig) -> None:
    if "seed" not in config:
        raise SystemExit(
            "mlxpy: a seeding function was given to launch, but the config has no 'seed': "
            "add 'seed: null' to the config file, or +seed=1 to the command"
        )
    if config.seed is not None:
        seeding_function(config.seed)


def _check(settings: DictConfig) -> DictConfig:
    find_logger_class(settings.logger.name)
    find_version_manager(settings.version_manager.name)
    if settings.use_scheduler and not settings.use_logger:
        raise MlxpyError("use_scheduler needs the logger's directories: set use_logger to true")
    return settings


def _select_plugins(
    settings: DictConfig, settings_overrides: list[str], doubled_keys: list[str]
) -> list[str]:
    plain = OmegaConf.to_container(settings)
    assert isinstance(plain, dict)
    nodes = {}
    if settings.use_logger:
        logger = {"_target_": MlxpLoggerNode._target_, **plain.pop("logger")}
        nodes["mlxp_logger"] = {**logger, "settings": plain, "doubled_keys": doubled_keys}
    if settings.use_version_manager:
        options = {**plain["version_manager"], "interactive_mode": settings.interactive_mode}
        nodes["mlxp_git"] = {"_target_": MlxpGitNode._target_, **options}
    # Added under their keys, not chosen from their group: the app's own callbacks stay.
    plugins = [f"++hydra.callbacks.{key}={as_override_value(node)}" for key, node in nodes.items()]
    if settings.use_scheduler:
        options = {**plain["scheduler"], "settings_overrides": settings_overrides}
        options["scheduler"] = options.pop("name")
        launcher = _LAUNCHERS.get(settings.scheduler.name, "mlxp_oar")
        plugins += [f"hydra/launcher={launcher}"]
        plugins += [f"++hydra.launcher.{key}={as_override_value(options[key])}" for key in options]
    return plugins


def _directory_beside(function: Callable[..., Any], config_path: str) -> str:
    try:
        base = os.path.realpath(os.path.dirname(inspect.getfile(function)))
    except (TypeError, OSError):  # made at a prompt
        base = os.getcwd()
    return os.path.normpath(os.path.join(base, config_path))


@contextmanager
def _typed(arguments: list[str]) -> Iterator[None]:
    """Has Hydra read these arguments, which it takes from nowhere but ``sys.argv``."""
    typed = sys.argv
    sys.argv = [typed[0], *arguments]
    try:
        yield
    finally:
        sys.argv = typed
