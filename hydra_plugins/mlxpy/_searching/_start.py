"""What must hold before a search starts; optuna may be missing, or too old."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from hydra.core.plugins import Plugins
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_plugins.mlxpy._error_messages import errors_end_the_program
from hydra_plugins.mlxpy._hydra import BASIC_LAUNCHER, callback_of
from hydra_plugins.mlxpy._nodes import LocalLauncherNode, MlxpLauncherNode
from hydra_plugins.mlxpy.launcher import MlxpLauncher
from mlxpy_core import MlxpyError

_OLDEST = 4


def prepare_search(
    context: HydraContext,
    task_function: TaskFunction,
    config: DictConfig,
    options: Mapping[str, Any],
) -> Callable[[Sequence[str]], None]:
    """Makes the launcher and returns the function that searches, of the command's overrides.

    An error ends the program with its message.
    """
    with errors_end_the_program():
        _check_optuna()
        launcher = _launcher(context, task_function, config)

    def search(arguments: Sequence[str]) -> None:
        from ._search import run_search

        with errors_end_the_program():
            chosen = config.hydra.launcher._target_ == MlxpLauncherNode._target_
            run_search(context, config, launcher.options, options, arguments, chosen=chosen)

    return search


def _check_optuna() -> None:
    try:
        found = version("optuna")
    except PackageNotFoundError:
        raise MlxpyError("hydra/sweeper=mlxp_optuna needs optuna: pip install 'mlxpy[optuna]'") from None
    other = _has_other_sweeper()
    if int(found.partition(".")[0]) >= _OLDEST:
        if other:
            print(
                f"mlxpy: hydra-optuna-sweeper is installed, which does not work with optuna {found} and "
                "whose options of samplers come in the place of mlxp_optuna's: "
                "pip uninstall hydra-optuna-sweeper",
                file=sys.stderr,
            )
        return
    uninstall = ", which hydra-optuna-sweeper wants: pip uninstall hydra-optuna-sweeper, then"
    raise MlxpyError(
        f"hydra/sweeper=mlxp_optuna needs optuna {_OLDEST} or newer, and here is {found}"
        f"{uninstall if other else ':'} pip install 'mlxpy[optuna]'"
    )


def _has_other_sweeper() -> bool:
    try:
        version("hydra-optuna-sweeper")
    except PackageNotFoundError:
        return False
    return True


def _launcher(context: HydraContext, task_function: TaskFunction, config: DictConfig) -> MlxpLauncher:
    target = config.hydra.launcher._target_
    if target == BASIC_LAUNCHER and callback_of(config, "mlxp_logger").get("settings"):
        raise MlxpyError(
            "a program by mlxpy.launch searches by its scheduler: add +mlxpy.use_scheduler=True and, "
            "for this machine, +mlxpy.scheduler.name=LocalScheduler"
        )
    if target == BASIC_LAUNCHER:  # nobody has chosen one
        options = asdict(LocalLauncherNode())
        del options["_target_"]
        launcher = MlxpLauncher(**options)
        launcher.setup(hydra_context=context, task_function=task_function, config=config)
        return launcher
    if target != MlxpLauncherNode._target_:
        choice = config.hydra.runtime.choices["hydra/launcher"]
        raise MlxpyError(
            f"hydra/sweeper=mlxp_optuna submits by mlxpy's launchers, and not by {choice}: choose "
            "hydra/launcher=mlxp_local, mlxp_slurm, mlxp_oar or another mlxp_*"
        )
    made = Plugins.instance().instantiate_launcher(
        hydra_context=context, task_function=task_function, config=config
    )
    assert isinstance(made, MlxpLauncher)
    return made
