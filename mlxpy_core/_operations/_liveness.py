"""Whether the processes of a run live, as far as this machine can tell."""

from collections.abc import Mapping
from typing import Any

from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._process import died_here, group_lives, lives_here, noted_process
from mlxpy_core._runs._status import Status
from mlxpy_core._scheduling._dependencies import job_id_of
from mlxpy_core._scheduling._local import LOCAL


def last_attempt(info: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what an info holds of the last attempt; nothing if there was none."""
    attempts: list[dict[str, Any]] = info["attempts"]
    return attempts[-1] if attempts else {}


def program_lives(info: Mapping[str, Any]) -> bool:
    """Returns whether the process of a run that is RUNNING is known to live on this machine."""
    return info["status"] == Status.RUNNING.value and lives_here(last_attempt(info))


def died_on_this_machine(directory: RunDirectory, info: Mapping[str, Any]) -> bool:
    """Returns whether a run that no queue has, and that has no final status, is known to be dead."""
    attempt = last_attempt(info)
    if info["status"] == Status.RUNNING.value:
        return died_here(attempt) or (bool(attempt.get("container")) and _container_ended(directory))
    if info["status"] == Status.INTERRUPTED.value:  # no queue puts what ran on this machine back
        return not lives_here(attempt)
    if info["status"] != Status.SUBMITTED.value or not died_submitting(info):
        return False
    # What was to run on this machine ends with the launcher that was to start it; but for the scripts
    # that it had started.
    script = noted_process(directory)
    return script is None or died_here(script)


def _container_ended(directory: RunDirectory) -> bool:
    """Returns whether what started a container on this machine has ended.

    Its processes may have numbers of their own. A script may end sooner than what it has started.
    """
    script = noted_process(directory)
    return script is not None and died_here(script) and not group_lives([script["process_id"]])


def is_lost(directory: RunDirectory, info: Mapping[str, Any]) -> bool:
    """Returns whether a run, which is reconciled, waits without being in a queue.

    Its submitter has died, and no job of the scheduler was found to be the run's.
    """
    if info["status"] != Status.SUBMITTED.value or not died_submitting(info):
        return False
    scheduler = info["scheduler"] or {"name": LOCAL}
    if scheduler["name"] == LOCAL:
        return died_on_this_machine(directory, info)
    return job_id_of(directory, info) is None


def died_submitting(info: Mapping[str, Any]) -> bool:
    """Returns whether the process that submitted a run, which waits, is known to have ended."""
    submitter = (info["scheduler"] or info).get("submitter")
    return isinstance(submitter, dict) and died_here(submitter)
