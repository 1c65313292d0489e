"""What info.yaml holds of a run, as lines for people."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mlxpy_core._io._text import clean, duration_text
from mlxpy_core._reading._run_times import start_and_duration
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._info_file import read_info
from mlxpy_core._runs._status import Status
from mlxpy_core._scheduling._dependencies import after_of_info
from mlxpy_core._search._study_results import lines_of_results, read_results

from ._sizes import size_text
from ._table import colored_status
from ._times import time_texts

_LABEL = 11  # characters
_TRACEBACK = 8  # lines


def facts(directory: RunDirectory, info: Mapping[str, Any]) -> list[str]:
    """Returns a run's status, command, times, place, code and end."""
    named = {
        "tags": ", ".join(map(str, info.get("tags") or [])),
        "note": info.get("note"),
        "archived": "yes" if info.get("archived") else None,
        "directory": directory.path,
        "output dir": info.get("output_dir"),
        "command": info.get("cmd"),
        "overrides": " ".join(map(str, info.get("overrides") or [])),
        "work dir": info.get("work_dir"),
        "submitted": _submitted(info),
        "started": _started(info),
        "host": _host(info),
        "job": _job(info.get("scheduler") or {}),
        "container": (info.get("scheduler") or {}).get("container"),
        "code": _code(info.get("version_manager") or {}),
        "used": _used(info.get("usage") or {}),
        _after_label(info): _after(directory, info),
        "end reason": info.get("end_reason"),
    }
    attempts = info.get("attempts") or []
    return [
        f"run {directory.log_id}  {colored_status(clean(info.get('status')))}",
        *(f"{label:{_LABEL}}{clean(fact)}" for label, fact in named.items() if fact),
        *section("attempts", list(map(_attempt, attempts)) if len(attempts) > 1 else []),
        *section("search", _search(directory, info)),
        *section("exception", _exception(info.get("exception") or {})),
    ]


def section(title: str, lines: Sequence[str]) -> list[str]:
    """Returns lines below a title; nothing if there are none."""
    return [title, *(f"  {_printable(line)}" for line in lines)] if lines else []


def _printable(line: str) -> str:
    # What clean does, but for the blanks at its beginning.
    text = line.lstrip(" ")
    return " " * (len(line) - len(text)) + clean(text) if text else ""


def _submitted(info: Mapping[str, Any]) -> str:
    return f"{info.get('submit_date', '')} {str(info.get('submit_time', ''))[:8]}".strip()


def _started(info: Mapping[str, Any]) -> str | None:
    moment, seconds = start_and_duration(info)
    (start,) = time_texts([moment])
    if seconds is None:
        return start
    return f"{start}, " + (f"took {duration_text(seconds)}" if info.get("end_time") else
                           f"{duration_text(seconds)} ago")  # fmt: skip


def _host(info: Mapping[str, Any]) -> str | None:
    host = info.get("hostname")
    return f"{host}, process {info.get('process_id')}, user {info.get('user', '-')}" if host else None


def _job(scheduler: Mapping[str, Any]) -> str | None:
    if not scheduler:
        return None
    index = scheduler.get("array_index")
    job_id = clean(scheduler.get("scheduler_job_id"))
    devices = (
        f", {label} {scheduler[name]}"
        for name, label in (("gpus", "GPU"), ("cpus", "CPU"))
        if scheduler.get(name)
    )
    text = f"{job_id} of {scheduler.get('name')}" + ("" if index is None else f", array index {index}")
    return text + "".join(devices)


def _after_label(info: Mapping[str, Any]) -> str:
    return "waits for" if info.get("status") == Status.SUBMITTED.value else "after"


def _after(directory: RunDirectory, info: Mapping[str, Any]) -> str | None:
    """Returns which runs this one waits for, and how they stand."""
    after = after_of_info(info)
    if after is None:
        return None
    texts = []
    for log_id, run_id in after.runs:
        earlier = read_info(RunDirectory(directory.logs / str(log_id)))
        there = earlier is not None and earlier.get("run_id") == run_id
        texts.append(f"run {log_id} ({earlier['status'] if there and earlier else 'not there'})")
    return ", ".join(texts) + ("" if after.ok else ", however they end")


def _code(version: Mapping[str, Any]) -> str | None:
    commit = version.get("commit_hash")
    if not commit:
        return None
    branch = f" of branch {version['branch']}" if version.get("branch") else ""
    dirty = ", uncommitted changes" if version.get("dirty") else ""
    kept = " (kept in this snapshot)" if version.get("snapshot") else ""
    return f"commit {commit}{branch}{dirty}{kept}"


def _used(usage: Mapping[str, Any]) -> str | None:
    """Returns what a run used and, in brackets, what its job was given."""
    requested = {
        "memory": size_text(usage.get("requested_memory")),
        "cores": usage.get("requested_cores"),
        "gpus": usage.get("requested_gpus"),
        "time": _seconds_text(usage.get("requested_seconds")),
    }
    given = ", ".join(f"{what} {value}" for what, value in requested.items() if value)
    used = {
        "memory": size_text(usage.get("peak_memory")),
        "processor": _seconds_text(usage.get("cpu_seconds")),
    }
    text = ", ".join(f"{what} {value}" for what, value in used.items() if value is not None)
    return " ".join(filter(None, [text, f"(requested: {given})" if given else ""])) or None


def _seconds_text(seconds: Any) -> str | None:
    known = isinstance(seconds, int | float) and math.isfinite(seconds)
    return duration_text(seconds) if known else None


def _search(directory: RunDirectory, info: Mapping[str, Any]) -> list[str]:
    """Returns which trial of a search a run is, and what the search has found."""
    if not info.get("study"):
        return []
    trial = info.get("trial")
    number = trial.get("number") if isinstance(trial, dict) else None
    results = read_results(directory.logs, info["study"])
    lines = lines_of_results(results) if results else [f"Study {info['study']}"]
    return [f"Trial {number}", *lines]


def _attempt(attempt: Mapping[str, Any]) -> str:
    job = f"job {attempt['job_id']}, " if attempt.get("job_id") else ""
    start_date, _, start_time = str(attempt.get("start")).partition("T")
    end_date, _, end_time = str(attempt.get("end") or "").partition("T")
    times = {"start_date": start_date, "start_time": start_time, "end_date": end_date}
    started = _started({**times, "end_time": end_time, "status": attempt.get("status")})
    reason = f" ({attempt['end_reason']})" if attempt.get("end_reason") else ""
    options = f", with {attempt['options']}" if attempt.get("options") else ""
    return f"{job}{attempt.get('host')}, {started}: {attempt.get('status')}{reason}{options}"


def _exception(exception: Mapping[str, Any]) -> list[str]:
    if not exception:
        return []
    lines = str(exception.get("traceback") or "").rstrip().splitlines()
    if not lines:
        return [f"{exception.get('type')}: {exception.get('message')}"]
    more = ["… (info.yaml has it whole)"] if len(lines) > _TRACEBACK else []
    return more + lines[-_TRACEBACK:]
