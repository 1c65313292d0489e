"""The only door to info.yaml: what happened to a run, read and written."""

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mlxpy_core._errors import MlxpyError, StorageError
from mlxpy_core._io._files import Stamp, open_regular, read_text, stamp_of, write_whole
from mlxpy_core._io._retries import Retries
from mlxpy_core._io._yaml import dump_yaml, load_yaml, read_fields

from ._directory import RunDirectory
from ._mlxp_info import WRITTEN_BY_MLXP, info_of_mlxp, is_info_of_mlxp
from ._status import Status

INFO_FILE = "metadata/info.yaml"
"""Where the file lies in a run's directory."""

# What the fields hold where they hold anything; those that are not named hold no dict and no list.
_KINDS: dict[str, type] = {
    "status": str,
    "attempts": list,
    "exception": dict,
    "logger": dict,  # MLXP's
    "overrides": list,
    "retries": dict,
    "scheduler": dict,
    "submitter": dict,
    "usage": dict,
    "tags": list,
    "trial": dict,
    "version_manager": dict,
}
_PLAIN = frozenset(
    (
        *("cmd", "current_file_path", "executable", "hostname", "log_dir", "log_id", "process_id"),
        *("run_id", "signal", "end_reason", "study", "user", "work_dir"),
        *(f"{event}_{part}" for event in ("submit", "start", "end") for part in ("date", "time")),
    )
)

_KEPT = "info.before.yaml"
# By which a time of change moves: some file systems know microseconds only, or seconds.
_STEPS_NS = (1_000, 1_000_000, 1_000_000_000)


def info_path(run: Path) -> Path:
    """Returns the path of info.yaml in the directory of a run."""
    return run / INFO_FILE


def info_stamp(directory: RunDirectory) -> Stamp:
    """Returns the stamp of info.yaml, by which a change is noticed.

    Raises:
        OSError: there is none, or it may not be looked at.
    """
    return stamp_of(info_path(directory.path))


def read_info_text(run: str) -> str:
    """Reads info.yaml in the directory of a run as text.

    Raises:
        OSError: there is none, or it may not be read.
        UnicodeDecodeError: it is no text.
    """
    return read_text(f"{run}/{INFO_FILE}", os.path.dirname(run))


def check_kinds(info: Mapping[Any, Any]) -> None:
    """Checks that the fields of an info.yaml hold what mlxpy would write: it may be anybody's.

    Raises:
        ValueError: one does not; it says which.
    """
    for name, value in info.items():
        kind = _KINDS.get(name)
        if value is None or (kind is None and name not in _PLAIN):
            continue
        if not isinstance(value, kind) if kind else isinstance(value, (dict, list)):
            raise ValueError(f"{name} is a {type(value).__name__}")
    for attempt in info.get("attempts") or ():
        if not isinstance(attempt, dict) or any(
            isinstance(one, (dict, list)) for one in attempt.values()
        ):
            raise ValueError("attempts are no list of attempts")
    scheduler = info.get("scheduler") or {}
    if any(isinstance(one, (dict, list)) for name, one in scheduler.items() if name != "submitter"):
        raise ValueError("scheduler holds what no scheduler is")


def read_info(directory: RunDirectory, retries: Retries | None = None) -> dict[str, Any] | None:
    """Reads info.yaml; None if it cannot be read now, or is not what mlxpy wrote.

    Args:
        directory: the run's directory.
        retries: bounds the time that a file system is waited for; of many runs together, say.
    """
    try:
        info = load_yaml((retries or Retries())(lambda: read_info_text(str(directory.path))))
        check_kinds(info)
        Status(info["status"])
        attempts, scheduler = info["attempts"], info.setdefault("scheduler", None)
        known = all(isinstance(attempt["status"], str) for attempt in attempts)
        known = known and (scheduler is None or isinstance(scheduler["name"], str))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError):
        return None
    return info if known else None


