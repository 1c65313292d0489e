"""Which run of rank 0's a process of another rank joins.

It waits until rank 0 has started a run of the same program with the same arguments:

- not one that ended before this process started, unless its number was given and the launch is the same
  step of Slurm or mpirun (a rank may be late), or it follows the one that this rank has joined before in
  that launch: of programs that run one after the other, a rank may be one behind;
- not one that this rank has joined before, with the same program;
- where rank 0 runs the program with other arguments, or another program that is all its task, this
  process is one of a farm of experiments and gets a run of its own;
- where rank 0 does not appear, the wait ends with an error.

A program that a run has started again for another rank joins that run.
"""

import os
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from mlxpy_core._errors import MlxpyError
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._info_file import read_info
from mlxpy_core._runs._parent_run import ParentRun
from mlxpy_core._runs._process import describe_process, died_here, is_same_process, start_time
from mlxpy_core._runs._ranks import SWITCH, fate_of_rank_0
from mlxpy_core._runs._status import ENDED, Status

from ._meetings import Member, RankZero, note_joined, notes_in, say_once, was_started_again

# How long the others wait for rank 0, in seconds.
_PATIENCE_VARIABLE = "MLXPY_PATIENCE_S"
_PATIENCE_S = 600
_LOOK_S, _LONGEST_LOOK_S = 0.02, 0.5
_LOOK_AROUND_S = 2  # between looks at the processes of this machine
_TELL_S = 5  # after which a wait is told of
_OFF = f"{SWITCH}=off makes each process a run of its own"
_HOST = ("host", "machine_id", "process_namespace")
# The process of rank 0 whose runs this process joins; None if it joins none.
_followed: dict[str, Any] | None = None


def join(
    parent_log_dir: Path, forced_log_id: int, member: Member, number: int
) -> tuple[RunDirectory, RankZero] | None:
    """Waits for rank 0's run and returns its directory; None if this process is a run of its own.

    Args:
        parent_log_dir: the directory of all runs.
        forced_log_id: the number of the run that this process is said to be; -1 if none was given.
        member: this process.
        number: which run of this process is to be placed.
    """
    global _followed
    parent_run = was_started_again()
    if number == 0 and parent_run:
        _followed = parent_run.process
        return _parents_run(parent_log_dir, member, parent_run), RankZero(parent_run.process)
    if number and _followed is None:
        return None  # as the first run
    patience = float(os.environ.get(_PATIENCE_VARIABLE, _PATIENCE_S))
    start = time.monotonic()
    rank = member.claim.rank
    sure = forced_log_id != -1
    looked = 0.0
    waiting = f"this waits for rank 0, since it is rank {rank}: {member.claim.sentence}; {_OFF}"
    earlier = [said for folder in member.folders for said in notes_in(folder / str(rank)).values()]
    joined = [said["joined"] for said in earlier]
    wanted = number + (parent_run.number if parent_run else 0)
    while (waited := time.monotonic() - start) < patience:
        all_runs = _runs_of_rank_0(member)
        runs = {name: said for name, said in all_runs.items() if name not in joined}
        over = {
            name for name, said in runs.items() if _is_over(parent_log_dir, forced_log_id, member, said)
        }
        over -= {_next_in_sequence(member, all_runs, joined)}
        for name, said in runs.items():
            if name in over or (number and not is_same_process(said["process"], _followed or {})):
                continue
            if said["number"] == wanted and said["program"] == member.program:
                _followed = said["process"]
                note_joined(member, name)
                if rank == 1 and not sure and member.claim.launcher not in ("torchrun", "mpirun"):
                    say_once(
                        f"this is rank 1 of run {said['log_id']}: {member.claim.sentence}, "
                        f"and rank 0 has the same command; {_OFF}"
                    )
                directory = RunDirectory(parent_log_dir / str(said["log_id"]))
                return directory, RankZero(said["process"], float(said["time"]))
        # What is over may be an earlier launch's.
        known = [said for name, said in runs.items() if name not in over or _is_certain(member, said)]
        reason = _why_apart(member, earlier, known)
        if reason is None and waited >= looked + _LOOK_AROUND_S:
            looked = waited
            ids = [said["process"]["process_id"] for said in all_runs.values()]
            reason = fate_of_rank_0(member.claim, ids)
        if number == 0 and reason:
            note_joined(member, None)
            say_once(f"this is a run of its own, not rank {rank} of another: {reason}")
            return None
        if waited > _TELL_S:
            say_once(waiting)
        time.sleep(min(_LONGEST_LOOK_S, max(_LOOK_S, waited / 20)))
    say_once(waiting)
    raise MlxpyError(
        f"the process of rank 0 has not started a run in {parent_log_dir} within {patience:g} s: "
        "look at what it printed"
    )


