"""Which configs have a run that is complete."""

import contextlib
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from mlxpy_core._io._files import read_text
from mlxpy_core._io._flatten import flatten
from mlxpy_core._io._yaml import load_yaml
from mlxpy_core._runs._directory import RunDirectory, is_run_name
from mlxpy_core._runs._info_file import info_stamp, read_info_text
from mlxpy_core._runs._status import Status
from mlxpy_core._runs._summary import read_summary

_DAMAGED = (AttributeError, RecursionError, TypeError, ValueError, yaml.YAMLError)


def completed_runs(parent_log_dir: Path, without: Collection[str] = ()) -> dict[str, RunDirectory]:
    """Finds the newest complete run of each config, by the config's `config_key`.

    Args:
        parent_log_dir: the directory of all runs.
        without: names of fields, as from `different_fields`, that are not compared.
    """
    try:
        names = os.listdir(parent_log_dir)
    except OSError:
        return {}
    found = {}
    for log_id in sorted(int(name) for name in names if is_run_name(name)):
        directory = RunDirectory(parent_log_dir / str(log_id))
        with contextlib.suppress(OSError, *_DAMAGED):  # no run, or a damaged one
            fields = _fields(directory)
            if fields.get("info.status") == Status.COMPLETE.value:
                found[_key(fields, without)] = directory
    return found


def config_key(config: Mapping[str, Any], without: Collection[str] = ()) -> str:
    """Gives a text that is equal for configs that are equal without some fields, and only for those."""
    return _key(_config_fields(config), without)


def different_fields(config: Mapping[str, Any], other: Mapping[str, Any]) -> frozenset[str]:
    """Returns the names of the fields whose values differ between two configs, as ``config.lr``."""
    one, two = _config_fields(config), _config_fields(other)
    return frozenset(name for name in {**one, **two} if _text(one, name) != _text(two, name))


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    return json.dumps(fields[name], sort_keys=True, default=str) if name in fields else None


def _config_fields(config: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    flatten(config, "config", fields)
    return fields


def _key(fields: Mapping[str, Any], without: Collection[str]) -> str:
    inside = tuple(f"{name}." for name in without)
    config = {
        name: value
        for name, value in fields.items()
        if name.startswith("config.") and name not in without and not name.startswith(inside)
    }
    return json.dumps(config, sort_keys=True, default=str)


def _fields(directory: RunDirectory) -> dict[str, Any]:
    summary = read_summary(str(directory.path), info_stamp(directory))
    if summary:
        return summary.fields
    fields: dict[str, Any] = {}
    flatten(load_yaml(read_info_text(str(directory.path))), "info", fields)
    flatten(load_yaml(read_text(directory.config, directory.logs)), "config", fields)
    return fields
