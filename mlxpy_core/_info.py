"""info.yaml: what happened to a run."""

import getpass
import os
import shlex
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from ._directories import RunDirectory, last_written
from ._process import describe_process
from ._versioning import original_place, recorded_launch
from ._yaml import load_yaml


class Status(str, Enum):
    """The one word that says what became of a run."""

    SUBMITTED = "SUBMITTED"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    FAILED = "FAILED"
    INTERRUPTED = "INTERRUPTED"
    KILLED = "KILLED"


ENDED = frozenset(Status) - {Status.SUBMITTED, Status.RUNNING}


@dataclass(frozen=True)
class Launch:
    """How a run came to be started.

    Attributes:
        cmd: the command as it was typed, quoted for a shell.
        executable: the Python interpreter.
        current_file_path: the program's main file; None in a notebook.
        work_dir: the directory in which the program runs.
        launch_dir: the directory in which the command was typed; another one if the program runs from a
            copy of its code.
        overrides: the settings that the command changed, as it named them.
        version_manager: what the version manager says of the code; None without one.
    """

    cmd: str
    executable: str
    current_file_path: str | None
    work_dir: str
    launch_dir: str
    overrides: list[str] = field(default_factory=list)
    version_manager: dict[str, Any] | None = None

    @classmethod
    def of_this_process(cls) -> "Launch":
        """Describes the process that asks."""
        main_file = getattr(sys.modules.get("__main__"), "__file__", None)
        recorded = recorded_launch()
        return cls(
            cmd=shlex.join(recorded.cmd if recorded else sys.orig_argv),
            executable=sys.executable,
            current_file_path=os.path.abspath(main_file) if main_file else None,
            work_dir=os.getcwd(),
            launch_dir=recorded.directory if recorded else original_place(os.getcwd()),
            version_manager=recorded.version_manager if recorded else None,
        )

    @classmethod
    def of_info(cls, info: Mapping[str, Any]) -> "Launch":
        """Gives what info.yaml says of how a run was started."""
        return cls(
            cmd=info["cmd"],
            executable=info["executable"],
            current_file_path=info["current_file_path"],
            work_dir=info["work_dir"],
            launch_dir=original_place(info["work_dir"]),
            overrides=list(info["overrides"]),
            version_manager=info["version_manager"],
        )


_JOB_VARIABLES = (
    # The scheduler's variables for the job's id and, in an array, its index.
    ("MLXPY_JOB_ID", ""),
    ("OAR_JOB_ID", "OAR_ARRAY_INDEX"),
    ("SLURM_JOB_ID", "SLURM_ARRAY_TASK_ID"),
    ("PBS_JOBID", "PBS_ARRAY_INDEX"),
    ("LSB_JOBID", "LSB_JOBINDEX"),
    ("JOB_ID", "SGE_TASK_ID"),
)
# How the scheduler names a task of an array whose id is the whole array's. Slurm's tasks have ids of
# their own, by which scancel does not know them.
_TASK_NAMES = {
    "LSB_JOBID": "{id}[{index}]",
    "JOB_ID": "{id}.{index}",
    "SLURM_JOB_ID": "{array}_{index}",
}


