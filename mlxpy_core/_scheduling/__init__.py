"""Schedulers: how a run becomes a script, and how scripts are submitted to a cluster's queue."""

from ._oar import OARScheduler
from ._scheduler import Scheduler, SubmissionError
from ._script import ScriptOptions
from ._slurm import SLURMScheduler
from ._submission import Job, submit_jobs

BUILT_IN_SCHEDULERS: dict[str, type[Scheduler]] = {
    scheduler.__name__: scheduler for scheduler in (OARScheduler, SLURMScheduler)
}

__all__ = [
    "BUILT_IN_SCHEDULERS",
    "Job",
    "OARScheduler",
    "SLURMScheduler",
    "Scheduler",
    "ScriptOptions",
    "SubmissionError",
    "submit_jobs",
]
