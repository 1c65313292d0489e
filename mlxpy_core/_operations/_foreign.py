"""Whose files say what is started or stopped for a run."""

from pathlib import Path

from mlxpy_core._io._owners import foreign_owner
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._info_file import info_path, read_info
from mlxpy_core._runs._process import noted_process_path


def other_owner(run: RunDirectory) -> int | None:
    """Returns the other user who owns a run, or a file that names its command, job, process or code."""
    files = (info_path(run.path), run.config, run.environment, run.job_note)
    places = (run.path, run.metadata, run.state, *files, noted_process_path(run), run.path / "script.sh")
    version = (read_info(run) or {}).get("version_manager") or {}
    copies = [Path(str(version["safe_copy"]))] if version.get("safe_copy") else []
    return foreign_owner(*places, *copies)
