"""A run's metadata once more, as one JSON file under ``.keys/``: the reader need not parse YAML.

It is a cache. It names the files that it repeats by length and time of change, and counts only as long
as they are the same; a run without it, or with an older one, is read from its YAML files.
"""

import contextlib
import json
import os
from collections.abc import Mapping
from typing import Any

from ._artifacts import list_artifacts
from ._directories import RunDirectory
from ._errors import StorageError
from ._files import write_whole
from ._metrics import listed_keys

Stamp = tuple[int, int]
"""What tells that a file has changed: time of change in nanoseconds, length in bytes."""

_VERSION = 1


def stamp_of(path: str | os.PathLike[str]) -> Stamp:
    """Gives the stamp of a file.

    Raises:
        OSError: there is no such file, or it may not be looked at.
    """
    status = os.stat(path)
    return status.st_mtime_ns, status.st_size


def write_summary(
    directory: RunDirectory, config: Mapping[str, Any], info: Mapping[str, Any], *, ended: bool
) -> None:
    """Repeats what config.yaml and info.yaml hold now; what cannot be written is left out.

    Args:
        directory: the run's directory.
        config: what config.yaml holds.
        info: what info.yaml holds.
        ended: whether no metrics and artifacts will follow; then they are listed, too.
    """
    # Any trouble (a full disk, values that JSON does not know) leaves the YAML files, which count.
    with contextlib.suppress(StorageError, OSError, TypeError, ValueError):
        summary = {
            "version": _VERSION,
            "info_file": stamp_of(directory.info),
            "config_file": stamp_of(directory.config),
            "info": info,
            "config": config,
        }
        if ended:
            keys = listed_keys(directory.metrics, directory.keys / "metrics.yaml")
            summary["metrics"] = {name: sorted(keys[name]) for name in keys}
            summary["artifacts"] = list_artifacts(directory.artifacts)
        write_whole(directory.keys / "summary.json", json.dumps(summary))


def read_summary(run: str, info_file: Stamp) -> dict[str, Any] | None:
    """Reads the summary of a run if it still says what the YAML files say.

    Args:
        run: the path of the run's directory.
        info_file: the stamp of info.yaml.
    """
    try:
        with open(f"{run}/.keys/summary.json", "rb") as file:
            summary = json.loads(file.read())
        stamps = [list(info_file), list(stamp_of(f"{run}/metadata/config.yaml"))]
        current = (
            summary["version"] == _VERSION and [summary["info_file"], summary["config_file"]] == stamps
        )
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return summary if current else None
