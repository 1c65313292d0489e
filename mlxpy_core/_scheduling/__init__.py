"""Schedulers: how a run becomes a script, and how scripts are submitted to a cluster's queue."""

from ._find import BUILT_IN_SCHEDULERS, find_scheduler, known_schedulers
from ._local import LocalScheduler
from ._lsf import LSFScheduler
from ._oar import OARScheduler
from ._pbs import PBSScheduler
from ._plan import print_plan
from ._scheduler import Scheduler, SubmissionError
from ._script import ScriptOptions, ShellLine
from ._settling import settle
from ._sge import SGEScheduler
from ._slurm import SLURMScheduler
from ._submission import Grouping, Job, run_names, submit_jobs
from ._waiting import wait_for_runs

__all__ = [
    "BUILT_IN_SCHEDULERS",
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
    "settle",
    "submit_jobs",
    "wait_for_runs",
]
