"""Which directory a run of this process gets; processes that were started together share one.

Rank 0 takes the directory and tells the others (`_meetings`), who join it where they belong to it
(`_joining`). `_ranks` tells who is a rank.
"""

import contextlib
import itertools
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._files import write_whole
from mlxpy_core._runs._directory import (
    RunDirectory,
    is_run_name,
    leave_run_directory,
    take_run_directory,
)
from mlxpy_core._runs._process import describe_process, is_same_process
from mlxpy_core._runs._ranks import (
    SWITCH,
    Claim,
    claim_of_this_process,
    doubt_of_this_process,
    ranks_count,
    sets_ranks_itself,
)
from mlxpy_core._runs._start_of_process import digest, main_file, program_digest

from ._joining import join
from ._meetings import (
    Member,
    RankZero,
    family_of,
    meeting_of,
    member_of_this_process,
    publish,
    read_note,
    say_once,
    tell_subprocesses,
    was_joined_by_children,
)

# Where the next run of this process is to be: set by whoever starts the program as that run.
RUN_DIRECTORY_VARIABLE = "MLXPY_RUN_DIRECTORY"
# The directory of the run that the next run of this process makes again: set by who starts it so.
RERUN_VARIABLE = "MLXPY_RERUN_OF"
_runs_of_this_process = itertools.count()


@dataclass(frozen=True)
class Place:
    """Where a run of this process belongs.

    Attributes:
        directory: its directory, which exists.
        rank: which of the run's ranks this process is.
        number: which run of this process it is, from 0.
        rank_0: the process of rank 0, where this is another one.
    """

    directory: RunDirectory
    rank: int = 0
    number: int = 0
    rank_0: RankZero | None = None


def say_that_ranks_submit(ranks: str = "auto") -> None:
    """Says on ranks other than 0 that each rank submits jobs of its own.

    Args:
        ranks: as for `take_run`.

    Raises:
        MlxpyError: it is neither of the two.
    """
    claim = claim_of_this_process() if ranks_count(ranks) else None
    if claim and claim.rank:
        say_once(
            f"this is rank {claim.rank}, and each rank submits jobs of its own: {claim.sentence}; "
            f"start the launcher as one process, or separate sweeps with {SWITCH}=off"
        )


def place_run(parent_log_dir: Path, forced_log_id: int = -1, ranks: str = "auto") -> Place:
    """Returns the directory of the run that this process starts now, and makes it; see `take_run`.

    Raises:
        MlxpyError: the directory was given wrongly, or the process that takes it does not appear.
        StorageError: the directory cannot be made.
    """
    number = next(_runs_of_this_process)
    place = _placed(parent_log_dir, forced_log_id, ranks, number)
    if number:
        tell_subprocesses(parent_log_dir, place.directory)
    return place


def _placed(parent_log_dir: Path, forced_log_id: int, ranks: str, number: int) -> Place:
    given = given_directory(parent_log_dir, forced_log_id)
    # Only this run: a program that the run starts is another one.
    if os.environ.pop(RUN_DIRECTORY_VARIABLE, None) and given:
        parent_log_dir, forced_log_id = given.path.parent, given.log_id
    if not ranks_count(ranks):
        return Place(take_run_directory(parent_log_dir, forced_log_id), number=number)
    member = member_of_this_process(parent_log_dir)
    if member and member.claim.rank > 0:
        joined = join(parent_log_dir, forced_log_id, member, number)
        if joined:
            return Place(joined[0], member.claim.rank, number, joined[1])
    elif member:
        return Place(_take_for_all(parent_log_dir, forced_log_id, member, number), number=number)
    elif doubt := doubt_of_this_process():
        say_once(f"{doubt}: this is a run of its own; {SWITCH}=off says so, too")
    directory = take_run_directory(parent_log_dir, forced_log_id)
    if member is None:
        with _left_on_error(directory):
            _publish_to_children(parent_log_dir, directory, number)
    return Place(directory, number=number)


@contextlib.contextmanager
def _left_on_error(directory: RunDirectory) -> Iterator[None]:
    try:
        yield
    except BaseException:
        leave_run_directory(directory)
        raise


def given_directory(parent_log_dir: Path, forced_log_id: int) -> RunDirectory | None:
    """Returns the directory that a run of this process is told to use; None if it takes a new one.

    Raises:
        MlxpyError: what it is told is no directory of a run.
    """
    if given := os.environ.get(RUN_DIRECTORY_VARIABLE):
        if not (os.path.isabs(given) and is_run_name(os.path.basename(given))):
            raise MlxpyError(
                f"{RUN_DIRECTORY_VARIABLE}={given!r} is no absolute path of a run's directory"
            )
        return RunDirectory(Path(given))
    return RunDirectory(parent_log_dir / str(forced_log_id)) if forced_log_id > 0 else None


def _take_for_all(parent_log_dir: Path, forced_log_id: int, member: Member, number: int) -> RunDirectory:
    """Takes the directory and tells the others; workers that torchrun starts again keep theirs."""
    taken = None
    if member.claim.launcher == "torchrun" and member.launcher:
        agent, worker = member.launcher
        name = digest([*agent.values(), member.program, number])
        taken = parent_log_dir / ".mlxpy" / "together" / "agents" / name
        earlier = read_note(taken, parent_log_dir)
        # The same worker's second program is no restart.
        if forced_log_id == -1 and earlier and not is_same_process(earlier["worker"], worker):
            forced_log_id = int(earlier["log_id"])
    directory = take_run_directory(parent_log_dir, forced_log_id)
    with _left_on_error(directory):
        if taken and member.launcher:
            noted = {"log_id": directory.log_id, "worker": member.launcher[1]}
            write_whole(taken, json.dumps(noted), parent_log_dir)
        publish(member.folders[0], member, directory, number)
    return directory


def _publish_to_children(parent_log_dir: Path, directory: RunDirectory, number: int) -> None:
    """Tells the processes that this one has started for other ranks, before this run of its own."""
    claim = sets_ranks_itself()
    folders = [meeting_of(parent_log_dir, claim.group)] if claim else []
    if number and was_joined_by_children(parent_log_dir):
        folders.append(meeting_of(parent_log_dir, family_of(describe_process())))
    for folder in folders:
        claim = claim or Claim(0, 0, "hand", {}, ())
        member = Member(claim, folders, None, program_digest(), digest([main_file()]))
        publish(folder, member, directory, number)
