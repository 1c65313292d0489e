"""The launchers ``mlxp_*`` as Hydra finds them; what they do is loaded when one is used."""

from collections.abc import Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class MlxpLauncher(Launcher):
    """Submits each job of a sweep to a scheduler's queue and returns.

    Attributes:
        options: those of `_nodes.MlxpLauncherNode`.
    """

    def __init__(self, **options: Any) -> None:
        self.options = options

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        from mlxpy_core import end_by_signals

        from ._composing._sweep_configs import compose_once
        from ._error_messages import refusal_of_file_system
        from ._hydra import replace_tracebacks
        from ._launching._places import place_sweep
        from ._sweep_job import sweep_job_of_this_process

        if not sweep_job_of_this_process():
            end_by_signals("mlxpy: interrupted: nothing was submitted")
        replace_tracebacks(refusal_of_file_system)
        self._context = hydra_context
        self._task_function = task_function
        self._config = config
        place_sweep(config, self.options)
        compose_once(hydra_context.config_loader, config)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        from ._launching._own_job import run_own_job
        from ._launching._submit import submit_sweep
        from ._sweep_job import sweep_job_of_this_process

        if job := sweep_job_of_this_process():
            index = job.index_in(job_overrides, initial_job_idx)
            overrides = list(job_overrides[index])
            return run_own_job(
                self._context, self._config, self.options, self._task_function, job, overrides
            )
        return submit_sweep(self._context, self._config, self.options, job_overrides, initial_job_idx)
