"""info.yaml of MLXP 1.0.5 as mlxpy would have written it.

MLXP keeps the number and the places of a run under ``logger``, days first in dates, and times of day
without the quotes that keep YAML from counting their seconds. It keeps no command, and of a process
nothing but its number.
"""

import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import PurePath
from typing import Any

from ._directory import RunDirectory
from ._status import ENDED, Status

WRITTEN_BY_MLXP = "written_by_mlxp"
"""The field of an info that says so; it is in no file."""


def is_info_of_mlxp(info: Any) -> bool:
    """Returns whether MLXP wrote what an info.yaml holds."""
    return isinstance(info, dict) and isinstance(info.get("logger"), dict) and "attempts" not in info


def info_of_mlxp(
    info: Mapping[str, Any], config: Mapping[str, Any], directory: RunDirectory
) -> dict[str, Any]:
    """Returns the info of a run, with one attempt, and a command that makes the run.

    Args:
        info: what its info.yaml holds.
        config: what its config.yaml holds; the command gives all of it as overrides.
        directory: where it lies.
    """
    known = {key: iso_of_mlxp(str(key), undated(value)) for key, value in info.items()}
    status = known.get("status") if known.get("status") in set(Status) else Status.SUBMITTED.value
    version, program = known.get("version_manager"), str(known.get("current_file_path"))
    overrides = list(_overrides(config, ""))
    attempt = {
        "job_id": (known.get("scheduler") or {}).get("scheduler_job_id"),
        "host": known.get("hostname"),
        "process_id": known.get("process_id"),
        "start": _moment(known, "start"),
        "end": _moment(known, "end") if status in {one.value for one in ENDED} else None,
        "status": status,
        "signal": None,
    }
    return {
        WRITTEN_BY_MLXP: True,
        "log_id": directory.log_id,
        "log_dir": str(directory.path),
        "status": status,
        "work_dir": _work_dir(known),
        # Its own interpreter may know MLXP only.
        "executable": sys.executable,
        "current_file_path": program,
        "cmd": shlex.join([sys.executable, program, *overrides]),
        "overrides": overrides,
        **{key: known.get(key) for key in ("start_date", "start_time", "end_date", "end_time")},
        "signal": None,
        "exception": None,
        "scheduler": None,
        "was_submitted": known.get("scheduler") is not None,
        # MLXP runs a commit, whatever else is in the directory.
        "version_manager": {**version, "safe_copy": None, "dirty": False, "snapshot": None}
        if isinstance(version, dict) and version.get("commit_hash")
        else None,
        "attempts": [] if status == Status.SUBMITTED.value else [attempt],
    }


def undated(value: Any) -> Any:
    """Returns a value as mlxpy writes it: YAML knows dates, the metadata of mlxpy has their text."""
    if isinstance(value, dict):
        return {undated(key): undated(item) for key, item in value.items()}
    if isinstance(value, list):
        return [undated(item) for item in value]
    return value.isoformat() if isinstance(value, date) else value


def iso_of_mlxp(key: str, value: Any) -> Any:
    """Returns a date or time of MLXP as mlxpy writes it, so that those of both have one order."""
    if key.endswith("_time") and isinstance(value, int):
        return f"{value // 3600:02}:{value // 60 % 60:02}:{value % 60:02}"
    if key.endswith("_date") and isinstance(value, str):
        return re.sub(r"^(\d\d)/(\d\d)/(\d{4})$", r"\3-\2-\1", value)
    return value


def _moment(info: Mapping[str, Any], name: str) -> str | None:
    try:
        moment = datetime.fromisoformat(f"{info[f'{name}_date']}T{info[f'{name}_time']}")
    except (KeyError, ValueError):
        return None
    return moment.astimezone().isoformat()


def _work_dir(info: Mapping[str, Any]) -> str:
    """Returns where the command was typed: what ran was a copy, ``…/<repository>/<commit>/<folder>``."""
    work_dir, version = PurePath(str(info.get("work_dir"))), info.get("version_manager") or {}
    commit = version.get("commit_hash")
    if commit not in work_dir.parts:
        return str(work_dir)
    folder = work_dir.parts[work_dir.parts.index(commit) + 1 :]
    return str(PurePath(str(version.get("repo_path")), *folder))


def _overrides(config: Mapping[Any, Any], prefix: str) -> Iterator[str]:
    """Writes a config as overrides of Hydra; a key that these cannot name is given with its dict."""
    for key, value in config.items():
        if isinstance(value, dict) and value and all(str(one).isidentifier() for one in value):
            yield from _overrides(value, f"{prefix}{key}.")
        else:
            yield f"++{prefix}{key}={_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_value, value)) + "]"
    if isinstance(value, str):
        # Backslashes mean themselves but before a quote.
        escaped = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), value)
        return f"'{escaped}'"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else repr(value)
