"""Finds jobs again that nobody has noted: who submitted them was killed before it could."""

import contextlib
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mlxpy_core._errors import StorageError
from mlxpy_core._plugins._scheduler import QueuedJob, Scheduler
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._process import (
    arguments_of,
    detached_processes,
    note_process,
    working_directory,
)
from mlxpy_core._scheduling._job import note_job_id
from mlxpy_core._scheduling._script import runs_of_array
from mlxpy_core._scheduling._submission_files import ARRAY_NAME, SCRIPT_NAME

from ._recorded_job import recorded_job

_LOOK_S = 0.1
_LONGEST_S = 60.0


def find_jobs(
    scheduler: Scheduler, runs: Mapping[RunDirectory, Mapping[str, Any]]
) -> dict[RunDirectory, str] | None:
    """Finds the jobs of runs whose submitters have died, by the scripts in the queue, and notes them.

    Args:
        scheduler: the runs' scheduler.
        runs: what the info.yaml of each holds.

    Returns:
        The id of each job that is in the queue; None if the scheduler cannot tell.

    Raises:
        SubmissionError: the scheduler does not answer.
    """
    _await_commands({os.path.realpath(run.logs) for run in runs})
    queued = scheduler.queued_jobs()
    if queued is None:
        return None
    # A script that the scheduler has a copy of may be of an earlier run of that number.
    wanted = {(os.path.realpath(run.path), info.get("run_id")): run for run, info in runs.items()}
    found: dict[RunDirectory, str] = {}
    for job, place, run_id in _runs_of(queued):
        for known in [run_id] if run_id else [known for path, known in wanted if path == place]:
            if run := wanted.get((place, known)):
                found[run] = job.job_id
    for run, job_id in found.items():
        noted = recorded_job(run, runs[run])
        with contextlib.suppress(StorageError):  # another user's
            if noted:
                note_job_id(noted, job_id)
    return found


def note_started_scripts(runs: Iterable[RunDirectory]) -> set[RunDirectory]:
    """Returns those of some runs whose scripts live on this machine, and notes their processes."""
    runs = list(runs)
    scripts = _scripts_here() if runs else {}
    found = {run: scripts[path] for run in runs if (path := os.path.realpath(run.path)) in scripts}
    for run, pid in found.items():
        with contextlib.suppress(StorageError):
            note_process(run, pid)
    return set(found)


def _scripts_here() -> dict[str, int]:
    """Returns the process of each script, by the directory of its run."""
    found: dict[str, int] = {}
    for pid in detached_processes():
        for argument in arguments_of(pid):
            place, name = os.path.split(argument)
            if SCRIPT_NAME.fullmatch(name):
                found.setdefault(place, pid)
    return found


def _await_commands(logs: set[str]) -> None:
    """Waits until no command of a scheduler is under way that a dead submitter has left behind."""
    end = time.monotonic() + _LONGEST_S
    while time.monotonic() < end:
        places = map(working_directory, detached_processes())
        # It runs where its script is.
        if not any(re.match(rf"{re.escape(one)}/\d+(/|$)", place) for place in places for one in logs):
            return
        time.sleep(_LOOK_S)


def _runs_of(queued: Iterable[QueuedJob]) -> Iterator[tuple[QueuedJob, str, str]]:
    """Yields the runs of jobs: the job, the run's directory, and its identity if the script has it."""
    arrays: dict[Path, list[list[tuple[str, str]]]] = {}
    for job in queued:
        if not SCRIPT_NAME.fullmatch(job.script.name):
            continue
        place = job.script.parent
        if not ARRAY_NAME.fullmatch(place.name):
            yield job, os.path.realpath(place), ""
            continue
        if job.script not in arrays:
            arrays[job.script] = _read_array(job.script)
        for name, run_id in (arrays[job.script] + [[]] * (job.task + 1))[job.task]:
            yield job, os.path.realpath(place.parent.parent / name), run_id


def _read_array(script: Path) -> list[list[tuple[str, str]]]:
    try:
        return runs_of_array(script.read_text(encoding="utf-8", errors="surrogateescape"))
    except OSError:
        return []
