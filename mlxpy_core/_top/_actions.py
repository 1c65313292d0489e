"""What is done to the marked runs, as the commands of the same names do it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from mlxpy_core._io._owners import owner_name
from mlxpy_core._operations._annotating import Annotated, annotate, archived, tagged
from mlxpy_core._operations._cancelling import cancel, plan_cancellation
from mlxpy_core._operations._foreign import other_owner
from mlxpy_core._operations._resubmission import claimed_resubmission, plan_resubmission, submit_claimed
from mlxpy_core._reading import Reader
from mlxpy_core._reading._shared_jobs import runs_sharing_jobs
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._run_names import run_names


class Plan(NamedTuple):
    """What is to be done once it is agreed to.

    Attributes:
        question: what is asked; empty: there is nothing to do.
        left: why other runs are left alone, a sentence each.
        act: does it, and returns what was done, a sentence each.
    """

    question: str
    left: Sequence[str]
    act: Callable[[], list[str]]


def plan_to_cancel(logs: Path, log_ids: Sequence[int], reader: Reader) -> Plan:
    """Plans to stop runs."""
    chosen, left = _own(logs, log_ids, "cancel")
    plan = plan_cancellation(chosen)

    def act() -> list[str]:
        done = cancel(plan)
        return [*_said("Cancelled", [run.log_id for run in done.runs]), *done.left]

    sentences = plan.sentences()
    if others := runs_sharing_jobs(reader, plan, chosen):
        sentences.append(f"{run_names(others).capitalize()} will end, too: they share these jobs.")
    question = "\n".join([*sentences, "Cancel?"]) if plan.runs else ""
    return Plan(question, [*left, *plan.left], act)


def plan_to_resubmit(logs: Path, log_ids: Sequence[int]) -> Plan:
    """Plans to have runs that have ended go on; those of this machine are left to the command."""
    chosen, left = _own(logs, log_ids, "resubmit")
    plan = plan_resubmission(chosen)
    left += plan.left
    if plan.here:
        ids = " ".join(str(run.log_id) for run in plan.here)
        left.append(f"what ran on this machine goes on in a terminal of its own: mlxpy resubmit {ids}")
    planned = {job.directory: job.earlier for jobs in plan.jobs.values() for job in jobs}

    def act() -> list[str]:
        with claimed_resubmission(planned) as mine:
            submitted, left = [], list(mine.left)
            for runs, others in submit_claimed(mine):
                submitted += [run.log_id for run in runs]
                left += others
            return [*_said("Submitted", submitted), *left]

    question = ""
    if planned:
        names = run_names(sorted(run.log_id for run in planned)).capitalize()
        their = "its" if len(planned) == 1 else "their"
        question = f"{names} will go on, from where {their} checkpoints are.\nResubmit?"
    return Plan(question, left, act)


def plan_to_archive(logs: Path, log_ids: Sequence[int]) -> Plan:
    """Plans to have listings leave runs out."""
    runs = [RunDirectory(logs / str(log_id)) for log_id in log_ids]
    names = run_names(log_ids).capitalize()
    question = f"{names} will be listed no more (mlxpy archive --undo brings them back).\nArchive?"
    return Plan(question, [], lambda: _annotated("Archived", annotate(runs, archived(True))))


def tag_runs(logs: Path, log_ids: Sequence[int], changes: str) -> list[str]:
    """Changes the tags of runs, by words such as ``+baseline`` and ``-old``; returns what was done.

    Raises:
        MlxpyError: a word is no such change.
    """
    change = tagged(changes.replace(",", " ").split())
    runs = [RunDirectory(logs / str(log_id)) for log_id in log_ids]
    return _annotated("Tagged", annotate(runs, change))


def _annotated(verb: str, done: Annotated) -> list[str]:
    return [*_said(verb, done.runs), *done.left]


def _said(verb: str, log_ids: Sequence[int]) -> list[str]:
    return [f"{verb} {run_names(sorted(log_ids))}."] if log_ids else []


def _own(logs: Path, log_ids: Sequence[int], command: str) -> tuple[list[RunDirectory], list[str]]:
    """Returns the runs whose files may say what is done, and why others are left alone."""
    chosen, left = [], []
    for run in (RunDirectory(logs / str(log_id)) for log_id in log_ids):
        owner = other_owner(run)
        if owner is None:
            chosen.append(run)
        else:
            name = owner_name(owner)
            user = name.removeprefix("user ")
            left.append(
                f"the files of {name} say what is done for run {run.log_id}: "
                f"mlxpy {command} --trust {user} {run.log_id} does it"
            )
    return chosen, left
