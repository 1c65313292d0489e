"""The settings of mlxpy, the file mlxpy.yaml, and how they are changed."""

import difflib
import os
import re
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hydra_plugins.mlxpy._nodes import (
    LoggerSettings,
    MlxpGitNode,
    ScriptSettings,
    VersionManagerSettings,
)
from hydra_plugins.mlxpy._override_values import as_override_value
from mlxpy_core import MlxpyError, current_copy, dump_yaml, original_place, recorded_launch

FILE_NAME = "mlxpy.yaml"
_FILE_OF_MLXP = "mlxp.yaml"


@dataclass
class _SchedulerName:
    name: str = "OARScheduler"


@dataclass
class SchedulerSettings(
    ScriptSettings, _SchedulerName
):  # in this order the name comes first in the file
    """Which scheduler, and what its scripts hold."""


@dataclass
class Settings:
    """All settings, as mlxpy.yaml holds them."""

    # Each has options of its own.
    logger: LoggerSettings = field(default_factory=LoggerSettings)
    scheduler: SchedulerSettings = field(default_factory=SchedulerSettings)
    version_manager: VersionManagerSettings = field(default_factory=VersionManagerSettings)
    # Whether runs go by the version manager, to the scheduler, and to a directory of their own.
    use_version_manager: bool = False
    use_scheduler: bool = False
    use_logger: bool = True
    # Whether the version manager asks at a terminal.
    interactive_mode: bool = MlxpGitNode.interactive_mode
    # Whether a DictConfig is resolved before the function is called; a ConfigDict always is.
    resolve: bool = True
    # Whether ctx.config is a ConfigDict, not Hydra's DictConfig.
    as_ConfigDict: bool = True  # noqa: N815  # the name that MLXP gave it


def load_settings(directory: Path | None, *, write: bool = True) -> DictConfig:
    """Reads mlxpy.yaml in the config directory; writes it with the defaults where there is none.

    Where there is none but one of MLXP's, mlxp.yaml, that is read, and a sentence says so.

    Args:
        directory: the config directory; without one, or in one that does not exist, nothing is read
            or written.
        write: whether the defaults are written at all.

    Returns:
        The settings, checked, with defaults for what the file leaves out.

    Raises:
        MlxpyError: the file cannot be read, or holds an unknown setting or a value of a wrong type.
    """
    settings: DictConfig = OmegaConf.structured(Settings)
    if directory is None or not directory.is_dir():
        return settings
    path = directory / FILE_NAME
    if not path.exists() and (directory / _FILE_OF_MLXP).exists():
        path = directory / _FILE_OF_MLXP
        if write:
            print(f"mlxpy: settings are those of {path}, as there is no {FILE_NAME}", file=sys.stderr)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if write:
            _write_defaults(path, settings)
        return settings
    except (OSError, UnicodeDecodeError) as error:
        raise MlxpyError(f"cannot read {path}: {error}") from error
    try:
        written = OmegaConf.create(text)
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise MlxpyError(f"{path} is not valid YAML: {one_line(error)}") from error
    if not isinstance(written, DictConfig):
        raise MlxpyError(f"{path} must hold settings such as 'use_logger: true'")
    return change_settings(settings, OmegaConf.to_container(written), str(path))


def settings_of_launch(config_path: str | None) -> tuple[DictConfig, list[str]]:
    """Reads the settings of the program that is being launched.

    They are about launching the code and no part of it: a program in a copy has those that its user has
    beside the code, committed or not.

    Args:
        config_path: the config directory, absolute, or ``pkg://``; None without configs.

    Returns:
        The settings, and overrides that make them of the settings that jobs will read.

    Raises:
        MlxpyError: as `load_settings`.
    """
    if config_path is None or config_path.startswith("pkg://"):
        return load_settings(None), []
    here, safe_copy = Path(config_path), current_copy()
    if not (safe_copy and recorded_launch()):
        return load_settings(here, write=safe_copy is None), []
    settings = load_settings(Path(original_place(config_path)), write=False)
    plain, other = map(OmegaConf.to_container, (settings, load_settings(here, write=False)))
    return settings, _differences(plain, other, "+mlxpy")


def _differences(settings: Any, others: Any, name: str) -> list[str]:
    if not isinstance(settings, dict):
        return [] if settings == others else [f"{name}={as_override_value(settings)}"]
    return [
        override
        for key in settings
        for override in _differences(settings[key], others[key], f"{name}.{key}")
    ]


def change_settings(settings: DictConfig, changes: Any, source: str) -> DictConfig:
    """Returns the settings with nested `changes` applied.

    Args:
        settings: the settings to start from; left as they are.
        changes: names and values, nested as in mlxpy.yaml.
        source: where the changes come from, for messages.

    Raises:
        MlxpyError: an unknown setting, or a value of a wrong type.
    """
    _check_names(settings, changes, "", source)
    try:
        changed = OmegaConf.merge(settings, changes)
        OmegaConf.resolve(changed)
    except OmegaConfBaseException as error:
        name = f" for {error.full_key}" if error.full_key else ""
        raise MlxpyError(f"wrong value{name} in {source}: {one_line(error)}") from error
    assert isinstance(changed, DictConfig)
    for node in (changed.logger, changed.version_manager):
        node.name = re.sub(r"^mlxp\.", "mlxpy.", node.name)
    forced = changed.logger.forced_log_id
    if forced != -1 and forced < 1:
        raise MlxpyError(
            f"wrong value for logger.forced_log_id in {source}: {forced} is no run "
            "(runs are numbered from 1, and -1 takes a new number)"
        )
    return changed


def _check_names(settings: DictConfig, changes: Any, prefix: str, source: str) -> None:
    if not isinstance(changes, Mapping):
        raise MlxpyError(
            f"{prefix.rstrip('.') or 'mlxpy'} in {source} must hold settings: {_names(settings)}"
        )
    for name, value in changes.items():
        if name not in settings:
            close = difflib.get_close_matches(str(name), map(str, settings), n=1)
            hint = f", did you mean {prefix}{close[0]}?" if close else ";"
            raise MlxpyError(
                f"unknown setting {prefix}{name} in {source}{hint} valid here: {_names(settings)}"
            )
        if isinstance(settings[name], DictConfig):
            _check_names(settings[name], value, f"{prefix}{name}.", source)
        elif isinstance(settings[name], bool) and not isinstance(value, bool):
            raise MlxpyError(
                f"wrong value for {prefix}{name} in {source}: {value!r} is not true or false: "
                "give one of them"
            )


def _names(settings: DictConfig) -> str:
    return ", ".join(map(str, settings))


def _write_defaults(path: Path, settings: DictConfig) -> None:
    text = dump_yaml(OmegaConf.to_container(settings))
    temporary = path.with_name(f".{FILE_NAME}-{secrets.token_hex(8)}")
    try:
        temporary.write_text(text, encoding="utf-8")
        # Linked, not renamed: a file that somebody else wrote meanwhile stays.
        os.link(temporary, path)
    except OSError:
        pass  # somebody else was first, or configs are read-only: the defaults hold all the same
    finally:
        if os.path.lexists(temporary):
            temporary.unlink()


def one_line(error: Exception) -> str:
    """Returns what an error of OmegaConf says as one line, without where."""
    return " ".join(str(error).split("\n    full_key")[0].split())
