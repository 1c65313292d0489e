"""Whose files say what is started, stopped or imported for a run."""

import os
from collections.abc import Iterable
from pathlib import Path

from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._owners import foreign_owner
from mlxpy_core._plugins._scheduler import Scheduler
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._info_file import info_path, read_info
from mlxpy_core._runs._process import noted_process_path
from mlxpy_core._scheduling._find_scheduler import find_installed_scheduler, find_scheduler


def other_owner(run: RunDirectory) -> int | None:
    """Returns the other user who owns a run, or a file that names its command, job, process or code."""
    files = (info_path(run.path), run.config, run.environment, run.job_note)
    places = (run.path, run.metadata, run.state, *files, noted_process_path(run), run.path / "script.sh")
    version = (read_info(run) or {}).get("version_manager") or {}
    copies = [Path(str(version["safe_copy"]))] if version.get("safe_copy") else []
    return foreign_owner(*places, *copies)


def scheduler_of(name: str, runs: Iterable[RunDirectory]) -> Scheduler | None:
    """Returns the scheduler that runs name as theirs; None if there is none here."""
    if scheduler := find_installed_scheduler(name):
        return scheduler
    try:
        # Another user's run must not have us import what it names.
        if all(info_path(run.path).stat().st_uid == os.getuid() for run in runs):
            return find_scheduler(name)
    except (OSError, MlxpyError):
        pass
    return None