def _parents_run(parent_log_dir: Path, member: Member, parent_run: ParentRun) -> RunDirectory:
    directory = RunDirectory(Path(parent_run.directory))
    last = _last_attempt(directory)
    if last and (_ended_before_this_process(last) or not is_same_process(last, parent_run.process)):
        raise MlxpyError(
            f"run {directory.log_id} in {directory.path.parent} has ended, "
            f"of which this process was started as rank {member.claim.rank}"
        )
    note_joined(member, parent_run.directory)
    return directory


def _why_apart(member: Member, earlier: list[dict[str, Any]], known: list[dict[str, Any]]) -> str | None:
    """Says why this process is no rank of any run of rank 0's; None if rank 0 may still start one."""
    firsts = [said for said in known if said["number"] == 0]
    of_main = [said for said in firsts if said["main"] == member.main]
    if any(said["program"] != member.program for said in of_main):
        return "rank 0 has another command"
    if of_main:
        return f"run {of_main[0]['log_id']} of rank 0 ended before this process started"
    if member.claim.launch_has_name and any(
        said["main"] == member.main and said["joined"] is None for said in earlier
    ):
        return "rank 0 had another command before"
    if any(said["whole_task"] for said in firsts):
        return "rank 0 runs another program"
    return None


def _next_in_sequence(
    member: Member, runs: Mapping[str, Mapping[str, Any]], joined: list[str | None]
) -> str | None:
    """Returns the run of rank 0's after the last that this rank has joined in a launch of its own name.

    Where the ranks run several programs one after the other, one may be a program behind.
    """
    programs = [name for name, said in runs.items() if said["number"] == 0]
    places = [programs.index(name) for name in joined if name in programs]
    following = programs[max(places) + 1 :] if places and member.claim.launch_has_name else []
    return following[0] if following else None


def _runs_of_rank_0(member: Member) -> dict[str, dict[str, Any]]:
    """Returns what rank 0 has said of its runs, the oldest first."""
    found = {
        str(path): said for folder in member.folders for path, said in notes_in(folder / "0").items()
    }
    return {
        name: said
        for name, said in sorted(found.items(), key=lambda item: float(item[1]["time"]))
        if float(said["time"]) >= member.since and _may_be_of_this_launch(member, said)
    }


def _may_be_of_this_launch(member: Member, said: Mapping[str, Any]) -> bool:
    # MPICH gives its launches no name: those of one host are told apart by what started them.
    here = describe_process()
    return (
        "PMI_RANK" not in member.claim.variables
        or any(said["process"][key] != here[key] for key in _HOST)
        or _has_launcher_of(member, said)
    )


def _is_certain(member: Member, said: Mapping[str, Any]) -> bool:
    """Returns whether a run of rank 0's was started by this very launch."""
    if "PMI_RANK" in member.claim.variables:
        return _has_launcher_of(member, said)
    return member.claim.launch_has_name


def _has_launcher_of(member: Member, said: Mapping[str, Any]) -> bool:
    if not (said["launcher"] and member.launcher):
        return False
    return is_same_process(said["launcher"], member.launcher[0])


def _is_over(parent_log_dir: Path, forced_log_id: int, member: Member, said: Mapping[str, Any]) -> bool:
    """Returns whether a run of rank 0's ended before this process started, or its process has died."""
    last = _last_attempt(RunDirectory(parent_log_dir / str(said["log_id"])))
    if last and not is_same_process(last, said["process"]):
        # What an earlier attempt, or somebody later, has left.
        return datetime.fromisoformat(last["start"]).timestamp() > float(said["time"])
    if said["log_id"] == forced_log_id and _is_certain(member, said):
        return False  # a short program may have ended before the other tasks of its job start
    if last and Status(last["status"]) in ENDED:
        return _ended_before_this_process(last)
    return died_here(dict(said["process"]))


def _last_attempt(directory: RunDirectory) -> dict[str, Any] | None:
    info = read_info(directory)
    return info["attempts"][-1] if info and info["attempts"] else None


def _ended_before_this_process(attempt: Mapping[str, Any]) -> bool:
    if not attempt["end"]:
        return False
    return datetime.fromisoformat(attempt["end"]).timestamp() < start_time(os.getpid())
