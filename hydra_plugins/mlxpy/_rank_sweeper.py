"""A program that a job of a sweep has started again for another rank runs that one job."""

import os
from collections.abc import Mapping
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from ._hydra import basic_launcher
from ._override_values import task_overrides

_TARGET = f"{__name__}.RankSweeper"


class RankSweeper(Sweeper):
    """Runs one job of the sweep in this process, whatever else the command sweeps over.

    Args:
        num: the job's number.
        overrides: the job's overrides.
        replaced: the node of the sweeper that the command chose.
    """

    def __init__(self, num: int, overrides: list[str], replaced: DictConfig) -> None:
        self._num = num
        self._replaced = replaced
        self._overrides = list(overrides)
        self._launcher: Launcher | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        with read_write(config.hydra):
            config.hydra.sweeper = self._replaced  # Hydra 1.4 compares it with the job's
        self._launcher = basic_launcher(hydra_context, task_function, config)

    def sweep(self, arguments: list[str]) -> Any:
        assert self._launcher
        return self._launcher.launch([self._overrides], initial_job_idx=self._num)


def job_of_sweep(config: DictConfig) -> dict[str, Any] | None:
    """Describes a sweep's job as `follow_job` wants it; None of a job that is no sweep's."""
    if OmegaConf.is_missing(config.hydra.job, "num"):
        return None
    sweep_dir = os.path.abspath(config.hydra.sweep.dir)
    return {"num": config.hydra.job.num, "overrides": task_overrides(config), "sweep_dir": sweep_dir}


def follow_job(config: DictConfig, job: Mapping[str, Any]) -> None:
    """Has a sweep run nothing but one job, which `job_of_sweep` has described."""
    Plugins.instance().register(RankSweeper)  # no app that does not need it waits for this module
    with read_write(config.hydra), open_dict(config.hydra):
        replaced = config.hydra.sweeper
        config.hydra.sweeper = {
            "_target_": _TARGET,
            "_recursive_": False,
            "num": job["num"],
            "overrides": job["overrides"],
            "replaced": replaced,
        }
