"""What is done to runs afterwards: reconciling, waiting, cancelling, resubmission, cleaning."""

from ._breaking_off import signals_break_off
from ._cancelling import Cancellation, cancel, plan_cancellation
from ._reconciling import Findings, reconcile, reconcile_runs
from ._recorded_job import recorded_job
from ._resubmission import Resubmission, claimed_resubmission, plan_resubmission, submit_again
from ._waiting import RunWatch, wait_for_runs

__all__ = [
    "Cancellation",
    "Findings",
    "Resubmission",
    "RunWatch",
    "cancel",
    "claimed_resubmission",
    "plan_cancellation",
    "plan_resubmission",
    "reconcile",
    "reconcile_runs",
    "recorded_job",
    "signals_break_off",
    "submit_again",
    "wait_for_runs",
]
