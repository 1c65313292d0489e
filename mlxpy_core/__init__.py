"""The engine of mlxpy: run directories, metadata, the logger, schedulers and the reader.

It knows nothing of Hydra. The faces, ``hydra_plugins.mlxpy`` and ``mlxpy``, are built on it and use the
names that are imported here; those of them that are for users are in `mlxpy`, too.
"""

# mypy: implicit-reexport

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
from ._versioning._current_copy import current_copy, job_environment, original_place, runs_from_copy
from ._versioning._find_version_manager import find_version_manager
from ._versioning._launches import launch_of_this_process
from ._versioning._restart import record_launch, recorded_launch, restart
from ._versioning._version_manager import Version, VersionManager

if TYPE_CHECKING:
    from ._cli._numbers import named_numbers
    from ._operations._annotating import annotate, tagged
    from ._operations._breaking_off import signals_break_off
    from ._operations._chaining import end_what_waits, runs_to_wait_for, wait_for_earlier
    from ._operations._completed import completed_runs, config_key, different_fields
    from ._operations._retrying import retry_runs
    from ._operations._waiting import wait_for_runs
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
    from ._runs._run_names import run_names, where_runs_are
    from ._scheduling._dependencies import After, dependency_directives
    from ._scheduling._find_scheduler import find_scheduler
    from ._scheduling._grouping import Grouping
    from ._scheduling._job import Job
    from ._scheduling._local import LocalScheduler
    from ._scheduling._machine_share import DeviceRequest
    from ._scheduling._script import ScriptOptions
    from ._scheduling._submission import print_plan, submit_jobs
    from ._scheduling._submitit import SUBMITIT
    from ._search._claim import StudyClaim
    from ._search._followed_metric import MetricName, values_of
    from ._search._pruner import RunPruner
    from ._search._run_queue import RunQueue
    from ._search._study import RUN_ATTRIBUTE, SearchStudy, constraints_of, results_of
    from ._search._study_directory import make_study_directory
    from ._search._study_results import lines_of_results, write_results
    from ._tracking._rerun_output import writes_to_own_directory
    from ._versioning._frozen_configs import frozen_configs
    from ._versioning._git_manager import GitVM

# A program that trains waits neither for pyarrow nor for pluggy, one that reads not for omegaconf:
# these are imported when they are asked for.
_LATER = {
    "_cli._numbers": ("named_numbers",),
    "_operations._annotating": ("annotate", "tagged"),
    "_operations._breaking_off": ("signals_break_off",),
    "_operations._chaining": ("end_what_waits", "runs_to_wait_for", "wait_for_earlier"),
    "_operations._completed": ("completed_runs", "config_key", "different_fields"),
    "_operations._retrying": ("retry_runs",),
    "_operations._waiting": ("wait_for_runs",),
    "_plugins._dotted": ("load_class",),
    "_plugins._hooks": ("hookimpl",),
    "_plugins._scheduler": ("JobOutlook", "QueuedJob", "Scheduler", "SubmissionError"),
    "_reading": (
        "Artifact",
        "ConfigList",
        "DefaultParser",
        "GroupedConfigList",
        "Parser",
        "QueryError",
        "Reader",
        "RunRow",
    ),
    "_runs._config": ("fix_changing_values", "plain_config", "plain_config_at_another_time"),
    "_runs._end_reason": ("EndReason",),
    "_runs._info_file": ("read_info",),
    "_runs._outcome": ("Outcome", "keep_outcome", "kept_outcome"),
    "_runs._run_names": ("run_names", "where_runs_are"),
    "_scheduling._dependencies": ("After", "dependency_directives"),
    "_scheduling._find_scheduler": ("find_scheduler",),
    "_scheduling._grouping": ("Grouping",),
    "_scheduling._job": ("Job",),
    "_scheduling._local": ("LocalScheduler",),
    "_scheduling._machine_share": ("DeviceRequest",),
    "_scheduling._script": ("ScriptOptions",),
    "_scheduling._submission": ("print_plan", "submit_jobs"),
    "_scheduling._submitit": ("SUBMITIT",),
    "_search._claim": ("StudyClaim",),
    "_search._followed_metric": ("MetricName", "values_of"),
    "_search._pruner": ("RunPruner",),
    "_search._run_queue": ("RunQueue",),
    "_search._study": ("RUN_ATTRIBUTE", "SearchStudy", "constraints_of", "results_of"),
    "_search._study_directory": ("make_study_directory",),
    "_search._study_results": ("lines_of_results", "write_results"),
    "_tracking._rerun_output": ("writes_to_own_directory",),
    "_versioning._frozen_configs": ("frozen_configs",),
    "_versioning._git_manager": ("GitVM",),
}


def __getattr__(name: str) -> Any:
    for module, names in _LATER.items():
        if name in names:
            return getattr(importlib.import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
