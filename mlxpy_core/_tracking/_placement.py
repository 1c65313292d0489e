"""Which directory a run of this process gets; processes that were started together share one.

Rank 0 takes the directory and writes what it runs to ``.mlxpy/together/<launch>/0/``. Another rank waits
until rank 0 has started a run of the same program with the same arguments, and joins it:

- not one that ended before this process started, unless its number was given and the launch is the same
  step of Slurm or mpirun (a rank may be late), or it follows the one that this rank has joined before in
  that launch: of programs that run one after the other, a rank may be one behind;
- not one that this rank has joined before, with the same program;
- where rank 0 runs the program with other arguments, or another program that is all its task, this
  process is one of a farm of experiments and gets a run of its own;
- where rank 0 does not appear, the wait ends with an error.

`_ranks` tells who is a rank. A program that a run has started again for another rank joins that run.
"""

import contextlib
import itertools
import json
import os
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._files import read_own, write_unsynced, write_whole
from mlxpy_core._io._retries import Retries
from mlxpy_core._runs._directory import (
    RunDirectory,
    is_run_name,
    leave_run_directory,
    make_results_directory,
    take_run_directory,
)
from mlxpy_core._runs._info_file import read_info
from mlxpy_core._runs._process import (
    describe_living_process,
    describe_process,
    died_here,
    is_same_process,
    start_time,
)
from mlxpy_core._runs._ranks import (
    SWITCH,
    Claim,
    ParentRun,
    claim_of_this_process,
    digest,
    doubt_of_this_process,
    fate_of_rank_0,
    is_whole_task,
    launcher_of_this_process,
    main_file,
    program_digest,
    ranks_count,
    run_to_join,
    sets_ranks_itself,
)
from mlxpy_core._runs._status import ENDED, Status

# Where the next run of this process is to be: set by whoever starts the program as that run.
RUN_DIRECTORY_VARIABLE = "MLXPY_RUN_DIRECTORY"
# The directory of the run that the next run of this process makes again: set by who starts it so.
RERUN_VARIABLE = "MLXPY_RERUN_OF"
# How long the others wait for rank 0, in seconds.
_PATIENCE_VARIABLE = "MLXPY_PATIENCE_S"
_PATIENCE_S = 600
_LOOK_S, _LONGEST_LOOK_S = 0.02, 0.5
_LOOK_AROUND_S = 2  # between looks at the processes of this machine
_TELL_S = 5  # after which a wait is told of
_KEPT_S = 90 * 24 * 3600  # workers may be started again after weeks
_OFF = f"{SWITCH}=off makes each process a run of its own"
_HOST = ("host", "machine_id", "process_namespace")
_runs_of_this_process = itertools.count()
# The process of rank 0 whose runs this process joins; None if it joins none.
_followed: dict[str, Any] | None = None
_told: set[str] = set()


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
    rank_0: "RankZero | None" = None


@dataclass(frozen=True)
class RankZero:
    """The process that writes the metadata of a run which another rank has joined.

    Attributes:
        process: the process, as `describe_process` describes it.
        since: when it took the run, in seconds since 1970; its attempt begins after that.
    """

    process: dict[str, Any]
    since: float = 0

    def has_begun(self, info: Mapping[str, Any]) -> bool:
        """Returns whether the last attempt in an info is the one of this process."""
        last = info["attempts"][-1] if info.get("attempts") else None
        if last is None or not is_same_process(last, self.process):
            return False
        return datetime.fromisoformat(last["start"]).timestamp() >= self.since


@dataclass(frozen=True)
class _Member:
    """This process among those of its launch.

    Attributes:
        claim: what it was started as.
        folders: where the processes of its launch meet.
        launcher: the process that started them, and which of its children led here; None if unknown.
        program: the digest of program and arguments.
        main: the digest of the program alone.
    """

    claim: Claim
    folders: list[Path]
    launcher: tuple[dict[str, Any], dict[str, Any]] | None
    program: str
    main: str

    @property
    def since(self) -> float:
        """Since when what rank 0 says is of this launch.

        An agent of torchrun is one launch's; any other launcher may be somebody's shell.
        """
        if self.claim.launcher != "torchrun" or not self.launcher:
            return 0
        return start_time(self.launcher[0]["process_id"])


