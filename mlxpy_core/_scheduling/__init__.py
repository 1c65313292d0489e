"""Schedulers: how a run becomes a script, and how scripts are submitted to a cluster's queue."""

from ._cancelling import Cancellation, cancel, plan_cancellation
from ._find import BUILT_IN_SCHEDULERS, find_scheduler, known_schedulers
from ._local import LocalScheduler
from ._lsf import LSFScheduler
from ._oar import OARScheduler
from ._pbs import PBSScheduler
from ._plan import print_plan
from ._resubmission import Resubmission, plan_resubmission
from ._scheduler import Scheduler, SubmissionError
from ._script import ScriptOptions, ShellLine
from ._settling import LOCAL, Findings, settle, settle_runs
from ._sge import SGEScheduler
from ._slurm import SLURMScheduler
from ._submission import Grouping, Job, noted_job, run_names, submit_jobs, write_script
from ._waiting import wait_for_runs

__all__ = [
    "BUILT_IN_SCHEDULERS",
    "LOCAL",
    "Cancellation",
    "Findings",
    "Grouping",
    "Job",
    "LSFScheduler",
    "LocalScheduler",
    "OARScheduler",
    "PBSScheduler",
    "Resubmission",
    "SGEScheduler",
    "SLURMScheduler",
    "Scheduler",
    "ScriptOptions",
    "ShellLine",
    "SubmissionError",
    "cancel",
    "find_scheduler",
    "known_schedulers",
    "noted_job",
    "plan_cancellation",
    "plan_resubmission",
    "print_plan",
    "run_names",
    "settle",
    "settle_runs",
    "submit_jobs",
    "wait_for_runs",
    "write_script",
]
