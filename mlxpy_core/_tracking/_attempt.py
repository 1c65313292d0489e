"""An attempt that this process is about to make: at which run, as which job, after which others."""

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mlxpy_core._errors import MlxpyError, StorageError
from mlxpy_core._runs._directory import RunDirectory, discard_run_directory, leave_run_directory
from mlxpy_core._runs._info import (
    CONTAINER_VARIABLE,
    RUN_ID_VARIABLE,
    JobIdentity,
    begin_attempt,
    set_killed,
    set_noted_end,
)
from mlxpy_core._runs._info_file import read_info, read_info_to_continue
from mlxpy_core._runs._launch import Launch
from mlxpy_core._runs._process import died_here, lives_here
from mlxpy_core._runs._run_claims import RunClaim, claim_attempt
from mlxpy_core._runs._status import Status

from ._held_directory import temporary_directory
from ._placement import RERUN_VARIABLE, RUN_DIRECTORY_VARIABLE, Place, given_directory, place_run


@dataclass(frozen=True)
class Attempt:
    """What `Run.start` goes on from.

    Attributes:
        directory: the run's directory, which exists.
        rank: the number of this process, where several are one run.
        number: which run of this process it is, from 0.
        info: what info.yaml holds of the earlier attempts; empty for a new run.
        job: the scheduler's job that this process belongs to.
        contested: whether a process of an earlier attempt may still write.
        claim: the right to begin the attempt; rank 0's.
        rerun_of: the directory of the run that this one makes again, if it was started to do so.
        begun: whether rank 0 has begun the attempt already, where this is another rank.
        requested: what the job was given of this machine.
        devices: which GPUs and processors it has for itself.
        container: the image of the container that its script has started for it.
    """

    directory: RunDirectory
    rank: int
    number: int
    info: dict[str, Any]
    job: JobIdentity | None
    contested: bool
    claim: RunClaim | None
    rerun_of: str | None = None
    begun: bool = False
    requested: dict[str, int] = field(default_factory=dict)
    devices: dict[str, str] = field(default_factory=dict)
    container: str | None = None

    def begin(self, launch: Launch) -> dict[str, Any]:
        """Returns what info.yaml is to hold from now on."""
        if self.begun:
            return self.info
        return begin_attempt(
            self.info,
            self.directory,
            launch,
            self.job,
            self.requested,
            self.devices,
            self.container,
        )

    @contextlib.contextmanager
    def taken_up(self) -> Iterator[None]:
        """Releases the claim when the attempt has begun, or discards the attempt if it could not.

        Raises:
            StorageError: the file system refused.
        """
        try:
            yield
        except BaseException as error:
            self.discard()
            if isinstance(error, OSError) and not isinstance(error, StorageError):
                what = "continue" if self.info else "start"
                raise StorageError(f"cannot {what} the run in {self.directory.path}", error) from error
            raise
        self._release()

    def discard(self) -> None:
        """Releases the claim of an attempt that is not made; of a new run nothing is left."""
        if not self.info and not self.rank:
            discard_run_directory(self.directory)  # as long as nobody else can claim it
        self._release()

    def _release(self) -> None:
        if self.claim:
            self.claim.release()


def take_run(parent_log_dir: Path, forced_log_id: int = -1, ranks: str = "auto") -> Attempt:
    """Takes the run that this process starts now: a new one, or the next attempt at one that is there.

    Args:
        parent_log_dir: the directory of all runs.
        forced_log_id: the number of the run to continue; -1 for a new one.
        ranks: ``off`` has each process be a run of its own; ``auto`` looks whether it is a rank.

    Raises:
        MlxpyError: the run is still running on this machine, or its info.yaml is damaged.
        StorageError: its directory cannot be made or read.
    """
    # Programs that the run starts are others.
    told = (RUN_ID_VARIABLE, RERUN_VARIABLE, CONTAINER_VARIABLE)
    run_id, rerun_of, container = (os.environ.pop(name, None) for name in told)
    given = given_directory(parent_log_dir, forced_log_id)
    try:
        if run_id and given and not _is_run(given, run_id):
            os.environ.pop(RUN_DIRECTORY_VARIABLE, None)
            return open_attempt(Place(_without_its_directory(given)))
        place = place_run(parent_log_dir, forced_log_id, ranks)
        attempt = open_attempt(place, by_script=run_id is not None)
        return replace(attempt, rerun_of=rerun_of, container=container)
    except OSError as error:
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"cannot start a run in {parent_log_dir}", error) from error


def open_attempt(place: Place, *, by_script: bool = False) -> Attempt:
    """Claims the next attempt at the run in a directory; see `take_run`.

    Args:
        place: where the run belongs.
        by_script: whether the run's script has started this process.
    """
    directory, rank = place.directory, place.rank
    if rank:  # who else may still write, only rank 0 can tell
        info = read_info_to_continue(directory)
        begun = place.rank_0 is not None and place.rank_0.has_begun(info)
        job = _job(info, by_script)
        return Attempt(directory, rank, place.number, info, job, contested=True, claim=None, begun=begun)
    try:
        claim = claim_attempt(directory)
    except BaseException:
        leave_run_directory(directory)
        raise
    try:
        job = _job(claim.info, by_script)
        contested = _end_last_attempt(claim.info, directory, job)
    except BaseException:
        discard_run_directory(directory)
        claim.release()
        raise
    from mlxpy_core._scheduling._this_job import devices_of_this_job, requested_by_this_job  # as in _job

    return Attempt(
        directory,
        rank,
        place.number,
        claim.info,
        job,
        contested=contested,
        claim=claim,
        requested=requested_by_this_job(directory) if job else {},
        devices=devices_of_this_job(_scheduler_name(claim.info)),
    )


def _job(info: dict[str, Any], by_script: bool) -> JobIdentity | None:
    # Not at the start of every program that only imports mlxpy.
    from mlxpy_core._scheduling._this_job import job_of_this_process

    return job_of_this_process(_scheduler_name(info), by_script=by_script)


def _scheduler_name(info: dict[str, Any]) -> str | None:
    name: str | None = (info.get("scheduler") or {}).get("name")
    return name


def _is_run(directory: RunDirectory, run_id: str) -> bool:
    info = read_info(directory)
    return info is not None and info.get("run_id") in (None, run_id)  # None: of an earlier mlxpy


def _without_its_directory(directory: RunDirectory) -> RunDirectory:
    """Makes a temporary directory for a run whose own was moved or removed while its job waited."""
    temporary = temporary_directory(directory)
    print(
        f"mlxpy: the directory {directory.path} of run {directory.log_id} was moved, removed or "
        f"replaced while its job waited: nothing is logged there, what the program writes is in "
        f"{temporary.path}",
        file=sys.stderr,
    )
    return temporary


def _end_last_attempt(info: dict[str, Any], directory: RunDirectory, job: JobIdentity | None) -> bool:
    """Puts KILLED into the info for an attempt that left no final status; refuses beside one that lives.

    Returns:
        Whether its process may live all the same, where it cannot be seen from here.
    """
    if not info.get("attempts") or info["attempts"][-1]["status"] != Status.RUNNING.value:
        return False
    if set_noted_end(info, directory):
        return False
    last = info["attempts"][-1]
    put_back = job is not None and job.job_id is not None and last["job_id"] == job.job_id
    if lives_here(last) and not put_back:
        raise MlxpyError(
            f"run {directory.log_id} in {directory.path.parent} is still running on this machine "
            f"(process {last['process_id']}): wait for its end or stop it before continuing it"
        )
    set_killed(info, directory)
    return not died_here(last)