def place_run(parent_log_dir: Path, forced_log_id: int = -1, ranks: str = "auto") -> Place:
    """Returns the directory of the run that this process starts now, and makes it.

    Args:
        parent_log_dir: the directory of all runs.
        forced_log_id: the number of the run to continue; -1 for a new one.
        ranks: ``off`` has each process be a run of its own; ``auto`` looks whether it is a rank.

    Raises:
        MlxpyError: the directory was given wrongly, or the process that takes it does not appear.
        StorageError: the directory cannot be made.
    """
    number = next(_runs_of_this_process)
    place = _placed(parent_log_dir, forced_log_id, ranks, number)
    if number:
        _tell_subprocesses(parent_log_dir, place.directory)
    return place


def _placed(parent_log_dir: Path, forced_log_id: int, ranks: str, number: int) -> Place:
    given = given_directory(parent_log_dir, forced_log_id)
    # Only this run: a program that the run starts is another one.
    if os.environ.pop(RUN_DIRECTORY_VARIABLE, None) and given:
        parent_log_dir, forced_log_id = given.path.parent, given.log_id
    if not ranks_count(ranks):
        return Place(take_run_directory(parent_log_dir, forced_log_id), number=number)
    member = _member(parent_log_dir)
    if member and member.claim.rank > 0:
        joined = _join(parent_log_dir, forced_log_id, member, number)
        if joined:
            return Place(joined[0], member.claim.rank, number, joined[1])
    elif member:
        return Place(_take_for_all(parent_log_dir, forced_log_id, member, number), number=number)
    elif doubt := doubt_of_this_process():
        _tell(f"{doubt}: this is a run of its own; {SWITCH}=off says so, too")
    directory = take_run_directory(parent_log_dir, forced_log_id)
    if member is None:
        with _left_on_error(directory):
            _publish_to_children(parent_log_dir, directory, number)
    return Place(directory, number=number)


def _tell_subprocesses(parent_log_dir: Path, directory: RunDirectory) -> None:
    """Notes where this run lies for processes that were started in an earlier run of this one."""
    path = _later_runs(parent_log_dir, describe_process())
    said = json.dumps({"directory": os.path.abspath(directory.path)})
    try:
        Retries()(lambda: write_unsynced(path, said, parent_log_dir))
    except OSError as error:  # the run itself needs it not
        _tell(f"subprocesses that were started in an earlier run cannot log to this one: {error}")


def later_run_of(parent_run: ParentRun) -> str | None:
    """Returns the directory of the last run that the process of a run has started since."""
    logs = Path(parent_run.directory).parent
    said = _read(_later_runs(logs, parent_run.process), logs)
    return str(said["directory"]) if said else None


def _later_runs(parent_log_dir: Path, process: Mapping[str, Any]) -> Path:
    return _meeting(parent_log_dir, ("later runs", *_family(process))).with_suffix(".json")


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


def was_started_again(ranks: str = "auto") -> ParentRun | None:
    """Returns the run whose program has started itself again as this process, for another rank."""
    found = run_to_join() if ranks_count(ranks) else None
    return found[0] if found else None


def was_joined_by_children(parent_log_dir: Path) -> bool:
    """Returns whether this process has started its program again for other ranks, which have joined."""
    return _meeting(parent_log_dir, _family(describe_process())).is_dir()


def _member(parent_log_dir: Path) -> _Member | None:
    claim = claim_of_this_process()
    if claim is None:
        return None
    folders = [_meeting(parent_log_dir, claim.group)]
    if parent_run := was_started_again():
        folders.append(_meeting(parent_log_dir, _family(parent_run.process)))
    launcher = launcher_of_this_process(claim)
    return _Member(claim, folders, launcher, program_digest(), digest([main_file()]))


