"""What one run directory says, as one flat row; directories of MLXP 1.0.5 give the same row.

MLXP keeps the number and the place of a run under ``info.logger``, its lists of metrics keys in
``metrics/.keys/<log>.yaml``, and times of day without the quotes that keep YAML from counting their
seconds; the rest lies where ours does.
"""

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mlxpy_core._io._files import Stamp, read_text
from mlxpy_core._io._flatten import flatten
from mlxpy_core._io._retries import can_pass
from mlxpy_core._io._yaml import load_yaml
from mlxpy_core._runs._annotations import read_annotations
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._info_file import check_kinds, read_info_text
from mlxpy_core._runs._job_note import noted_job_id
from mlxpy_core._runs._metrics_files import keys_of_all_ranks
from mlxpy_core._runs._mlxp_info import iso_of_mlxp, undated
from mlxpy_core._runs._progress_file import read_progress
from mlxpy_core._runs._status import ENDED, Status
from mlxpy_core._runs._summary import Summary, lazy_names, read_summary

_ENDED = {status.value for status in ENDED}


class UnreadableRunError(Exception):
    """A run directory whose metadata cannot be read; the message says why."""


@dataclass(frozen=True)
class RunRecord:
    """One run.

    Attributes:
        log_id: the number that the directory is named by.
        stamp: the stamp of its info.yaml, taken before that was read.
        ended: whether nothing of the run will change any more, unless it is continued.
        fields: the values of ``config.*`` and ``info.*``.
        lazy: the names of what is loaded on demand, see `lazy_names`.
    """

    log_id: int
    stamp: Stamp
    ended: bool
    fields: dict[str, Any]
    lazy: str


def read_run(run: str, stamp: Stamp) -> RunRecord:
    """Reads the directory of a run.

    Args:
        run: its path.
        stamp: the stamp of its info.yaml.

    Raises:
        UnreadableRunError: its metadata cannot be read.
    """
    log_id = int(os.path.basename(run))
    summary = read_summary(run, stamp)
    if summary is None:
        summary = Summary(_fields(*read_metadata(run)))
    if summary.fields.get("info.scheduler.scheduler_job_id", "") is None:
        summary.fields["info.scheduler.scheduler_job_id"] = noted_job_id(RunDirectory(Path(run)), {})
    # A directory that was copied or moved is the run that it is now, where it is now.
    fields = {**summary.fields, "info.log_id": log_id, "info.log_dir": run}
    if progress := read_progress(run):
        fields |= {"info.progress.done": progress.done, "info.progress.total": progress.total}
    lazy = summary.lazy
    if lazy is None:
        lazy = lazy_names(_metrics_keys(run), f"{run}/artifacts")
    return RunRecord(log_id, stamp, _is_final(fields), fields, lazy)


def _fields(info: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Makes one row of both files; what another user's may hold besides metadata is refused here."""
    fields: dict[str, Any] = {}
    try:
        flatten(info, "info", fields)
        flatten(config, "config", fields)
        json.dumps(fields, default=str)
    except (RecursionError, TypeError, ValueError) as error:
        raise UnreadableRunError(f"info.yaml or config.yaml holds no metadata: {error}") from error
    return fields


def _is_final(fields: Mapping[str, Any]) -> bool:
    # As `_info.is_final`, which knows the fields' meaning.
    status = fields.get("info.status")
    comes_back = fields.get("info.scheduler.may_come_back") is True
    return str(status) in _ENDED and not (status == Status.INTERRUPTED.value and comes_back)


def read_metadata(run: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads what the YAML files of a run say: its info and its config.

    Raises:
        UnreadableRunError: one of them cannot be read.
    """
    try:
        info = undated(_load(run, "info"))
        check_kinds(info)
        if "logger" in info:  # MLXP
            info = {key: iso_of_mlxp(str(key), value) for key, value in info.items()}
        info = read_annotations(run).added_to(info)
        return info, undated(_load(run, "config"))
    except OSError as error:
        raise UnreadableRunError(f"annotations.yaml: {error.strerror}") from error
    except (RecursionError, TypeError, ValueError) as error:
        raise UnreadableRunError(f"info.yaml or config.yaml holds no metadata: {error}") from error


def _load(run: str, name: str) -> dict[str, Any]:
    try:
        if name == "info":
            content = load_yaml(read_info_text(run))
        else:
            content = load_yaml(read_text(f"{run}/metadata/{name}.yaml", os.path.dirname(run)))
    except OSError as error:
        raise UnreadableRunError(f"{name}.yaml: {error.strerror}") from error
    except (ValueError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}" if mark else ""
        raise UnreadableRunError(f"{name}.yaml is no YAML{place}") from error
    if content is None and name == "config":
        return {}
    if not isinstance(content, dict):
        raise UnreadableRunError(f"{name}.yaml holds no fields")
    return content


def _metrics_keys(run: str) -> dict[str, list[str]]:
    metrics, state = Path(run, "metrics"), Path(run, ".keys")
    listed: dict[str, set[str]] = {}
    if (metrics / ".keys").is_dir():  # MLXP
        for path in sorted((metrics / ".keys").glob("*.yaml")):
            with contextlib.suppress(OSError, ValueError, yaml.YAMLError):
                if isinstance(content := load_yaml(read_text(path)), dict):
                    listed[path.stem] = set(map(str, content))
    if not listed or (state / "metrics.yaml").exists():  # mlxpy may have continued the run
        try:
            for name, keys in keys_of_all_ranks(metrics, state).items():
                listed.setdefault(name, set()).update(keys)
        except OSError as error:  # no list of keys, and rows that may not be read
            if can_pass(error):
                raise UnreadableRunError(f"metrics: {error.strerror}") from error
    return {name: sorted(keys) for name, keys in listed.items()}
