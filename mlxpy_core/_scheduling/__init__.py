"""Schedulers: how a run becomes a script, and how scripts are submitted to a cluster's queue."""

from mlxpy_core._plugins._scheduler import Scheduler, SubmissionError

from ._find_scheduler import BUILT_IN_SCHEDULERS, find_scheduler, known_schedulers
from ._job import Job
from ._local import LOCAL, LocalScheduler
from ._lsf import LSFScheduler
from ._oar import OARScheduler
from ._pbs import PBSScheduler
from ._script import ScriptOptions, ShellLine
from ._sge import SGEScheduler
from ._slurm import SLURMScheduler
from ._submission import Grouping, print_plan, run_names, submit_jobs, write_script

__all__ = [
    "BUILT_IN_SCHEDULERS",
    "LOCAL",
    "Grouping",
    "Job",
    "LSFScheduler",
    "LocalScheduler",
    "OARScheduler",
    "PBSScheduler",
    "SGEScheduler",
    "SLURMScheduler",
    "Scheduler",
    "ScriptOptions",
    "ShellLine",
    "SubmissionError",
    "find_scheduler",
    "known_schedulers",
    "print_plan",
    "run_names",
    "submit_jobs",
    "write_script",
]