def _meeting(parent_log_dir: Path, group: tuple[str, ...]) -> Path:
    local = any(value == "localhost" or value.startswith(("127.", "::1")) for value in group)
    # Each host has an address of this name.
    host = [socket.gethostname()] if local else []
    return parent_log_dir / ".mlxpy" / "together" / digest([*group, *host])


def _family(process: Mapping[str, Any]) -> tuple[str, ...]:
    return ("started again", *(f"{key}={process.get(key)}" for key in sorted(process)))


def _logs(meeting: Path) -> Path:
    """Returns the directory of all runs that a meeting belongs to."""
    return meeting.parent.parent.parent


# Rank 0.


def _take_for_all(
    parent_log_dir: Path, forced_log_id: int, member: _Member, number: int
) -> RunDirectory:
    """Takes the directory and tells the others; workers that torchrun starts again keep theirs."""
    taken = None
    if member.claim.launcher == "torchrun" and member.launcher:
        agent, worker = member.launcher
        name = digest([*agent.values(), member.program, number])
        taken = parent_log_dir / ".mlxpy" / "together" / "agents" / name
        earlier = _read(taken, parent_log_dir)
        # The same worker's second program is no restart.
        if forced_log_id == -1 and earlier and not is_same_process(earlier["worker"], worker):
            forced_log_id = int(earlier["log_id"])
    directory = take_run_directory(parent_log_dir, forced_log_id)
    with _left_on_error(directory):
        if taken and member.launcher:
            noted = {"log_id": directory.log_id, "worker": member.launcher[1]}
            write_whole(taken, json.dumps(noted), parent_log_dir)
        _publish(member.folders[0], member, directory, number)
    return directory


def _publish_to_children(parent_log_dir: Path, directory: RunDirectory, number: int) -> None:
    """Tells the processes that this one has started for other ranks, before this run of its own."""
    claim = sets_ranks_itself()
    folders = [_meeting(parent_log_dir, claim.group)] if claim else []
    if number and was_joined_by_children(parent_log_dir):
        folders.append(_meeting(parent_log_dir, _family(describe_process())))
    for folder in folders:
        claim = claim or Claim(0, 0, "hand", {}, ())
        member = _Member(claim, folders, None, program_digest(), digest([main_file()]))
        _publish(folder, member, directory, number)


def _publish(folder: Path, member: _Member, directory: RunDirectory, number: int) -> None:
    said = {
        "program": member.program,
        "main": member.main,
        "number": number,
        "log_id": directory.log_id,
        "process": describe_living_process(),
        "launcher": member.launcher and member.launcher[0],
        "whole_task": is_whole_task(member.claim),
        "time": time.time(),
    }
    path = folder / "0" / f"{time.time_ns()}-{secrets.token_hex(4)}.json"
    write_whole(path, json.dumps(said), _logs(folder))
    _tidy(folder.parent)


def _tidy(together: Path) -> None:
    for path in together.iterdir():
        with contextlib.suppress(OSError):  # another process tidies, too
            newest = max(one.stat().st_mtime for one in (path, *path.glob("*")))
            if time.time() - newest > _KEPT_S:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


# The others.


