"""Schedulers: how a run becomes a script, and how scripts are submitted to a cluster's queue."""

from ._local import LocalScheduler
from ._oar import OARScheduler
from ._scheduler import Scheduler, SubmissionError
from ._script import ScriptOptions
from ._settling import settle
from ._slurm import SLURMScheduler
from ._submission import Grouping, Job, run_names, submit_jobs
from ._waiting import wait_for_runs

BUILT_IN_SCHEDULERS: dict[str, type[Scheduler]] = {
    scheduler.__name__: scheduler for scheduler in (LocalScheduler, OARScheduler, SLURMScheduler)
}

__all__ = [
    "BUILT_IN_SCHEDULERS",
    "Grouping",
    "Job",
    "LocalScheduler",
    "OARScheduler",
    "SLURMScheduler",
    "Scheduler",
    "ScriptOptions",
    "SubmissionError",
    "run_names",
    "settle",
    "submit_jobs",
    "wait_for_runs",
]
