"""The engine of mlxpy: run directories, metadata, the logger, schedulers and the reader.

It knows nothing of Hydra. The faces, ``hydra_plugins.mlxpy`` and ``mlxpy``, are built on it and use the
names that stand here; those of them that are for users are in `mlxpy`, too.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ._errors import InvalidNameError, MlxpyError, RunEndedError, StorageError, UnstorableValueError
from ._io._interrupts import (
    Interrupted,
    Interruption,
    end_by_signals,
    end_by_signals_no_more,
    exit_code_of,
    signals_held,
)
from ._io._yaml import dump_yaml, load_yaml
from ._plugins._artifact_type import ArtifactType
from ._runs._annotations import check_tags
from ._runs._command import SWEEP_JOB_VARIABLE, first_argument
from ._runs._directory import (
    RunDirectory,
    is_run_name,
    logs_argument,
    new_run_directories,
    next_run_directory,
    take_run_directory,
)
from ._runs._launch import Launch, relative_to_launch
from ._runs._parent_run import ParentRun, tell_children
from ._runs._ranks import ranks_set, set_ranks_back
from ._runs._status import Status
from ._runs._sweep_directory import take_sweep_directory
from ._tracking._attempt import Attempt, take_run
from ._tracking._logger import Logger, get_logger
from ._tracking._meetings import was_joined_by_children, was_started_again
from ._tracking._placement import (
    RERUN_VARIABLE,
    RUN_DIRECTORY_VARIABLE,
    say_that_ranks_submit,
)
from ._tracking._run import Run, current_run
from ._versioning import (
    Version,
    VersionManager,
    current_copy,
    find_version_manager,
    job_environment,
    launch_of_this_process,
    original_place,
    record_launch,
    recorded_launch,
    restart,
    runs_from_copy,
)

if TYPE_CHECKING:
    from ._cli._numbers import named_numbers
    from ._operations import (
        end_what_waits,
        reconcile,
        retry_runs,
        runs_to_wait_for,
        signals_break_off,
        wait_for_earlier,
        wait_for_runs,
    )
    from ._operations._annotating import annotate, tagged
    from ._operations._completed import completed_runs, config_key, different_fields
    from ._plugins._dotted import load_class
    from ._plugins._hooks import hookimpl
    from ._plugins._scheduler import JobOutlook, QueuedJob, Scheduler, SubmissionError
    from ._reading import (
        Artifact,
        ConfigList,
        DefaultParser,
        GroupedConfigList,
        Parser,
        QueryError,
        Reader,
        RunRow,
    )
    from ._runs._config import fix_changing_values, plain_config, plain_config_at_another_time
    from ._runs._end_reason import EndReason
    from ._runs._info_file import read_info
    from ._runs._outcome import Outcome, keep_outcome, kept_outcome
    from ._scheduling._dependencies import After, dependency_directives
    from ._scheduling._find_scheduler import find_scheduler
    from ._scheduling._job import Job
    from ._scheduling._local import LocalScheduler
    from ._scheduling._machine_share import DeviceRequest
    from ._scheduling._script import ScriptOptions
    from ._scheduling._submission import Grouping, print_plan, run_names, submit_jobs, where_runs_are
    from ._scheduling._submitit import SUBMITIT
    from ._search._claim import StudyClaim
    from ._search._followed_metric import MetricName, values_of
    from ._search._pruner import RunPruner
    from ._search._run_queue import RunQueue
    from ._search._study import RUN_ATTRIBUTE, SearchStudy, constraints_of, results_of
    from ._search._study_directory import StudyDirectory, make_study_directory
    from ._search._study_results import lines_of_results, write_results
    from ._tracking._rerun_output import writes_to_own_directory
    from ._versioning._frozen_configs import frozen_configs
    from ._versioning._git_manager import GitVM

__all__ = [
    "RERUN_VARIABLE",
    "RUN_ATTRIBUTE",
    "RUN_DIRECTORY_VARIABLE",
    "SUBMITIT",
    "SWEEP_JOB_VARIABLE",
    "After",
    "Artifact",
    "ArtifactType",
    "Attempt",
    "ConfigList",
    "DefaultParser",
    "DeviceRequest",
    "EndReason",
    "GitVM",
    "GroupedConfigList",
    "Grouping",
    "Interrupted",
    "Interruption",
    "InvalidNameError",
    "Job",
    "JobOutlook",
    "Launch",
    "LocalScheduler",
    "Logger",
    "MetricName",
    "MlxpyError",
    "Outcome",
    "ParentRun",
    "Parser",
    "QueryError",
    "QueuedJob",
    "Reader",
    "Run",
    "RunDirectory",
    "RunEndedError",
    "RunPruner",
    "RunQueue",
    "RunRow",
    "Scheduler",
    "ScriptOptions",
    "SearchStudy",
    "Status",
    "StorageError",
    "StudyClaim",
    "StudyDirectory",
    "SubmissionError",
    "UnstorableValueError",
    "Version",
    "VersionManager",
    "annotate",
    "check_tags",
    "completed_runs",
    "config_key",
    "constraints_of",
    "current_copy",
    "current_run",
    "dependency_directives",
    "different_fields",
    "dump_yaml",
    "end_by_signals",
    "end_by_signals_no_more",
    "end_what_waits",
    "exit_code_of",
    "find_scheduler",
    "find_version_manager",
    "first_argument",
    "fix_changing_values",
    "frozen_configs",
    "get_logger",
    "hookimpl",
    "is_run_name",
    "job_environment",
    "keep_outcome",
    "kept_outcome",
    "launch_of_this_process",
    "lines_of_results",
    "load_class",
    "load_yaml",
    "logs_argument",
    "make_study_directory",
    "named_numbers",
    "new_run_directories",
    "next_run_directory",
    "original_place",
    "plain_config",
    "plain_config_at_another_time",
    "print_plan",
    "ranks_set",
    "read_info",
    "reconcile",
    "record_launch",
    "recorded_launch",
    "relative_to_launch",
    "restart",
    "results_of",
    "retry_runs",
    "run_names",
    "runs_from_copy",
    "runs_to_wait_for",
    "say_that_ranks_submit",
    "set_ranks_back",
    "signals_break_off",
    "signals_held",
    "submit_jobs",
    "tagged",
    "take_run",
    "take_run_directory",
    "take_sweep_directory",
    "tell_children",
    "values_of",
    "wait_for_earlier",
    "wait_for_runs",
    "was_joined_by_children",
    "was_started_again",
    "where_runs_are",
    "write_results",
    "writes_to_own_directory",
]

# A program that trains waits neither for pyarrow nor for pluggy, one that reads not for omegaconf.
_LATER = {
    "After": "_scheduling._dependencies",
    "Artifact": "_reading",
    "ConfigList": "_reading",
    "DefaultParser": "_reading",
    "DeviceRequest": "_scheduling._machine_share",
    "EndReason": "_runs._end_reason",
    "GitVM": "_versioning._git_manager",
    "GroupedConfigList": "_reading",
    "Grouping": "_scheduling._submission",
    "Job": "_scheduling._job",
    "JobOutlook": "_plugins._scheduler",
    "LocalScheduler": "_scheduling._local",
    "MetricName": "_search._followed_metric",
    "Outcome": "_runs._outcome",
    "Parser": "_reading",
    "QueryError": "_reading",
    "QueuedJob": "_plugins._scheduler",
    "Reader": "_reading",
    "RunPruner": "_search._pruner",
    "RunQueue": "_search._run_queue",
    "RunRow": "_reading",
    "SUBMITIT": "_scheduling._submitit",
    "Scheduler": "_plugins._scheduler",
    "ScriptOptions": "_scheduling._script",
    "SearchStudy": "_search._study",
    "StudyClaim": "_search._claim",
    "StudyDirectory": "_search._study_directory",
    "SubmissionError": "_plugins._scheduler",
    "annotate": "_operations._annotating",
    "completed_runs": "_operations._completed",
    "config_key": "_operations._completed",
    "constraints_of": "_search._study",
    "dependency_directives": "_scheduling._dependencies",
    "different_fields": "_operations._completed",
    "end_what_waits": "_operations",
    "find_scheduler": "_scheduling._find_scheduler",
    "fix_changing_values": "_runs._config",
    "frozen_configs": "_versioning._frozen_configs",
    "hookimpl": "_plugins._hooks",
    "keep_outcome": "_runs._outcome",
    "kept_outcome": "_runs._outcome",
    "load_class": "_plugins._dotted",
    "make_study_directory": "_search._study_directory",
    "named_numbers": "_cli._numbers",
    "plain_config": "_runs._config",
    "plain_config_at_another_time": "_runs._config",
    "print_plan": "_scheduling._submission",
    "read_info": "_runs._info_file",
    "reconcile": "_operations",
    "results_of": "_search._study",
    "lines_of_results": "_search._study_results",
    "write_results": "_search._study_results",
    "RUN_ATTRIBUTE": "_search._study",
    "retry_runs": "_operations",
    "run_names": "_scheduling._submission",
    "runs_to_wait_for": "_operations",
    "signals_break_off": "_operations",
    "submit_jobs": "_scheduling._submission",
    "tagged": "_operations._annotating",
    "values_of": "_search._followed_metric",
    "wait_for_earlier": "_operations",
    "wait_for_runs": "_operations",
    "where_runs_are": "_scheduling._submission",
    "writes_to_own_directory": "_tracking._rerun_output",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
