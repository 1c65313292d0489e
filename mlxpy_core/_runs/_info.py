"""info.yaml: what happened to a run."""

import getpass
import os
import traceback
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ._directory import RunDirectory, last_written
from ._launch import Launch
from ._process import describe_process
from ._status import Status

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
