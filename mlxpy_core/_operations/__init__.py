"""What is done to runs afterwards: reconciling, waiting, cancelling, resubmission, cleaning."""

from ._breaking_off import signals_break_off
from ._cancelling import Cancellation, cancel, plan_cancellation
from ._chaining import end_what_waits, runs_to_wait_for, submit_again, wait_for_earlier
from ._reconciling import Findings, reconcile, reconcile_runs
from ._recorded_job import recorded_job
from ._resubmission import Resubmission, claimed_resubmission, plan_resubmission, submit_claimed
from ._retrying import Retries, retry_runs
from ._waiting import RunWatch, wait_for_runs

__all__ = [
    "Cancellation",
    "Findings",
    "Resubmission",
    "Retries",
    "RunWatch",
    "cancel",
    "claimed_resubmission",
    "end_what_waits",
    "plan_cancellation",
    "plan_resubmission",
    "reconcile",
    "reconcile_runs",
    "recorded_job",
    "retry_runs",
    "runs_to_wait_for",
    "signals_break_off",
    "submit_again",
    "submit_claimed",
    "wait_for_earlier",
    "wait_for_runs",
]