def submitted_info(
    directory: RunDirectory,
    launch: Launch,
    scheduler: str,
    cluster: str,
    earlier: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Makes the info of a run that waits in the queue of a scheduler.

    Args:
        directory: where the run lies.
        launch: how it was submitted.
        scheduler: the name by which the scheduler can be found again.
        cluster: what the scheduler calls its cluster.
        earlier: the info of a run that is submitted again.
    """
    now = datetime.now().astimezone()
    return {
        "log_id": directory.log_id,
        "log_dir": str(directory.path),
        "status": Status.SUBMITTED.value,
        **_launch_fields(launch),
        "user": _user(),
        "submit_date": now.date().isoformat(),
        "submit_time": now.timetz().isoformat(),
        "signal": None,
        "exception": None,
        "scheduler": {
            "name": scheduler,
            "cluster": cluster,
            "scheduler_job_id": None,
            "array_index": None,
            "may_come_back": True,
            "submitter": describe_process(),
        },
        "version_manager": launch.version_manager,
        "attempts": list((earlier or {}).get("attempts", [])),
    }


def begin_attempt(earlier: dict[str, Any], directory: RunDirectory, launch: Launch) -> dict[str, Any]:
    """Makes the info of a run whose next attempt starts now.

    Args:
        earlier: the info as the last attempt left it; empty for a new run.
        directory: where the run lies.
        launch: how this attempt was started.
    """
    now = datetime.now().astimezone()
    process = describe_process()
    job_id, array_index = job_of_this_process()
    scheduler = earlier.get("scheduler")
    if scheduler:
        # One that runs by hand belongs to no job.
        job = {
            "scheduler_job_id": job_id,
            "array_index": array_index,
            "may_come_back": job_id is not None,
        }
        scheduler = {**scheduler, **job}
        scheduler.pop("submitter", None)
    attempt = {
        "job_id": job_id,
        **process,
        "start": now.isoformat(),
        "end": None,
        "status": Status.RUNNING.value,
        "signal": None,
    }
    return {
        "log_id": directory.log_id,
        "log_dir": str(directory.path),
        "status": Status.RUNNING.value,
        **_launch_fields(launch),
        "hostname": process["host"],
        "user": _user(),
        "process_id": process["process_id"],
        **{key: earlier[key] for key in ("submit_date", "submit_time") if key in earlier},
        "start_date": now.date().isoformat(),
        "start_time": now.timetz().isoformat(),
        "end_date": None,
        "end_time": None,
        "signal": None,
        "exception": None,
        "scheduler": scheduler,
        "version_manager": launch.version_manager or earlier.get("version_manager"),
        "attempts": [*earlier.get("attempts", []), attempt],
    }


def _launch_fields(launch: Launch) -> dict[str, Any]:
    return {
        "work_dir": launch.work_dir,
        "executable": launch.executable,
        "current_file_path": launch.current_file_path,
        "cmd": launch.cmd,
        "overrides": launch.overrides,
    }


def job_of_this_process() -> tuple[str | None, int | None]:
    """Tells the id of the scheduler's job that this process belongs to, and its index in an array."""
    for id_variable, index_variable in _JOB_VARIABLES:
        job_id, index = os.environ.get(id_variable), os.environ.get(index_variable, "")
        # Other programs have a JOB_ID, too; a job of Grid Engine always has the other.
        if job_id is None or (id_variable == "JOB_ID" and not index):
            continue
        # Outside of arrays Grid Engine's index is a word, and LSF's is 0.
        if not index.isdecimal() or (id_variable == "LSB_JOBID" and int(index) == 0):
            return job_id, None
        array = os.environ.get("SLURM_ARRAY_JOB_ID", job_id)
        name = _TASK_NAMES.get(id_variable, "{id}").format(id=job_id, array=array, index=index)
        return name, int(index)
    return None, None


def set_status(
    info: dict[str, Any],
    status: Status,
    error: BaseException | None = None,
    signal: str | None = None,
    end: datetime | None = None,
) -> None:
    """Writes the word into an info, for the run and its last attempt; an end has its time.

    Args:
        info: what info.yaml holds.
        status: the word.
        error: what ended the run; told if the word is FAILED.
        signal: the name of the signal that ended it; told if the word is INTERRUPTED.
        end: when it ended; None for now.
    """
    info["status"] = info["attempts"][-1]["status"] = status.value
    if info.get("scheduler") and status in (Status.COMPLETE, Status.FAILED):
        info["scheduler"]["may_come_back"] = False
    told = signal if status is Status.INTERRUPTED else None
    info["signal"] = info["attempts"][-1]["signal"] = told
    moment = None if status is Status.RUNNING else end or datetime.now().astimezone()
    info["end_date"] = moment.date().isoformat() if moment else None
    info["end_time"] = moment.timetz().isoformat() if moment else None
    info["attempts"][-1]["end"] = moment.isoformat() if moment else None
    info["exception"] = _describe_error(error) if error and status is Status.FAILED else None


def set_killed(info: dict[str, Any], directory: RunDirectory) -> None:
    """Writes KILLED into an info whose last attempt left no word.

    Nobody saw it end: that was when it last wrote something, as far as anybody can tell.
    """
    attempt, now = info["attempts"][-1], datetime.now().astimezone()
    try:
        start = datetime.fromisoformat(attempt["start"])
        written = datetime.fromtimestamp(last_written(directory), start.tzinfo)
        end = min(max(start, written), now)  # the clock of a file server is another one
    except (KeyError, TypeError, ValueError):
        end = now
    set_status(info, Status.KILLED, end=end)


def read_info(directory: RunDirectory) -> dict[str, Any] | None:
    """Reads info.yaml; None if it cannot be read now, or is not what mlxpy wrote."""
    try:
        info = load_yaml(directory.info.read_text(encoding="utf-8"))
        Status(info["status"])
        attempts, scheduler = info["attempts"], info.setdefault("scheduler", None)
        known = all(isinstance(attempt["status"], str) for attempt in attempts)
        known = known and (scheduler is None or isinstance(scheduler["name"], str))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError):
        return None
    return info if known else None