def _join(
    parent_log_dir: Path, forced_log_id: int, member: _Member, number: int
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
    earlier = [said for folder in member.folders for said in _said(folder / str(rank)).values()]
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
                _note(member, name)
                if rank == 1 and not sure and member.claim.launcher not in ("torchrun", "mpirun"):
                    _tell(
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
            _note(member, None)
            _tell(f"this is a run of its own, not rank {rank} of another: {reason}")
            return None
        if waited > _TELL_S:
            _tell(waiting)
        time.sleep(min(_LONGEST_LOOK_S, max(_LOOK_S, waited / 20)))
    _tell(waiting)
    raise MlxpyError(
        f"the process of rank 0 has not started a run in {parent_log_dir} within {patience:g} s"
    )


def _parents_run(parent_log_dir: Path, member: _Member, parent_run: ParentRun) -> RunDirectory:
    directory = RunDirectory(Path(parent_run.directory))
    last = _last_attempt(directory)
    if last and (_ended_before_this_process(last) or not is_same_process(last, parent_run.process)):
        raise MlxpyError(
            f"run {directory.log_id} in {directory.path.parent} has ended, "
            f"of which this process was started as rank {member.claim.rank}"
        )
    _note(member, parent_run.directory)
    return directory


def _why_apart(
    member: _Member, earlier: list[dict[str, Any]], known: list[dict[str, Any]]
) -> str | None:
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
    member: _Member, runs: Mapping[str, Mapping[str, Any]], joined: list[str | None]
) -> str | None:
    """Returns the run of rank 0's after the last that this rank has joined in a launch of its own name.

    Where the ranks run several programs one after the other, one may be a program behind.
    """
    programs = [name for name, said in runs.items() if said["number"] == 0]
    places = [programs.index(name) for name in joined if name in programs]
    following = programs[max(places) + 1 :] if places and member.claim.launch_has_name else []
    return following[0] if following else None


def _runs_of_rank_0(member: _Member) -> dict[str, dict[str, Any]]:
    """Returns what rank 0 has said of its runs, the oldest first."""
    found = {str(path): said for folder in member.folders for path, said in _said(folder / "0").items()}
    return {
        name: said
        for name, said in sorted(found.items(), key=lambda item: float(item[1]["time"]))
        if float(said["time"]) >= member.since and _may_be_of_this_launch(member, said)
    }


def _may_be_of_this_launch(member: _Member, said: Mapping[str, Any]) -> bool:
    # MPICH gives its launches no name: those of one host are told apart by what started them.
    here = describe_process()
    return (
        "PMI_RANK" not in member.claim.variables
        or any(said["process"][key] != here[key] for key in _HOST)
        or _has_launcher_of(member, said)
    )


def _is_certain(member: _Member, said: Mapping[str, Any]) -> bool:
    """Returns whether a run of rank 0's was started by this very launch."""
    if "PMI_RANK" in member.claim.variables:
        return _has_launcher_of(member, said)
    return member.claim.launch_has_name


def _has_launcher_of(member: _Member, said: Mapping[str, Any]) -> bool:
    if not (said["launcher"] and member.launcher):
        return False
    return is_same_process(said["launcher"], member.launcher[0])


def _is_over(parent_log_dir: Path, forced_log_id: int, member: _Member, said: Mapping[str, Any]) -> bool:
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


def _note(member: _Member, joined: str | None) -> None:
    """Notes for later processes of this rank what has become of this one."""
    said = {"main": member.main, "program": member.program, "joined": joined, "time": time.time()}
    folder = member.folders[-1] / str(member.claim.rank)
    path = folder / f"{time.time_ns()}-{secrets.token_hex(4)}.json"
    logs = _logs(folder.parent)
    make_results_directory(logs)  # rank 0 may write somewhere else
    write_whole(path, json.dumps(said), logs)


def _said(folder: Path) -> dict[str, dict[str, Any]]:
    try:
        paths = sorted(folder.glob("[0-9]*.json"))
    except OSError:
        return {}
    read = ((str(path), _read(path, _logs(folder.parent))) for path in paths)
    return {path: said for path, said in read if said}


def _read(path: Path, logs: Path) -> dict[str, Any] | None:
    """Reads what a process of this user has said; what another user's has is as good as nothing."""
    try:
        said = json.loads(read_own(path, logs))
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) else None


def _tell(sentence: str) -> None:
    """Says something on standard error, once in this process."""
    if sentence not in _told:
        _told.add(sentence)
        print(f"mlxpy: {sentence}", file=sys.stderr, flush=True)
