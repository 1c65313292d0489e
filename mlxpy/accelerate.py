"""A tracker for Hugging Face's accelerate, which this module imports."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate.tracking import GeneralTracker, on_main_process

from mlxpy_core import Logger

from ._frameworks import log_hyperparameters, log_metrics, logger_of_run, resume_at_step

__all__ = ["MlxpyTracker"]


class MlxpyTracker(GeneralTracker):  # type: ignore[misc]  # its types are not needed to check
    """Logs what an Accelerator logs into the run that is active; without one it starts one.

    ``Accelerator(log_with=MlxpyTracker())``. ``val/acc`` becomes the column ``val.acc``; each row has
    the step that `log` is given, and a later attempt at the run continues the history at its first one.

    Args:
        parent_log_dir: the directory of all runs, for a program that runs without Hydra.
        log_name: the log of metrics whose names have no ``/``.
    """

    name = "mlxpy"
    requires_logging_directory = False
    main_process_only = True

    def __init__(self, parent_log_dir: str | Path = "./logs", log_name: str = "accelerate") -> None:
        super().__init__()
        self._parent_log_dir = parent_log_dir
        self._log_name = log_name
        self._has_resumed = False

    @property
    def tracker(self) -> Logger:
        """The run's own logger, `mlxpy.get_logger`."""
        return logger_of_run(self._parent_log_dir)

    @on_main_process  # type: ignore[untyped-decorator]  # as above
    def store_init_configuration(self, values: Mapping[str, Any]) -> None:
        """Records hyper-parameters that the run's config does not have."""
        log_hyperparameters(values, self.tracker)

    @on_main_process  # type: ignore[untyped-decorator]  # as above
    def log(self, values: Mapping[str, Any], step: int | None = None, **kwargs: Any) -> None:
        """Logs a row with its step for each log that the names speak of."""
        if step is not None and not self._has_resumed:
            self._has_resumed = True
            resume_at_step(step, self.tracker)
        moment = {} if step is None else {"step": step}
        log_metrics(values, moment, self._log_name, self.tracker)
