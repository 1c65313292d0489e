"""Schedulers: how a run becomes a script, and how scripts are submitted to a cluster's queue."""

from ._find import BUILT_IN_SCHEDULERS, find_scheduler
from ._oar import OARScheduler
from ._scheduler import Scheduler, SubmissionError
from ._script import ScriptOptions
from ._slurm import SLURMScheduler
from ._submission import Job, submit_jobs

__all__ = [
    "BUILT_IN_SCHEDULERS",
    "Job",
    "OARScheduler",
    "SLURMScheduler",
    "Scheduler",
    "ScriptOptions",
    "SubmissionError",
    "find_scheduler",
    "submit_jobs",
]
