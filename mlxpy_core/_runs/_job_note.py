"""The note of a run's submission: what it takes to submit the run again, and the id of its job."""

from collections.abc import Mapping
from typing import Any

import yaml

from mlxpy_core._io._files import read_text
from mlxpy_core._io._yaml import load_yaml

from ._directory import RunDirectory


def read_job_note(directory: RunDirectory) -> dict[str, Any]:
    """Reads the note of a run; it is empty where there is none."""
    try:
        text = read_text(directory.job_note, directory.logs)
        noted = load_yaml(text[: text.rfind("\n") + 1])  # a line that is not whole yet is none
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return noted if isinstance(noted, dict) else {}


def noted_job_id(directory: RunDirectory, info: Mapping[str, Any]) -> str | None:
    """Returns the id of a run's job: its own word in info.yaml or, before it starts, the note's."""
    job_id = (info.get("scheduler") or {}).get("scheduler_job_id")
    if job_id is None:
        job_id = read_job_note(directory).get("scheduler_job_id")
    return None if job_id is None else str(job_id)
