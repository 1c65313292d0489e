"""info.yaml: what happened to a run."""

import contextlib
import functools
import getpass
import itertools
import os
import secrets
import traceback
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from ._devices import DEVICES
from ._directory import RunDirectory
from ._end_note import read_end_note
from ._end_reason import EndReason
from ._info_file import info_path
from ._launch import Launch
from ._memory_kills import count_memory_kills, killed_for_memory
from ._process import describe_living_process, is_of_this_boot
from ._status import Status

# The identity of the run that a job's script is for.
RUN_ID_VARIABLE = "MLXPY_RUN_ID"
# The image of the container that its program runs in.
CONTAINER_VARIABLE = "MLXPY_CONTAINER"

_REQUESTED = "requested_"


class JobIdentity(NamedTuple):
    """Which job of a scheduler a process belongs to.

    Attributes:
        job_id: the id by which the scheduler knows the job; None where the job does not learn it.
        array_index: its index, where it is a task of an array.
    """

    job_id: str | None
    array_index: int | None = None


def submitted_info(
    directory: RunDirectory,
    run_id: str,
    launch: Launch,
    scheduler: str,
    cluster: str,
    earlier: Mapping[str, Any] | None = None,
    submitter: Mapping[str, Any] | None = None,
    more: Mapping[str, Any] = MappingProxyType({}),
    retries: Mapping[str, int] = MappingProxyType({}),
) -> dict[str, Any]:
    """Makes the info of a run that waits in the queue of a scheduler.

    Args:
        directory: where the run lies.
        run_id: its identity.
        launch: how it was submitted.
        scheduler: the name by which the scheduler can be found again.
        cluster: what the scheduler calls its cluster.
        earlier: the info of a run that is submitted again.
        submitter: what `describe_living_process` has said of this process, if it was asked.
        more: further fields of ``scheduler``: ``options``, the launcher's that were changed for this
            attempt; ``after`` and ``after_status``, what the run waits for.
        retries: how often it was submitted again by itself, by the reasons.
    """
    now = datetime.now().astimezone()
    return {
        "run_id": run_id,
        "log_id": directory.log_id,
        "log_dir": str(directory.path),
        "status": Status.SUBMITTED.value,
        **_launch_fields(launch),
        "user": _user(),
        "submit_date": now.date().isoformat(),
        "submit_time": now.timetz().isoformat(),
        "signal": None,
        "exception": None,
        "end_reason": None,
        **tags_field(earlier or {}, launch.tags),
        **_study_fields(earlier or {}, launch),
        "scheduler": {
            "name": scheduler,
            "cluster": cluster,
            "scheduler_job_id": None,
            "array_index": None,
            "may_come_back": True,
            "submitter": dict(submitter or describe_living_process()),
            **more,
        },
        **({"retries": dict(retries)} if retries else {}),
        "version_manager": launch.version_manager,
        "attempts": list((earlier or {}).get("attempts", [])),
    }


def new_run_id() -> str:
    """Makes the identity of a run: its number may come again in another directory, this does not."""
    return f"r{secrets.token_hex(8)}"  # the letter keeps YAML from reading a number


def begin_attempt(
    earlier: dict[str, Any],
    directory: RunDirectory,
    launch: Launch,
    job: JobIdentity | None,
    requested: Mapping[str, int],
    devices: Mapping[str, str],
    container: str | None,
) -> dict[str, Any]:
    """Makes the info of a run whose next attempt starts now.

    Args:
        earlier: the info as the last attempt left it; empty for a new run.
        directory: where the run lies.
        launch: how this attempt was started.
        job: the scheduler's job that it is.
        requested: what the job was given of this machine, as `Scheduler.requested` returns it.
        devices: which GPUs and processors it has for itself, as `given_devices` returns them.
        container: the image of the container that this process runs in, if its script started one.
    """
    now = datetime.now().astimezone()
    process = describe_living_process()
    job_id, array_index = job or (None, None)
    in_container = {"container": container} if container else {}
    scheduler = earlier.get("scheduler")
    if scheduler:
        # One that runs by hand belongs to no job.
        of_earlier = (*DEVICES, "container", "submitter")
        scheduler = {
            **{key: value for key, value in scheduler.items() if key not in of_earlier},
            "scheduler_job_id": job_id,
            "array_index": array_index,
            "may_come_back": job is not None,
            **devices,
            **in_container,
        }
    attempt = {
        "job_id": job_id,
        **process,
        "start": now.isoformat(),
        "end": None,
        "status": Status.RUNNING.value,
        "signal": None,
        **devices,
        **in_container,
        "end_reason": None,
        **count_memory_kills(),
        **({"options": scheduler["options"]} if job and scheduler and "options" in scheduler else {}),
        **({"output_dir": launch.output_dir} if launch.output_dir else {}),
    }
    # The output directories of earlier attempts are found by this field.
    output_dir = launch.output_dir or earlier.get("output_dir")
    return {
        "run_id": earlier.get("run_id") or new_run_id(),
        "log_id": directory.log_id,
        "log_dir": str(directory.path),
        "status": Status.RUNNING.value,
        **_launch_fields(launch),
        **({"output_dir": output_dir} if output_dir else {}),
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
        "end_reason": None,
        **tags_field(earlier, launch.tags),
        **_study_fields(earlier, launch),
        **({"retries": earlier["retries"]} if earlier.get("retries") else {}),
        "scheduler": scheduler,
        "version_manager": launch.version_manager or earlier.get("version_manager"),
        "usage": {f"{_REQUESTED}{name}": value for name, value in requested.items()} or None,
        "attempts": [*earlier.get("attempts", []), attempt],
    }


