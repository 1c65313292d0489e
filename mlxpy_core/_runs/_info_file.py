"""The only door to info.yaml: what happened to a run, read, claimed and written."""

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mlxpy_core._errors import MlxpyError, StorageError
from mlxpy_core._io._files import Stamp, read_bytes, stamp_of, write_whole
from mlxpy_core._io._retries import Retries
from mlxpy_core._io._yaml import dump_yaml, load_yaml

from ._directory import RunDirectory
from ._process import describe_process, died_here, lives_here
from ._status import Status

INFO_FILE = "metadata/info.yaml"
"""Where the file lies in a run's directory."""

# A claim is held from the look at info.yaml until the attempt stands there. One that a dead process of
# another host has left is passed over after this time.
_CLAIM_S = 60.0
_LOOK_S = 0.02


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
    return read_bytes(f"{run}/{INFO_FILE}").decode()


def read_info(directory: RunDirectory, retries: Retries | None = None) -> dict[str, Any] | None:
    """Reads info.yaml; None if it cannot be read now, or is not what mlxpy wrote.

    Args:
        directory: the run's directory.
        retries: bounds the time that a file system is waited for; of many runs together, say.
    """
    try:
        info = load_yaml((retries or Retries())(lambda: read_info_text(str(directory.path))))
        Status(info["status"])
        attempts, scheduler = info["attempts"], info.setdefault("scheduler", None)
        known = all(isinstance(attempt["status"], str) for attempt in attempts)
        known = known and (scheduler is None or isinstance(scheduler["name"], str))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError):
        return None
    return info if known else None


def read_info_to_continue(directory: RunDirectory) -> dict[str, Any]:
    """Reads info.yaml of a run that is to be continued; it is empty where there is none.

    Raises:
        MlxpyError: it is not what mlxpy wrote.
        StorageError: it may not be read.
    """
    path = info_path(directory.path)
    try:
        info = load_yaml(Retries()(lambda: read_info_text(str(directory.path))))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StorageError(f"cannot read {path}", error) from error
    except (ValueError, yaml.YAMLError):
        info = None
    if not isinstance(info, dict) or not isinstance(info.get("attempts"), list):
        raise MlxpyError(
            f"{path} is not what mlxpy wrote, so the run cannot be continued: mend it or move it away"
        )
    return info


def read_status(directory: RunDirectory) -> Status | None:
    """Reads the status of a run; None if its info.yaml cannot be read now."""
    info = read_info(directory)
    return Status(info["status"]) if info else None


def write_info(
    directory: RunDirectory, info: Mapping[str, Any], retries: Retries | None = None
) -> Stamp:
    """Writes info.yaml whole and returns its stamp.

    Args:
        directory: the run's directory.
        info: what the file will hold.
        retries: bounds the time that a file system is waited for.

    Raises:
        StorageError: the file system refused.
    """
    path = info_path(directory.path)
    retries = retries or Retries()
    write_whole(path, dump_yaml(dict(info)), retries)
    try:
        return retries(lambda: info_stamp(directory))
    except OSError as error:
        raise StorageError(f"cannot look at {path}", error) from error


def touch_info(directory: RunDirectory) -> None:
    """Has readers that have looked at a run look again: its metrics or artifacts have changed."""
    with contextlib.suppress(OSError):
        os.utime(info_path(directory.path))


def read_config(directory: RunDirectory) -> dict[str, Any] | None:
    """Reads the config.yaml beside it; None if it cannot be read now, or holds no config."""
    try:
        config = load_yaml(directory.config.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return config if isinstance(config, dict) else None


def noted_job_id(directory: RunDirectory, info: Mapping[str, Any]) -> str | None:
    """Returns the id of a run's job: the job's own note or, before it starts, the submitter's."""
    job_id = (info.get("scheduler") or {}).get("scheduler_job_id")
    if job_id is None:
        try:
            noted = load_yaml((directory.state / "job.yaml").read_text(encoding="utf-8"))
            job_id = noted["scheduler_job_id"]
        except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError):
            return None
    return None if job_id is None else str(job_id)


@dataclass(frozen=True)
class AttemptClaim:
    """The right to write an attempt at a run into its info.yaml, until `release`.

    Attributes:
        info: what info.yaml holds of the earlier attempts; empty for a new run.
        place: the directory that is the claim.
    """

    info: dict[str, Any]
    place: Path

    def release(self) -> None:
        """Releases the claim: the attempt stands in info.yaml, or will not be made."""
        shutil.rmtree(self.place, ignore_errors=True)


def claim_attempt(directory: RunDirectory) -> AttemptClaim:
    """Claims the next attempt at a run: of processes that ask at once, one gets it.

    The claim is a directory that appears together with a note of its process, by a rename that fails
    where there is one already.

    Raises:
        MlxpyError: another process starts the run at this moment, or its info.yaml is damaged.
        StorageError: the file system refused.
    """
    info = read_info_to_continue(directory)
    attempt = len(info.get("attempts", [])) + 1
    mine = directory.state / f".claim-{secrets.token_hex(8)}"
    try:
        mine.mkdir(parents=True)
        (mine / "process.yaml").write_text(dump_yaml(describe_process()), encoding="utf-8")
        place = _take(directory, mine, attempt)
    except OSError as error:
        shutil.rmtree(mine, ignore_errors=True)
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"cannot start a run in {directory.path}", error) from error
    except MlxpyError:
        shutil.rmtree(mine, ignore_errors=True)
        raise
    claim = AttemptClaim(read_info_to_continue(directory), place)
    if len(claim.info.get("attempts", [])) + 1 != attempt:
        claim.release()
        raise _started_elsewhere(directory)
    return claim


def _take(directory: RunDirectory, mine: Path, attempt: int) -> Path:
    """Makes a prepared directory the claim; those that dead processes have left are passed over."""
    end = time.monotonic() + _CLAIM_S
    turn = 1
    while True:
        place = mine.with_name(f"claim-{attempt}.{turn}")
        try:
            os.rename(mine, place)
        except OSError:
            if not place.exists():
                raise
        else:
            return place
        holder = _holder(place)
        if died_here(holder) or _age_s(place) > _CLAIM_S:
            turn += 1
        elif lives_here(holder) or time.monotonic() > end:
            raise _started_elsewhere(directory, holder)
        else:  # of another host: it starts the run, or has died in between
            time.sleep(_LOOK_S)


def _holder(place: Path) -> dict[str, Any]:
    try:
        holder = load_yaml((place / "process.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _age_s(place: Path) -> float:
    try:
        return time.time() - place.stat().st_mtime
    except OSError:
        return 0


def _started_elsewhere(directory: RunDirectory, holder: Mapping[str, Any] | None = None) -> MlxpyError:
    who = f"process {holder['process_id']} on {holder['host']}" if holder else "another process"
    return MlxpyError(
        f"run {directory.log_id} in {directory.path.parent} was started by {who} at this moment: wait "
        "for its end or stop it before continuing it"
    )