def read_config(directory: RunDirectory) -> dict[str, Any] | None:
    """Reads the config.yaml beside it; None if it cannot be read now, or holds no config."""
    try:
        config = load_yaml(directory.config.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return config if isinstance(config, dict) else None


def read_status(directory: RunDirectory) -> Status | None:
    """Reads the word of a run; None if its info.yaml cannot be read now."""
    info = read_info(directory)
    return Status(info["status"]) if info else None


def is_final(info: Mapping[str, Any]) -> bool:
    """Tells whether a run's word stays as it is, unless the run is continued.

    What was interrupted in a scheduler's job may come back, until the job is known to have ended.
    """
    if Status(info["status"]) not in ENDED:
        return False
    may_come_back = (info.get("scheduler") or {}).get("may_come_back")
    return info["status"] != Status.INTERRUPTED.value or not may_come_back


def noted_job_id(directory: RunDirectory, info: Mapping[str, Any]) -> str | None:
    """Gives the id of a run's job: as the job says or, before it starts, as the submitter noted it."""
    job_id = (info.get("scheduler") or {}).get("scheduler_job_id")
    if job_id is None:
        try:
            noted = load_yaml((directory.keys / "job.yaml").read_text(encoding="utf-8"))
            job_id = noted["scheduler_job_id"]
        except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError):
            return None
    return None if job_id is None else str(job_id)


def status_of(error: BaseException | None) -> Status:
    """Gives the status of a run that ended by `error`, or without one."""
    if error is None:
        return Status.COMPLETE
    if isinstance(error, KeyboardInterrupt):
        return Status.INTERRUPTED
    if isinstance(error, SystemExit) and error.code in (None, 0):
        return Status.COMPLETE
    return Status.FAILED


def _describe_error(error: BaseException) -> dict[str, str]:
    return {
        "type": type(error).__qualname__
        if type(error).__module__ == "builtins"
        else f"{type(error).__module__}.{type(error).__qualname__}",
        "message": str(error),
        "traceback": "".join(traceback.format_exception(error)),
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no entry for this number, as in many containers
        return str(os.getuid())


def relative_to_launch(path: str | Path, launch: Launch) -> Path:
    """Makes a path that a user gave absolute: relative ones start where the command was typed."""
    return Path(os.path.abspath(os.path.join(launch.launch_dir, os.path.expanduser(path))))