def _launch_fields(launch: Launch) -> dict[str, Any]:
    return {
        "work_dir": launch.work_dir,
        "executable": launch.executable,
        "current_file_path": launch.current_file_path,
        "cmd": launch.cmd,
        "overrides": launch.overrides,
        **({"arguments_of_code": launch.of_code} if launch.of_code else {}),
        **({"app_metrics": launch.app_metrics} if launch.app_metrics is not None else {}),
    }


def tags_field(info: Mapping[str, Any], tags: Iterable[str]) -> dict[str, list[str]]:
    """Returns the field of an info that holds its tags and others; nothing if there are none."""
    earlier = [tag for tag in info.get("tags") or () if isinstance(tag, str)]
    all_tags = list(dict.fromkeys([*earlier, *tags]))
    return {"tags": all_tags} if all_tags else {}


def _study_fields(earlier: Mapping[str, Any], launch: Launch) -> dict[str, Any]:
    """Returns the fields that say of which study's trial a run is one; a job knows them by its info."""
    if launch.study:
        return {"study": launch.study, "trial": {"number": launch.trial}}
    return {name: earlier[name] for name in ("study", "trial") if name in earlier}


def set_status(
    info: dict[str, Any],
    status: Status,
    error: BaseException | None = None,
    signal: str | None = None,
    end: datetime | None = None,
) -> None:
    """Puts a status into an info, for the run and its last attempt, with the time of an end.

    Args:
        info: what info.yaml holds.
        status: the status.
        error: what ended the run; recorded if it is FAILED.
        signal: the name of the signal that ended it; recorded if it is INTERRUPTED.
        end: when it ended; None for now.
    """
    info["status"] = info["attempts"][-1]["status"] = status.value
    if info.get("scheduler") and status in (Status.COMPLETE, Status.FAILED):
        info["scheduler"]["may_come_back"] = False
    recorded = signal if status is Status.INTERRUPTED else None
    info["signal"] = info["attempts"][-1]["signal"] = recorded
    moment = None if status is Status.RUNNING else end or datetime.now().astimezone()
    info["end_date"] = moment.date().isoformat() if moment else None
    info["end_time"] = moment.timetz().isoformat() if moment else None
    info["attempts"][-1]["end"] = moment.isoformat() if moment else None
    info["exception"] = _describe_error(error) if error and status is Status.FAILED else None
    set_end_reason(info, _known_reason(info))


def set_end_reason(info: dict[str, Any], reason: EndReason | None) -> None:
    """Puts into an info why the run's last attempt ended; None for what is not known."""
    info["end_reason"] = info["attempts"][-1]["end_reason"] = reason.value if reason else None


def _known_reason(info: Mapping[str, Any]) -> EndReason | None:
    """Returns why an attempt ended, as far as its process or the kernel can tell."""
    status, attempt = Status(info["status"]), info["attempts"][-1]
    in_job = bool((info.get("scheduler") or {}).get("name")) and attempt.get("job_id") is not None
    if status is Status.FAILED:
        if in_job and _killed_here(attempt):  # a worker of it, over which it failed
            return EndReason.OUT_OF_MEMORY
        raised = (info["exception"] or {}).get("type")
        return EndReason.EXIT_CODE if raised == "SystemExit" else EndReason.EXCEPTION
    if status is Status.KILLED:
        return EndReason.OUT_OF_MEMORY if _killed_here(attempt) else None
    # Who sent the signal in a job, its scheduler knows.
    may_come_back = (info.get("scheduler") or {}).get("may_come_back")
    return EndReason.CANCELLED if status is Status.INTERRUPTED and not may_come_back else None


def _killed_here(attempt: Mapping[str, Any]) -> bool:
    return is_of_this_boot(attempt) and killed_for_memory(attempt)


def set_usage(info: dict[str, Any], used: Mapping[str, float]) -> None:
    """Puts into an info what its last attempt has used, beside what its job was given."""
    before = (info.get("usage") or {}).items()
    info["usage"] = {**used, **{name: value for name, value in before if name.startswith(_REQUESTED)}}
    info["attempts"][-1].update(used)


def set_noted_end(info: dict[str, Any], directory: RunDirectory) -> bool:
    """Puts into an info how its last attempt ended, if it says RUNNING and its process noted an end.

    Returns:
        Whether it has.
    """
    if info["status"] != Status.RUNNING.value or not info["attempts"]:
        return False
    noted = read_end_note(directory, info)
    if noted is None:
        return False
    set_status(info, Status(noted["status"]), signal=noted["signal"], end=noted["end"])
    info["exception"] = noted["exception"]
    set_end_reason(info, _known_reason(info))
    return True


def set_killed(info: dict[str, Any], directory: RunDirectory) -> None:
    """Puts KILLED into an info whose last attempt has no final status, and has noted none.

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
    module = "" if type(error).__module__ == "builtins" else f"{type(error).__module__}."
    return {
        "type": f"{module}{type(error).__qualname__}",
        "message": str(error),
        "traceback": "".join(traceback.format_exception(error)),
    }


@functools.cache  # of a thousand runs that are submitted at once, one asks
def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no entry for this number, as in many containers
        return str(os.getuid())


def last_written(directory: RunDirectory) -> float:
    """Returns when a run's program last wrote into its directory, in seconds since the epoch.

    Looked at are info.yaml, outputs and logs, metrics and artifacts; 0 if there is none of them.
    """
    top = [info_path(directory.path), *directory.path.glob("log.std*"), *directory.path.glob("*.log")]
    below = (
        Path(folder, name)
        for place in (directory.metrics, directory.artifacts)
        for folder, _, names in os.walk(place)
        for name in names
    )
    newest = 0.0
    for path in itertools.chain(top, below):
        with contextlib.suppress(OSError):
            newest = max(newest, path.lstat().st_mtime)
    return newest
