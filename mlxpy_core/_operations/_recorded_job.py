"""The job that a run was submitted as, made again from the run's directory."""

from collections.abc import Mapping
from typing import Any

from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._scheduling._job import Job, noted_job
from mlxpy_core._versioning._launches import launch_of_info


def recorded_job(run: RunDirectory, info: Mapping[str, Any]) -> Job | None:
    """Makes the job that a run was submitted as, of its note and its info; None if there is no note."""
    try:
        launch = launch_of_info(info)
    except (LookupError, TypeError):
        return None
    return noted_job(run, launch, info)
