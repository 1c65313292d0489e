"""The version manager: runs come from a copy of a commit."""

from ._again import CodeOfRun, code_of_run, keeps_commit, written_into
from ._restart import (
    current_copy,
    job_environment,
    missing_in_copy,
    original_place,
    record_launch,
    recorded_launch,
    requirements_of,
    restart,
    runs_from_copy,
)
from ._version_manager import Version, VersionManager, find_version_manager

__all__ = [
    "CodeOfRun",
    "Version",
    "VersionManager",
    "code_of_run",
    "current_copy",
    "find_version_manager",
    "job_environment",
    "keeps_commit",
    "missing_in_copy",
    "original_place",
    "record_launch",
    "recorded_launch",
    "requirements_of",
    "restart",
    "runs_from_copy",
    "written_into",
]
