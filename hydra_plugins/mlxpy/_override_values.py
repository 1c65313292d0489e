"""Overrides as Hydra's grammar reads them, and as they were typed."""

from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import DictConfig

from hydra_plugins.mlxpy._hydra import as_written, callback_of, child_of


def typed_overrides(config: DictConfig) -> list[str]:
    """Returns the task's overrides as they were typed: the value of an interpolation may be a secret."""
    callback = callback_of(config, "mlxp_logger")
    doubled = set(callback.get("doubled_keys") or ())  # by `launch`
    return [_as_typed(override, doubled) for override in task_overrides(config)]


def _as_typed(override: str, doubled: set[str]) -> str:
    if override.startswith("~"):
        return override.removesuffix("=null")  # which Hydra's sweeper adds
    return override[1:] if override.startswith("++") and _key(override) in doubled else override


def task_overrides(config: DictConfig) -> list[str]:
    """Returns the task's overrides as Hydra was given them: `launch` makes ``++`` of some ``+``."""
    return [str(override) for override in as_written(child_of(config, "hydra", "overrides", "task"))]


def hydra_overrides(config: DictConfig) -> list[str]:
    """Returns the overrides of Hydra's own settings as Hydra was given them."""
    return [str(override) for override in as_written(child_of(config, "hydra", "overrides", "hydra"))]


def _key(override: str) -> str:
    return override.lstrip("+").partition("=")[0]


def as_override_value(value: Any) -> str:
    """Writes plain data as Hydra's override grammar reads it; strings come back unchanged."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{as_override_value(v)}" for key, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(as_override_value, value)) + "]"
    if isinstance(value, str):
        return QuotedString(value, Quote.single).with_quotes()
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else repr(value)
