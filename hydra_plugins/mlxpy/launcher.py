"""The launchers ``mlxp_*`` as Hydra finds them; what they do is loaded when one is used."""

import os
from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class MlxpLauncher(Launcher):
    """Submits each job of a sweep to a scheduler's queue and returns.

    The options are those of `_nodes.MlxpLauncherNode`.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from mlxpy_core import RERUN_VARIABLE

        from ._composing._sweep_configs import compose_once

        self._context = hydra_context
        self._task_function = task_function
        self._config = config
        # A rerun of a sweep's job leaves alone what the sweep wrote.
        if self._options["dry_run"] or RERUN_VARIABLE in os.environ:
            from ._outputs import divert_sweep_directory

            divert_sweep_directory(config)
        compose_once(hydra_context.config_loader, config)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from ._launching._submit import run_own_job, submit_sweep
        from ._sweep_job import sweep_job_of_this_process

        if job := sweep_job_of_this_process():
            index = job.index_in(job_overrides, initial_job_idx)
            overrides = list(job_overrides[index])
            return run_own_job(
                self._context, self._config, self._options, self._task_function, job, overrides
            )
        return submit_sweep(self._context, self._config, self._options, job_overrides, initial_job_idx)
