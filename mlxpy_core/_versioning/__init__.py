"""The version manager: runs come from a copy of a commit."""

from ._find_version_manager import find_version_manager
from ._launches import launch_of_info, launch_of_this_process
from ._recorded_code import CodeOfRun, code_of_run, keeps_commit, written_into
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
from ._version_manager import Version, VersionManager

__all__ = [
    "CodeOfRun",
    "Version",
    "VersionManager",
    "code_of_run",
    "current_copy",
    "find_version_manager",
    "job_environment",
    "keeps_commit",
    "launch_of_info",
    "launch_of_this_process",
    "missing_in_copy",
    "original_place",
    "record_launch",
    "recorded_launch",
    "requirements_of",
    "restart",
    "runs_from_copy",
    "written_into",
]
