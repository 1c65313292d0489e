"""Programs that set the arguments of a sweep in code: each job sweeps again, and runs only itself."""

from collections.abc import Mapping
from typing import Any

from hydra.core.utils import JobReturn
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from hydra_plugins.mlxpy._callback import MlxpLogger
from hydra_plugins.mlxpy._hydra import BASIC_SWEEPER, basic_launcher, callbacks_of
from hydra_plugins.mlxpy._sweep_job import SweepJob, refuse_to_sweep
from mlxpy_core import MlxpyError

_sweeps = 0  # of this process


def check_arguments(config: DictConfig, *, typed: bool) -> None:
    """Refuses what the jobs of a program whose arguments are set in its code could not find again."""
    global _sweeps
    _sweeps += 1
    if typed:
        return
    if _sweeps > 1:
        raise MlxpyError(
            "the program's code sets the arguments of several sweeps, which a job could not tell apart: "
            "start one program for each sweep, or type the arguments in the command"
        )
    if config.hydra.sweeper._target_ != BASIC_SWEEPER:
        raise MlxpyError(
            f"the program's code sets the arguments of a sweep by {config.hydra.sweeper._target_}, "
            "whose jobs could not find themselves again: type the arguments in the command"
        )


def run_own_job(
    context: HydraContext,
    config: DictConfig,
    options: Mapping[str, Any],
    task_function: TaskFunction,
    job: SweepJob,
    overrides: list[str],
) -> list[JobReturn]:
    """Runs the one job of a sweep that this process is, where the program sweeps in each of its jobs."""
    global _sweeps
    _sweeps += 1
    if _sweeps > 1:
        refuse_to_sweep()
    callbacks = callbacks_of(context)
    ours = next((one for one in callbacks if isinstance(one, MlxpLogger)), None)
    if ours is None:
        ours = MlxpLogger(parent_log_dir=options["parent_log_dir"])
        callbacks.append(ours)
        ours.on_multirun_start(config)
    if job.keeps_return_value:
        ours.keep_return_value()
    launcher = basic_launcher(context, task_function, config)
    return list(launcher.launch([overrides], initial_job_idx=job.number))
