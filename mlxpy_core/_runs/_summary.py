"""A run's metadata once more, as one JSON file under ``.keys/``: the reader need not parse YAML.

It is a cache. It names the files that it repeats by length and time of change, and counts only as long
as they are the same; a run without it, or with an older one, is read from its YAML files.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlxpy_core._errors import StorageError
from mlxpy_core._io._files import Stamp, read_bytes, stamp_of, write_whole
from mlxpy_core._io._flatten import flatten
from mlxpy_core._io._text import is_unicode

from ._annotations import Annotations, read_annotations
from ._artifact_files import list_artifacts
from ._directory import RunDirectory
from ._info_file import info_stamp
from ._metrics_files import is_app_log, keys_of_all_ranks

_VERSION = 2
# Commands compute with them: another user's list there is no summary.
_PLAIN = tuple(f"info.{name}" for name in ("status", "start_date", "start_time", "end_date", "end_time"))
_MOST_BRACKETS = 500  # a summary of more is left to the YAML, which another user cannot nest too deep


@dataclass(frozen=True)
class Summary:
    """What the reader shows of a run.

    Attributes:
        fields: the values of ``info.*`` and ``config.*``.
        lazy: the names of what is loaded on demand, see `lazy_names`; None while the run goes on.
    """

    fields: dict[str, Any]
    lazy: str | None = None


def lazy_names(metrics_keys: Mapping[str, Iterable[str]], artifacts: str | Path) -> str:
    """Names the metrics and artifacts of a run, as JSON that is equal for runs that have the same.

    Args:
        metrics_keys: the keys of each log.
        artifacts: the directory of artifacts, which is listed.

    Returns:
        An object: ``metrics`` holds the keys by log, ``artifacts`` the file names by type and folder.
    """
    keys = {name: sorted(metrics_keys[name]) for name in sorted(metrics_keys)}
    return json.dumps({"metrics": keys, "artifacts": list_artifacts(artifacts)})


def read_lazy_names(text: str) -> dict[str, Any]:
    """Decodes what `lazy_names` returned; names that would lead out of the run's directory are left out.

    The text may come from another user's summary: what is not of its form is as good as none.
    """
    try:
        names = json.loads(text)
        metrics = {
            str(log): [key for key in keys if isinstance(key, str) and is_unicode(key)]
            for log, keys in names["metrics"].items()
            if stays_below(log) and not is_app_log(log)
        }
        artifacts = {
            kind: {
                folder: [file for file in files if stays_below(file)]
                for folder, files in folders.items()
                if not folder or stays_below(folder)
            }
            for kind, folders in names["artifacts"].items()
            if stays_below(kind)
        }
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return {"metrics": {}, "artifacts": {}}
    return {"metrics": metrics, "artifacts": artifacts}


def stays_below(name: str) -> bool:
    """Returns whether a name leads to no other place than one below where it is looked for."""
    return "\0" not in name and is_unicode(name) and not {"", ".", ".."} & set(name.split("/"))


def write_summary(
    directory: RunDirectory, config: Mapping[str, Any], info: Mapping[str, Any], *, ended: bool
) -> None:
    """Repeats what config.yaml and info.yaml hold now; what cannot be written is left out.

    Args:
        directory: the run's directory.
        config: what config.yaml holds.
        info: what info.yaml holds.
        ended: whether no metrics and artifacts will follow; then they are named, too.
    """
    # Any trouble (a full disk, values that JSON does not know) leaves the YAML files, which count.
    with contextlib.suppress(StorageError, OSError, TypeError, ValueError):
        # Before annotations are read: who changes them changes it last.
        info_file = info_stamp(directory)
        fields: dict[str, Any] = {}
        flatten(read_annotations(directory.path).added_to(info), "info", fields)
        flatten(config, "config", fields)
        keys = keys_of_all_ranks(directory.metrics, directory.state) if ended else {}
        summary = {
            "version": _VERSION,
            "info_file": info_file,
            "config_file": stamp_of(directory.config),
            "fields": fields,
            "lazy": lazy_names(keys, directory.artifacts) if ended else None,
            "annotated": True,
        }
        write_whole(directory.state / "summary.json", json.dumps(summary), directory.logs)


def renew_summary(directory: RunDirectory, before: Stamp, after: Stamp, said: Annotations) -> None:
    """Has a summary say what people say of the run now, if it agreed with info.yaml before.

    Args:
        directory: the run's directory.
        before: the stamp that info.yaml had.
        after: the stamp that the same contents have now.
        said: what people say.
    """
    damaged = (LookupError, TypeError, ValueError, AttributeError, RecursionError)
    with contextlib.suppress(StorageError, OSError, *damaged):
        path = directory.state / "summary.json"
        summary = json.loads(read_bytes(path, directory.logs))
        if summary["info_file"] == list(before):
            fields = said.added_to_fields(summary["fields"])
            renewed = {**summary, "info_file": after, "fields": fields, "annotated": True}
            write_whole(path, json.dumps(renewed), directory.logs)


def read_summary(run: str, info_file: Stamp) -> Summary | None:
    """Reads the summary of a run if it still agrees with the YAML files.

    Args:
        run: the path of the run's directory.
        info_file: the stamp of info.yaml.
    """
    try:
        text = read_bytes(f"{run}/.keys/summary.json", os.path.dirname(run))
        if text.count(b"[") + text.count(b"{") > _MOST_BRACKETS:
            return None
        summary = json.loads(text)
        stamps = [list(info_file), list(stamp_of(f"{run}/metadata/config.yaml"))]
        if summary["version"] == _VERSION and [summary["info_file"], summary["config_file"]] == stamps:
            fields, lazy = summary["fields"], summary["lazy"]
            plain = all(not isinstance(fields.get(name), (dict, list)) for name in _PLAIN)
            if plain and isinstance(lazy, (str, type(None))) and is_unicode("".join(fields.keys())):
                if not summary.get("annotated"):  # of a version that knew no annotations
                    fields = read_annotations(run).added_to_fields(fields)
                return Summary(fields, lazy)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        pass
    return None
