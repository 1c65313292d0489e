"""Changes options of a launcher for another attempt at a run."""

import math
import re
from collections.abc import Mapping
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mlxpy_core import EndReason, MlxpyError, ScriptOptions

from ._recorded_options import LAUNCHER_NODES, OF_THE_SUBMISSION, check_option, recorded_launcher
from ._script_options import script_options

_TIME = re.compile(r"\d+(:\d+){1,2}|\d+-\d+(:\d+){0,2}")


def changed_launcher(
    launcher: Mapping[str, Any], changes: Mapping[str, str]
) -> tuple[dict[str, Any], ScriptOptions]:
    """Changes options of a launcher, which checks them as it does at a submission.

    Args:
        launcher: what a job's note has kept.
        changes: the new values as they are typed, by the options' names; ``*2`` multiplies.

    Returns:
        What the note is to keep, and the options of the job's new script.

    Raises:
        MlxpyError: an option cannot be changed so.
    """
    node = LAUNCHER_NODES[launcher["node"]]
    config = OmegaConf.merge(OmegaConf.structured(node), launcher["options"])
    assert isinstance(config, DictConfig)
    for name, text in changes.items():
        top = name.partition(".")[0]
        check_option(top, node, "this launcher")
        if top in OF_THE_SUBMISSION:
            raise MlxpyError(
                f"hydra.launcher.{top} is the whole submission's: leave it out, it stays as it was"
            )
        _change(config, name, text)
    resolved = cast("dict[str, Any]", OmegaConf.to_container(config, resolve=True))
    changed = dict.fromkeys([*launcher.get("changed", ()), *changes])
    plain = {name: _plain(OmegaConf.select(config, name)) for name in changed}
    return {**recorded_launcher(node, resolved), "changed": plain}, script_options(resolved)


def check_retries(node: type[Any] | None, options: Mapping[str, Any]) -> None:
    """Checks what a launcher is told of runs that it is to submit again.

    Args:
        node: the class of the launcher's config.
        options: its options, resolved.

    Raises:
        MlxpyError: there is no such reason, or an option cannot be multiplied.
    """
    options = {name: _plain(value) for name, value in options.items()}
    retries, escalate = options.get("retries") or {}, options.get("escalate") or {}
    if not (isinstance(retries, dict) and set(retries) <= set(EndReason.__members__)):
        reasons = ", ".join(EndReason.__members__)
        raise MlxpyError(f"hydra.launcher.retries={retries} names no reasons: they are {reasons}")
    if not all(type(number) is int and number >= 0 for number in retries.values()):
        raise MlxpyError(f"hydra.launcher.retries={retries}: give each reason a number of tries")
    factors: list[Any] = list(escalate.values()) if isinstance(escalate, dict) else [None]
    if not all(type(factor) in (int, float) and factor > 0 for factor in factors):
        raise MlxpyError(f"hydra.launcher.escalate={escalate}: give a number for each option")
    if not retries and not escalate:
        return
    launcher = recorded_launcher(node, options)
    if not launcher:
        raise MlxpyError("hydra.launcher.retries is for the launchers mlxp_*: leave it out")
    try:
        changed_launcher(launcher, {name: f"*{factor:g}" for name, factor in escalate.items()})
    except MlxpyError as error:
        raise MlxpyError(f"hydra.launcher.escalate: {error}") from error


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _change(config: DictConfig, name: str, text: str) -> None:
    try:
        if text.startswith("*"):
            value = _multiplied(name, OmegaConf.select(config, name), text[1:])
        else:
            value = _typed(name, text)
        OmegaConf.update(config, name, value)
    except OmegaConfBaseException as error:
        raise MlxpyError(f"hydra.launcher.{name}={text}: {str(error).splitlines()[0]}") from None


def _typed(name: str, text: str) -> Any:
    """Reads a value as Hydra does."""
    try:
        override = OverridesParser.create().parse_override(f"{name}={text}")
    except OverrideParseException as error:
        raise MlxpyError(f"hydra.launcher.{name}={text}: {str(error).splitlines()[0]}") from None
    if override.is_sweep_override():
        raise MlxpyError(f"hydra.launcher.{name}={text} is several values: give one")
    return override.value()


def _multiplied(name: str, value: Any, factor: str) -> Any:
    if not re.fullmatch(r"\d+(\.\d+)?", factor) or float(factor) == 0:
        raise MlxpyError(f"hydra.launcher.{name}=*{factor}: give a number above 0 after the *")
    times = float(factor)
    if value is None:
        raise MlxpyError(f"hydra.launcher.{name} has no value to be multiplied: give the new one")
    if isinstance(value, int) and not isinstance(value, bool):
        return math.ceil(value * times)
    if isinstance(value, float):
        return value * times
    if isinstance(value, str) and _TIME.fullmatch(value):
        return _multiplied_time(value, times)
    if isinstance(value, str) and (found := re.fullmatch(r"(\d+)(\.\d+)?( ?[A-Za-z]*)", value)):
        whole, part, unit = found.groups(default="")
        number = float(whole + part) * times
        return f"{round(number, 6) if part else math.ceil(number)}{unit}"
    raise MlxpyError(f"hydra.launcher.{name}={value} is no number to be multiplied: give the new value")


def _multiplied_time(text: str, times: float) -> str:
    """Multiplies a time as Slurm has them: ``30:00``, ``1:30:00``, ``1-12`` or ``1-12:00:00``."""
    days, _, clock = text.rpartition("-")
    parts = [*([days] if days else []), *clock.split(":")]
    units = (86400, 3600, 60, 1)[: len(parts)] if days else (3600, 60, 1)[-len(parts) :]
    last = units[-1]
    seconds = sum(int(part) * unit for part, unit in zip(parts, units, strict=True))
    left = math.ceil(seconds * times / last) * last
    written = []
    for part, unit in zip(parts, units, strict=True):
        number, left = divmod(left, unit)
        written.append(f"{number:0{len(part)}d}")
    return f"{written[0]}-{':'.join(written[1:])}" if days else ":".join(written)
