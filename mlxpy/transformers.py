"""A callback for the Trainer of Hugging Face's transformers, which this module imports."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from ._frameworks import log_hyperparameters, log_metrics, logger_of_run, resume_at_step

__all__ = ["MlxpyCallback"]

_PREFIXES = ("eval_", "test_")


class MlxpyCallback(TrainerCallback):  # type: ignore[misc]  # its types are not needed to check
    """Logs what a Trainer logs into the run that is active; without one it starts one.

    ``Trainer(..., callbacks=[MlxpyCallback()])``. ``eval_loss`` becomes the column ``eval.loss``,
    ``loss`` ``train.loss``; each row has its step and epoch. Checkpoints are artifacts of the type
    ``reference``. A Trainer that resumes (``resume_from_checkpoint``) in a later attempt at the run
    continues its history.

    Args:
        parent_log_dir: the directory of all runs, for a program that runs without Hydra.
    """

    def __init__(self, parent_log_dir: str | Path = "./logs") -> None:
        self._parent_log_dir = parent_log_dir
        self._has_resumed = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Starts a run where there is none, and records what its config does not have."""
        if not state.is_world_process_zero:
            return
        config = getattr(kwargs.get("model"), "config", None)
        model = {"model": config.to_dict()} if config is not None else {}
        log_hyperparameters({**args.to_sanitized_dict(), **model}, logger_of_run(self._parent_log_dir))

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Goes on with the history of earlier attempts; the first step is not known before."""
        if state.is_world_process_zero and not self._has_resumed:
            self._has_resumed = True
            resume_at_step(state.global_step + 1, logger_of_run(self._parent_log_dir))

    def on_log(
        self,
        args: Any,
        state: Any,
        control: Any,
        logs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Logs a row for training, evaluation or test."""
        if state.is_world_process_zero and logs:
            values = {_with_log(name): value for name, value in logs.items() if name != "epoch"}
            moment = {"step": state.global_step, "epoch": logs.get("epoch", state.epoch)}
            log_metrics(values, moment, "train", logger_of_run(self._parent_log_dir))

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Records the last checkpoint and the best one, by where they lie."""
        if not state.is_world_process_zero:
            return
        last = Path(args.output_dir, f"checkpoint-{state.global_step}")
        for name, path in {"last": last, "best": state.best_model_checkpoint}.items():
            if path and Path(path).exists():
                logger_of_run(self._parent_log_dir).log_artifact(path, name, "reference")


def _with_log(name: str) -> str:
    prefix = next((one for one in _PREFIXES if name.startswith(one)), "")
    return f"{prefix[:-1] or 'train'}/{name.removeprefix(prefix)}"