def read_info_to_continue(directory: RunDirectory) -> dict[str, Any]:
    """Reads info.yaml of a run that is to be continued; it is empty where there is none.

    That of MLXP is returned as `info_of_mlxp` has it.

    Raises:
        MlxpyError: it is not what mlxpy wrote.
        StorageError: it may not be read.
    """
    path = info_path(directory.path)
    try:
        info = load_yaml(Retries()(lambda: read_info_text(str(directory.path))))
        check_kinds(info)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StorageError(f"cannot read {path}", error) from error
    except (ValueError, AttributeError, yaml.YAMLError):
        info = None
    if is_info_of_mlxp(info):
        info = info_of_mlxp(info, read_config(directory) or {}, directory)
    if not isinstance(info, dict) or not isinstance(info.get("attempts"), list):
        raise MlxpyError(
            f"{path} is not what mlxpy wrote, so the run cannot be continued: mend it or move it away"
        )
    return info


def read_info_to_rerun(directory: RunDirectory) -> dict[str, Any] | None:
    """Reads info.yaml of a run whose program is to be started again; None if that cannot be read.

    That of MLXP is returned as `info_of_mlxp` has it.
    """
    info = read_info(directory)
    if info is None:
        with contextlib.suppress(MlxpyError):
            continued = read_info_to_continue(directory)
            info = continued if WRITTEN_BY_MLXP in continued else None
    return info


def read_status(directory: RunDirectory) -> Status | None:
    """Reads the status of a run; None if its info.yaml cannot be read now."""
    info = read_info(directory)
    return Status(info["status"]) if info else None


def write_info(directory: RunDirectory, info: Mapping[str, Any]) -> Stamp:
    """Writes info.yaml whole and returns its stamp.

    Raises:
        StorageError: the file system refused.
    """
    path = info_path(directory.path)
    retries = Retries()
    write_whole(path, dump_yaml(dict(info)), directory.logs, retries)
    try:
        return retries(lambda: info_stamp(directory))
    except OSError as error:
        raise StorageError(f"cannot look at {path}", error) from error


def keep_info(directory: RunDirectory) -> None:
    """Keeps info.yaml as it is besides, for `put_info_back`.

    Raises:
        OSError: the file system refused.
    """
    kept = directory.state / _KEPT
    kept.unlink(missing_ok=True)
    try:
        os.link(info_path(directory.path), kept)
    except OSError:  # a file system without hard links
        shutil.copy2(info_path(directory.path), kept)


def put_info_back(directory: RunDirectory) -> None:
    """Makes info.yaml what it was when it was kept, if it was; that takes no space."""
    with contextlib.suppress(OSError):
        os.replace(directory.state / _KEPT, info_path(directory.path))
    drop_kept_info(directory)  # two names of one file are not renamed


def drop_kept_info(directory: RunDirectory) -> None:
    """Removes what `keep_info` has kept."""
    with contextlib.suppress(OSError):
        (directory.state / _KEPT).unlink()


def touch_info(directory: RunDirectory) -> None:
    """Has readers that have looked at a run look again: its metrics or artifacts have changed."""
    with contextlib.suppress(OSError):
        os.utime(info_path(directory.path))


def renew_info_stamp(directory: RunDirectory) -> tuple[Stamp, Stamp]:
    """Has readers look again as `touch_info` does; when the file was written stays about what it was.

    Returns:
        The stamps before and after, of the same contents.

    Raises:
        StorageError: the file system refused.
    """
    path = info_path(directory.path)
    try:
        # Not by its name: the run's process may put another file there.
        descriptor = open_regular(path, directory.logs)
        try:
            before = os.fstat(descriptor)
            for step_ns in _STEPS_NS:
                _set_time(descriptor, before, step_ns)
                after = os.fstat(descriptor)
                if after.st_mtime_ns != before.st_mtime_ns:
                    break
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StorageError(f"cannot change {path}", error) from error
    return (before.st_mtime_ns, before.st_size), (after.st_mtime_ns, after.st_size)


def _set_time(descriptor: int, status: os.stat_result, step_ns: int) -> None:
    try:
        os.utime(descriptor, ns=(status.st_atime_ns, status.st_mtime_ns + step_ns))
    except PermissionError:  # another user's, whom it lets write: now is all that can be set
        os.utime(descriptor)


def read_config(directory: RunDirectory) -> dict[str, Any] | None:
    """Reads the config.yaml beside it; None if it cannot be read now, or holds no config."""
    path = directory.config
    if not os.path.exists(path):  # MLXP has another name for it until the run starts
        path = path.with_name("config_unresolved.yaml")
    return read_fields(path, directory.logs)
