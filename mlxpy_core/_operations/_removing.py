"""Moves runs to the trash and back, and empties it.

A rename moves a run: it is there whole, or in the trash whole. Its number is noted before, so that no
run gets it again.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mlxpy_core._errors import MlxpyError, StorageError
from mlxpy_core._io._interrupts import signals_held
from mlxpy_core._io._links import held_folder, opened_folder
from mlxpy_core._io._temporary import TEMPORARY_PATTERN, temporary_path
from mlxpy_core._runs._directory import RunDirectory, is_run_name
from mlxpy_core._runs._info import last_written
from mlxpy_core._runs._info_file import read_info, read_info_to_rerun
from mlxpy_core._runs._run_claims import claim_attempt, claim_operation
from mlxpy_core._runs._status import Status, is_final
from mlxpy_core._runs._trash import note_removal, trash_of

from ._cleaning import Leftovers, add_copies, holds_array_of_others, named_copy, runs_in_trash
from ._reconciling import reconcile_runs

# What says nothing of whether it lives has not been written to for so long.
_STILL_S = 24 * 3600


@dataclass
class Removal:
    """Which runs can go.

    Attributes:
        runs: those that can, with the status of each; None where it is not known.
        left: why others are left alone, a sentence each.
        troubles: what could not be found out, a sentence each.
    """

    runs: dict[RunDirectory, Status | None] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)


def plan_removal(runs: Sequence[RunDirectory]) -> Removal:
    """Reconciles runs and finds those that can be removed; nothing is done yet."""
    findings = reconcile_runs(runs)
    plan = Removal(troubles=findings.troubles)
    for run in runs:
        with _each_for_itself(run.log_id, plan.left):
            plan.runs[run] = _removable(run, findings.statuses)
    return plan


@contextmanager
def _each_for_itself(log_id: int, left: list[str]) -> Iterator[None]:
    """Leaves a run alone that cannot be removed or restored, and adds why."""
    try:
        yield
    except MlxpyError as reason:
        left.append(str(reason))
    except OSError as error:
        left.append(f"run {log_id} cannot be moved: {error.strerror}")


def _removable(run: RunDirectory, statuses: Mapping[RunDirectory, Status]) -> Status | None:
    """Returns the status of a run that can be removed.

    Raises:
        MlxpyError: it cannot, and why.
    """
    info = read_info_to_rerun(run)
    status = None
    if info is not None:
        # What is another user's is reconciled, and not written.
        status = statuses.get(run, Status(info["status"]))
        if not is_final({**info, "status": status.value}):
            waits = "waits in a queue" if status is Status.SUBMITTED else "may go on"
            raise MlxpyError(f"run {run.log_id} is {status.value} and {waits}: cancel it first")
    elif time.time() - max(last_written(run), _changed(run.path)) < _STILL_S:
        raise MlxpyError(
            f"run {run.log_id} says nothing of whether it lives, and was written to in the last day"
        )
    if holds_array_of_others(run):
        raise MlxpyError(
            f"the directory of run {run.log_id} holds the script of an array whose runs have not all "
            "ended"
        )
    return status


def _changed(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0


def remove_runs(plan: Removal) -> list[int]:
    """Moves runs of a plan to the trash; those that have gone on meanwhile are left alone.

    Returns:
        The numbers of those that were moved; why others were not is added to the plan.
    """
    removed = []
    for run in plan.runs:
        with _each_for_itself(run.log_id, plan.left), signals_held():
            _remove(run)
            removed.append(run.log_id)
    return removed


def _remove(run: RunDirectory) -> None:
    with ExitStack() as claims:
        if read_info_to_rerun(run) is not None:
            # No process begins an attempt or a submission meanwhile.
            claims.callback(claim_operation(run, "submission").release)
            claims.callback(claim_attempt(run).release)
            _removable(run, reconcile_runs([run]).statuses)
        note_removal(run.logs, run.log_id)
        _move(run.path, trash_of(run.logs) / run.path.name, run.logs)
        moved = RunDirectory(trash_of(run.logs) / run.path.name)
    _drop_claims(moved)


def _drop_claims(run: RunDirectory) -> None:
    """Removes claims that were moved with their run."""
    with contextlib.suppress(OSError), held_folder(run.state, run.logs) as state:
        for claim in state.glob("claim-*"):
            shutil.rmtree(claim, ignore_errors=True)


def _move(path: Path, target: Path, logs: Path) -> None:
    """Moves a run's directory, or the link to it.

    Raises:
        OSError: the file system refused, or there is something at the target.
    """
    with opened_folder(path.parent, logs) as here, opened_folder(target.parent, logs) as there:
        if os.path.lexists(target):  # an empty directory would be replaced
            raise MlxpyError(f"{target} is there already: move it away first")
        os.rename(path.name, target.name, src_dir_fd=here, dst_dir_fd=there)


def restore_runs(logs: Path, log_ids: Iterable[int]) -> tuple[list[int], list[str]]:
    """Moves runs back from the trash.

    Returns:
        The numbers of those that were moved, and why others were not, a sentence each.
    """
    restored: list[int] = []
    left: list[str] = []
    for log_id in log_ids:
        with _each_for_itself(log_id, left):
            try:
                _move(trash_of(logs) / str(log_id), logs / str(log_id), logs)
            except FileNotFoundError:
                raise MlxpyError(f"there is no run {log_id} in the trash") from None
            restored.append(log_id)
    return restored, left


def copies_of_trash(logs: Path, others: Iterable[RunDirectory]) -> Leftovers:
    """Finds the copies of code that no other runs need once the trash is empty."""
    removed = runs_in_trash(logs)
    found = Leftovers()
    add_copies(found, removed, [])
    if found.copies:
        named = {named_copy(read_info(run) or {}) for run in others}
        found.copies = [copy for copy in found.copies if str(copy) not in named]
    found.kept.clear()
    return found


def empty_trash(logs: Path) -> int:
    """Removes for good what is in the trash; returns how many runs.

    Each is renamed first: what is half removed is not restored.

    Raises:
        StorageError: the file system refused.
    """
    try:
        with held_folder(trash_of(logs), logs) as trash:
            return _empty(trash)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise StorageError(f"cannot empty {trash_of(logs)}", error) from error


def _empty(trash: Path) -> int:
    count = 0
    for name in filter(is_run_name, os.listdir(trash)):
        doomed = temporary_path(trash / name)
        os.rename(trash / name, doomed)
        count += 1
        _remove_for_good(doomed)
    for doomed in trash.glob(TEMPORARY_PATTERN):  # of an earlier process that was killed
        _remove_for_good(doomed)
    return count


def _remove_for_good(doomed: Path) -> None:
    try:
        doomed.unlink() if doomed.is_symlink() else shutil.rmtree(doomed)
    except OSError:
        with contextlib.suppress(FileNotFoundError):  # another process empties the trash, too
            doomed.lstat()
            raise
