"""What the modules for the frameworks share: whose run it is, and what goes where in it."""

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from mlxpy_core import InvalidNameError, Logger, current_run, get_logger

HPARAMS = "hparams"
"""The log of hyper-parameters that the run's config does not have."""


def logger_of_run(parent_log_dir: str | Path) -> Logger:
    """Returns the logger of the run that is active; of a new run where none is."""
    return get_logger() or Logger(parent_log_dir)


def log_metrics(
    metrics: Mapping[str, Any], moment: Mapping[str, Any], default: str, logger: Logger
) -> None:
    """Logs metrics with names such as ``val/acc``: here ``acc`` in the log ``val``.

    Args:
        metrics: names and values.
        moment: what each row holds besides: the step and the epoch.
        default: the log of those whose names have no ``/``.
        logger: the logger.
    """
    logs: dict[str, dict[str, Any]] = {}
    for name, value in metrics.items():
        log_name, _, key = name.rpartition("/")
        logs.setdefault(log_name, {})[key] = value
    for log_name, row in logs.items():
        try:
            logger.log_metrics({**moment, **row}, log_name or default)
        except InvalidNameError:  # noqa: PERF203  # a reserved name, say; the training goes on
            if not log_name:
                raise
            named = {f"{log_name}/{key}": value for key, value in row.items()}
            logger.log_metrics({**moment, **named}, default)


def resume_at_step(step: float, logger: Logger, key: str = "step") -> None:
    """Moves aside what earlier attempts logged from a step on, where this process has the run."""
    run = current_run()
    if run and run.belongs_here:
        logger.resume_at_step(step, key)


def log_hyperparameters(values: Mapping[str, Any], logger: Logger) -> None:
    """Records hyper-parameters that the run's config does not have yet.

    In a program without Hydra they are its config. In a Hydra app, whose config stays what it was
    started with, they are a row of the log `HPARAMS`.
    """
    run = current_run()
    plain = {str(name): _plain(value) for name, value in values.items()}
    if run and run.standalone and run.belongs_here:
        run.add_to_config(plain)
        return
    known = dict(_flat(run.config)) if run else {}
    new = {name: value for name, value in _flat(plain) if not _is_known(name, value, known)}
    if new and new != _last_row(Path(logger.metrics_dir, f"{HPARAMS}.json")):  # of an earlier attempt
        logger.log_metrics(new, HPARAMS)


def _last_row(path: Path) -> Any:
    try:
        return json.loads(path.read_text().splitlines()[-1])
    except (OSError, ValueError, IndexError):
        return None


def _is_known(name: str, value: Any, known: Mapping[str, Any]) -> bool:
    """Returns whether a config has a value by this name, perhaps within a group, as ``model.lr``."""
    found = [known[other] for other in known if other == name or other.endswith(f".{name}")]
    is_reference = isinstance(value, str) and "${" in value  # the config has what it stands for
    return value in found or (is_reference and bool(found))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _plain(value: Any) -> Any:
    """Returns a value as YAML and JSON have it; what they do not know is its text."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (Sequence, Set)) and not isinstance(value, (str, bytes)):
        return [_plain(item) for item in value]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # of NumPy, torch
        value = value.item()
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return None if value is None else str(value)
