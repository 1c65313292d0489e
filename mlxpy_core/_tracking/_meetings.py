"""What processes that were started together tell each other of their runs.

They meet below ``.mlxpy/together/`` in the directory of all runs. Rank 0 notes in ``<launch>/0/`` what
it runs (`publish`), another rank in the directory of its number what it has joined (`note_joined`). A
process that starts another run notes where that lies, for subprocesses that it has started before
(`tell_subprocesses`).
"""

import contextlib
import json
import os
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mlxpy_core._io._files import read_own, write_unsynced, write_whole
from mlxpy_core._io._links import held_folder
from mlxpy_core._io._retries import Retries
from mlxpy_core._runs._directory import RunDirectory, make_results_directory
from mlxpy_core._runs._parent_run import ParentRun
from mlxpy_core._runs._process import (
    describe_living_process,
    describe_process,
    is_same_process,
    start_time,
)
from mlxpy_core._runs._ranks import (
    Claim,
    claim_of_this_process,
    is_whole_task,
    launcher_of_this_process,
    ranks_count,
    run_to_join,
)
from mlxpy_core._runs._start_of_process import digest, main_file, program_digest

_KEPT_S = 90 * 24 * 3600  # workers may be started again after weeks
_told: set[str] = set()


@dataclass(frozen=True)
class Member:
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


def member_of_this_process(parent_log_dir: Path) -> Member | None:
    """Returns this process among those of its launch; None if it was started alone."""
    claim = claim_of_this_process()
    if claim is None:
        return None
    folders = [meeting_of(parent_log_dir, claim.group)]
    if parent_run := was_started_again():
        folders.append(meeting_of(parent_log_dir, family_of(parent_run.process)))
    launcher = launcher_of_this_process(claim)
    return Member(claim, folders, launcher, program_digest(), digest([main_file()]))


def was_started_again(ranks: str = "auto") -> ParentRun | None:
    """Returns the run whose program has started itself again as this process, for another rank."""
    found = run_to_join() if ranks_count(ranks) else None
    return found[0] if found else None


def was_joined_by_children(parent_log_dir: Path) -> bool:
    """Returns whether this process has started its program again for other ranks, which have joined."""
    return meeting_of(parent_log_dir, family_of(describe_process())).is_dir()


def meeting_of(parent_log_dir: Path, group: tuple[str, ...]) -> Path:
    """Returns the directory where the processes that have a group in common meet."""
    local = any(value == "localhost" or value.startswith(("127.", "::1")) for value in group)
    # Each host has an address of this name.
    host = [socket.gethostname()] if local else []
    return parent_log_dir / ".mlxpy" / "together" / digest([*group, *host])


def family_of(process: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns what a process has in common with those that it starts."""
    return ("started again", *(f"{key}={process.get(key)}" for key in sorted(process)))


def _logs(meeting: Path) -> Path:
    """Returns the directory of all runs that a meeting belongs to."""
    return meeting.parent.parent.parent


# The notes.


def publish(folder: Path, member: Member, directory: RunDirectory, number: int) -> None:
    """Notes for the other ranks which run rank 0 has taken."""
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
    with contextlib.suppress(OSError), held_folder(folder.parent, _logs(folder)) as together:
        _tidy(together)


def note_joined(member: Member, joined: str | None) -> None:
    """Notes for later processes of this rank what has become of this one."""
    said = {"main": member.main, "program": member.program, "joined": joined, "time": time.time()}
    folder = member.folders[-1] / str(member.claim.rank)
    path = folder / f"{time.time_ns()}-{secrets.token_hex(4)}.json"
    logs = _logs(folder.parent)
    make_results_directory(logs)  # rank 0 may write somewhere else
    write_whole(path, json.dumps(said), logs)


def notes_in(folder: Path) -> dict[str, dict[str, Any]]:
    """Returns what was noted in a directory, the oldest first, by the paths of the notes."""
    try:
        paths = sorted(folder.glob("[0-9]*.json"))
    except OSError:
        return {}
    read = ((str(path), read_note(path, _logs(folder.parent))) for path in paths)
    return {path: said for path, said in read if said}


def read_note(path: Path, logs: Path) -> dict[str, Any] | None:
    """Reads what a process of this user has said; what another user's has is as good as nothing."""
    try:
        said = json.loads(read_own(path, logs))
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) else None


def _tidy(together: Path) -> None:
    for path in together.iterdir():
        with contextlib.suppress(OSError):  # another process tidies, too
            newest = max(one.stat().st_mtime for one in (path, *path.glob("*")))
            if time.time() - newest > _KEPT_S:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


# Subprocesses of an earlier run of this process.


def tell_subprocesses(parent_log_dir: Path, directory: RunDirectory) -> None:
    """Notes where this run lies for processes that were started in an earlier run of this one."""
    path = _later_runs(parent_log_dir, describe_process())
    said = json.dumps({"directory": os.path.abspath(directory.path)})
    try:
        Retries()(lambda: write_unsynced(path, said, parent_log_dir))
    except OSError as error:  # the run itself needs it not
        say_once(f"subprocesses that were started in an earlier run cannot log to this one: {error}")


def later_run_of(parent_run: ParentRun) -> str | None:
    """Returns the directory of the last run that the process of a run has started since."""
    logs = Path(parent_run.directory).parent
    said = read_note(_later_runs(logs, parent_run.process), logs)
    return str(said["directory"]) if said else None


def _later_runs(parent_log_dir: Path, process: Mapping[str, Any]) -> Path:
    return meeting_of(parent_log_dir, ("later runs", *family_of(process))).with_suffix(".json")


def say_once(sentence: str) -> None:
    """Says something on standard error, once in this process."""
    if sentence not in _told:
        _told.add(sentence)
        print(f"mlxpy: {sentence}", file=sys.stderr, flush=True)
