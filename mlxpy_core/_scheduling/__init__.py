"""Schedulers: how a run becomes a script, and how scripts are submitted to a cluster's queue."""

from ._find import BUILT_IN_SCHEDULERS, find_scheduler
from ._lsf import LSFScheduler
from ._oar import OARScheduler
from ._pbs import PBSScheduler
from ._scheduler import Scheduler, SubmissionError
from ._script import ScriptOptions
from ._sge import SGEScheduler
from ._slurm import SLURMScheduler
from ._submission import Job, submit_jobs

__all__ = [
    "BUILT_IN_SCHEDULERS",
    "Job",
    "LSFScheduler",
    "OARScheduler",
    "PBSScheduler",
    "SGEScheduler",
    "SLURMScheduler",
    "Scheduler",
    "ScriptOptions",
    "SubmissionError",
    "find_scheduler",
    "submit_jobs",
]
