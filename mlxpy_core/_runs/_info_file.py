"""The only door to info.yaml: what happened to a run, read and written."""

from typing import TYPE_CHECKING, Any

import yaml

from mlxpy_core._errors import MlxpyError, StorageError
from mlxpy_core._io._yaml import load_yaml

from ._directory import RunDirectory
from ._status import Status

if TYPE_CHECKING:
    pass

from collections.abc import Mapping


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


def noted_job_id(directory: RunDirectory, info: Mapping[str, Any]) -> str | None:
    """Gives the id of a run's job: as the job says or, before it starts, as the submitter noted it."""
    job_id = (info.get("scheduler") or {}).get("scheduler_job_id")
    if job_id is None:
        try:
            noted = load_yaml((directory.state / "job.yaml").read_text(encoding="utf-8"))
            job_id = noted["scheduler_job_id"]
        except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError):
            return None
    return None if job_id is None else str(job_id)


def _read_info(directory: RunDirectory) -> dict[str, Any]:
    try:
        info = load_yaml(directory.info.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StorageError(f"cannot read {directory.info}", error) from error
    except (ValueError, yaml.YAMLError):
        info = None
    if not isinstance(info, dict) or not isinstance(info.get("attempts"), list):
        raise MlxpyError(
            f"{directory.info} is not what mlxpy wrote, so the run cannot be continued: "
            "mend it or move it away"
        )
    return info
