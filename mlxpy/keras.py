"""A callback for Keras, which this module imports."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras.callbacks import Callback

from ._frameworks import log_metrics, logger_of_run, resume_at_step

__all__ = ["MlxpyCallback"]


class MlxpyCallback(Callback):  # type: ignore[misc]  # its types are not needed to check
    """Logs each epoch of ``model.fit`` into the run that is active; without one it starts one.

    ``model.fit(..., callbacks=[MlxpyCallback()])``. ``val_loss`` becomes the column ``val.loss``,
    ``loss`` ``train.loss``; each row has its epoch. Where a later attempt at the run begins with a later
    epoch (``initial_epoch``, ``BackupAndRestore``), it continues the history there.

    Args:
        parent_log_dir: the directory of all runs, for a program that runs without Hydra.
    """

    def __init__(self, parent_log_dir: str | Path = "./logs") -> None:
        super().__init__()
        self._parent_log_dir = parent_log_dir
        self._has_resumed = False

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Starts a run where there is none."""
        logger = logger_of_run(self._parent_log_dir)
        if not self._has_resumed:
            self._has_resumed = True
            resume_at_step(epoch, logger, "epoch")

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Logs a row for the training and one for the validation."""
        values = {_with_log(name): value for name, value in (logs or {}).items()}
        log_metrics(values, {"epoch": epoch}, "train", logger_of_run(self._parent_log_dir))


def _with_log(name: str) -> str:
    return f"val/{name.removeprefix('val_')}" if name.startswith("val_") else f"train/{name}"
