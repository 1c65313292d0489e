"""The metrics files of a run: where they lie, whose they are, which keys they hold."""

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from mlxpy_core._io._files import open_regular, read_text
from mlxpy_core._io._flatten import flat_row
from mlxpy_core._io._text import is_unicode
from mlxpy_core._io._yaml import load_yaml

from ._directory import is_run_name

_SUFFIX = ".json"
_LONGEST_ROW = 2**26  # bytes; a line in another user's file may be larger than memory


_RANKS = ".ranks"


# How the reader names the logs of the other ranks.
_OF_RANK = re.compile(r"rank([1-9]\d{,17})/(.+)", flags=re.DOTALL | re.ASCII)


OF_APP = ".app/"
"""How the names of logs begin that the app wrote by itself; names of mlxpy's own begin with no dot."""


def is_app_log(log: str) -> bool:
    """Returns whether a log is one that the app wrote by itself."""
    return log.startswith(OF_APP)


def shown_log(log: str) -> str:
    """Returns the name of a log as people see it."""
    return log.removeprefix(OF_APP)


def metrics_files(directory: Path) -> dict[str, Path]:
    """Lists the metrics files below `directory` by log name; links are none of ours."""
    return {
        str(path.relative_to(directory))[: -len(_SUFFIX)]: path
        for path in sorted(directory.rglob(f"*{_SUFFIX}"))
        if not any(part.startswith(".") for part in path.relative_to(directory).parts)
        and path.is_file()
        and not path.is_symlink()
    }


def metrics_of_rank(metrics: Path, rank: int) -> Path:
    """Returns the directory of one rank's metrics files below a run's ``metrics``."""
    return metrics / _RANKS / str(rank) if rank else metrics


def keys_of_rank(state: Path, rank: int) -> Path:
    """Returns the file in a run's state directory that lists which keys the logs of one rank hold."""
    return state / (f"metrics.rank{rank}.yaml" if rank else "metrics.yaml")


def other_ranks(metrics: Path) -> list[int]:
    """Lists the ranks besides 0 that have logged something."""
    try:
        with os.scandir(metrics / _RANKS) as entries:
            return sorted(
                int(entry.name)
                for entry in entries
                if is_run_name(entry.name) and entry.is_dir(follow_symlinks=False)
            )
    except (FileNotFoundError, NotADirectoryError):
        return []


def file_of_log(metrics: Path, log_name: str) -> Path:
    """Returns the metrics file of a log by the name that the reader has for it."""
    if of_rank := _OF_RANK.fullmatch(log_name):
        metrics, log_name = metrics_of_rank(metrics, int(of_rank[1])), of_rank[2]
    return metrics / (log_name + _SUFFIX)


def is_of_other_rank(log_name: str) -> bool:
    """Returns whether the reader's name for a log is one of another rank than 0."""
    return _OF_RANK.fullmatch(log_name) is not None


def files_of_all_ranks(metrics: Path) -> dict[str, Path]:
    """Lists the metrics files of a run by the reader's names for the logs."""
    files = metrics_files(metrics)
    for rank in other_ranks(metrics):
        of_rank = metrics_files(metrics_of_rank(metrics, rank))
        files.update({f"rank{rank}/{name}": path for name, path in of_rank.items()})
    return files


def keys_of_all_ranks(metrics: Path, state: Path) -> dict[str, set[str]]:
    """Reads which keys each log of a run holds, by the reader's names for the logs."""
    listed = listed_keys(metrics, keys_of_rank(state, 0))
    for rank in other_ranks(metrics):
        of_rank = listed_keys(metrics_of_rank(metrics, rank), keys_of_rank(state, rank))
        listed.update({f"rank{rank}/{name}": found for name, found in of_rank.items()})
    return listed


def listed_keys(directory: Path, keys_file: Path) -> dict[str, set[str]]:
    """Reads which keys each log holds, from the list or, where it is lost, from the rows."""
    try:
        listed = load_yaml(read_text(keys_file, keys_file.parent.parent.parent))
        return {str(name): set(map(str, keys)) for name, keys in listed.items()}
    except (OSError, ValueError, AttributeError, TypeError, yaml.YAMLError):
        logs = keys_file.parent.parent.parent
        return {name: known_keys(path, logs) for name, path in metrics_files(directory).items()}


def known_keys(path: Path, logs: Path) -> set[str]:
    """Collects the keys of all rows of a metrics file of a run in a directory of runs."""
    keys: set[str] = set()
    for line in whole_lines(path, logs):
        with contextlib.suppress(ValueError, RecursionError):  # no row, or none of ours
            row = json.loads(line)
            if isinstance(row, dict):
                keys.update(key for key in flat_row(row) if is_unicode(key))
    return keys


def whole_lines(path: Path, logs: Path) -> Iterator[bytes]:
    """Yields the lines of a metrics file that are whole, up to one that is too long to be a row.

    Raises:
        OSError: it cannot be read.
    """
    with os.fdopen(open_regular(path, logs), "rb") as file:
        while (line := file.readline(_LONGEST_ROW)).endswith(b"\n"):
            yield line


def cut_torn_line(descriptor: int) -> None:
    """Cuts off a last line without its end: a kill stopped its `write` before it returned."""
    size = end = os.fstat(descriptor).st_size
    while end:
        start = max(0, end - 65536)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end != size:
        os.ftruncate(descriptor, end)
