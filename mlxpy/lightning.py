"""A logger for Lightning (``lightning`` or ``pytorch_lightning``), which this module imports."""

import contextlib
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlxpy_core import Logger as RunLogger

from ._frameworks import log_hyperparameters, log_metrics, logger_of_run, resume_at_step

# The one that the program has imported; it need not have both.
if "pytorch_lightning" in sys.modules and "lightning" not in sys.modules:
    from pytorch_lightning.loggers.logger import Logger, rank_zero_experiment
    from pytorch_lightning.utilities import rank_zero_only
else:
    try:
        from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
        from lightning.pytorch.utilities import rank_zero_only
    except ModuleNotFoundError:
        from pytorch_lightning.loggers.logger import Logger, rank_zero_experiment
        from pytorch_lightning.utilities import rank_zero_only

__all__ = ["MlxpyLogger"]


class MlxpyLogger(Logger):  # type: ignore[misc]  # its types are not needed to check
    """Logs what a Lightning Trainer logs into the run that is active; without one it starts one.

    ``self.log("val/acc", ...)`` becomes the column ``val.acc``; each row has its step and epoch. The
    checkpoints of Lightning lie in the run's directory, unless the program names another, and are
    artifacts of the type ``reference``. In a later attempt at the run the rows of earlier ones stay up
    to the step at which it resumes (``ckpt_path``).

    Args:
        parent_log_dir: the directory of all runs, for a program that runs without Hydra.
        log_name: the log of metrics whose names have no ``/``.
    """

    def __init__(self, parent_log_dir: str | Path = "./logs", log_name: str = "lightning") -> None:
        super().__init__()
        self._parent_log_dir = parent_log_dir
        self._log_name = log_name
        self._trainer: Any = None
        self._has_resumed = False

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_trainer": None}  # as it goes to processes that Lightning spawns

    @property
    @rank_zero_experiment  # type: ignore[untyped-decorator]  # as above
    def experiment(self) -> RunLogger:
        """The run's own logger, `mlxpy.get_logger`; in other ranks than 0 one that does nothing."""
        # Not kept: it belongs to this process, and Lightning may copy this object to others.
        return logger_of_run(self._parent_log_dir)

    @property
    def name(self) -> str:
        """Nothing: the run's directory is that of one program already."""
        return ""

    @property
    def version(self) -> str:
        """Nothing, as `name`."""
        return ""

    @property
    def save_dir(self) -> str | None:
        """The run's directory; None in other ranks than 0, which ask that one."""
        return None if rank_zero_only.rank else str(self.experiment.log_dir)

    log_dir = root_dir = save_dir

    @rank_zero_only  # type: ignore[untyped-decorator]  # as above
    def log_graph(self, model: Any, input_array: Any = None) -> None:
        """Learns which Trainer logs; Lightning calls this at the start, with its module."""
        with contextlib.suppress(RuntimeError):  # a module that no Trainer has
            self._trainer = getattr(model, "trainer", None)

    @rank_zero_only  # type: ignore[untyped-decorator]  # as above
    def log_hyperparams(self, params: Mapping[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        """Records the hyper-parameters that are not in the run's config."""
        values = vars(params) if isinstance(params, Namespace) else params
        log_hyperparameters(values, self.experiment)

    @rank_zero_only  # type: ignore[untyped-decorator]  # as above
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Logs a row with its step for each log that the names speak of."""
        logger = self.experiment
        moment = {} if step is None else {"step": step}
        if step is not None and not self._has_resumed and self._trains():
            self._has_resumed = True
            resume_at_step(step, logger)
        values = dict(metrics)
        if "epoch" in values:
            moment["epoch"] = values.pop("epoch")
        log_metrics(values, moment, self._log_name, logger)

    def _trains(self) -> bool:
        """Returns whether this is no mere validation before the training, which has no step yet."""
        state = getattr(self._trainer, "state", None)
        return state is None or state.fn == "fit"

    @rank_zero_only  # type: ignore[untyped-decorator]  # as above
    def log_image(self, key: str, images: Sequence[Any], step: int | None = None, **_: Any) -> None:
        """Stores images (arrays, Pillow's, figures, or tensors of channels by height by width).

        Args:
            key: their name; folders are allowed.
            images: the images.
            step: the step, which becomes a part of the name.
        """
        name = key if step is None else f"{key}_{step}"
        for number, image in enumerate(images):
            one = name if len(images) == 1 else f"{name}_{number}"
            self.experiment.log_artifact(_channels_last(image), one, "image")

    @rank_zero_only  # type: ignore[untyped-decorator]  # as above
    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Records the best and the last checkpoint as artifacts, by where they lie."""
        monitor = (getattr(checkpoint_callback, "monitor", None) or "checkpoint").replace("/", "_")
        paths = {
            f"best_{monitor}": getattr(checkpoint_callback, "best_model_path", ""),
            "last": getattr(checkpoint_callback, "last_model_path", ""),
        }
        for name, path in paths.items():
            if path and Path(path).exists():
                self.experiment.log_artifact(path, name, "reference")


def _channels_last(image: Any) -> Any:
    """Returns an image of torch as an array whose last dimension is that of the colours."""
    if not hasattr(image, "detach"):
        return image
    array = image.detach().cpu().float().numpy() if image.is_floating_point() else image.cpu().numpy()
    if array.ndim == 3 and array.shape[0] in (1, 3, 4):
        array = array.transpose(1, 2, 0)
    return array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
