"""The metrics files of a run: where they lie, whose they are, which keys they hold."""

import contextlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

from mlxpy_core._io._files import open_regular, read_text
from mlxpy_core._io._flatten import flat_row
from mlxpy_core._io._retries import can_pass
from mlxpy_core._io._text import is_unicode
from mlxpy_core._io._yaml import load_yaml

from ._directory import is_run_name

_SUFFIX = ".json"
_LONGEST_ROW = 2**26  # bytes; a line in another user's file may be larger than memory

_RANKS = ".ranks"
_SUBPROCESSES = ".subprocesses"

# How the reader names the logs of the other ranks, and those of subprocesses of a rank.
_OF_RANK = re.compile(r"rank([1-9]\d{,17})/(.+)", flags=re.DOTALL | re.ASCII)
_OF_SUBPROCESS = re.compile(r"subprocess([1-9]\d{,17})/(.+)", flags=re.DOTALL | re.ASCII)

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


def metrics_of_subprocess(metrics: Path, number: int) -> Path:
    """Returns the directory of the metrics files of one subprocess below those of its rank."""
    return metrics / _SUBPROCESSES / str(number)


def keys_of_subprocess(state: Path, rank: int, number: int) -> Path:
    """Returns the file that lists which keys the logs of one subprocess hold; see `keys_of_rank`."""
    return keys_of_rank(state, rank).with_suffix(f".subprocess{number}.yaml")


def other_ranks(metrics: Path) -> list[int]:
    """Lists the ranks besides 0 that have logged something."""
    return _numbers(metrics / _RANKS)


def subprocesses(metrics: Path) -> list[int]:
    """Lists the numbers of the subprocesses of a rank that have logged something."""
    return _numbers(metrics / _SUBPROCESSES)


def files_with_subprocesses(metrics: Path) -> dict[str, Path]:
    """Lists a rank's metrics files and those of its subprocesses by their paths below `metrics`."""
    files = metrics_files(metrics)
    for number in subprocesses(metrics):
        folder = metrics_of_subprocess(metrics, number)
        below = f"{_SUBPROCESSES}/{number}/"
        files.update({below + name: path for name, path in metrics_files(folder).items()})
    return files


def _numbers(directory: Path) -> list[int]:
    try:
        with os.scandir(directory) as entries:
            return sorted(
                int(entry.name)
                for entry in entries
                if is_run_name(entry.name) and entry.is_dir(follow_symlinks=False)
            )
    except OSError as error:  # there are none, or others have put something else there
        if can_pass(error):
            raise
        return []


def file_of_log(metrics: Path, log_name: str) -> Path:
    """Returns the metrics file of a log by the name that the reader has for it."""
    if of_rank := _OF_RANK.fullmatch(log_name):
        metrics, log_name = metrics_of_rank(metrics, int(of_rank[1])), of_rank[2]
    if of_subprocess := _OF_SUBPROCESS.fullmatch(log_name):
        metrics = metrics_of_subprocess(metrics, int(of_subprocess[1]))
        log_name = of_subprocess[2]
    return metrics / (log_name + _SUFFIX)


def is_of_other_rank(log_name: str) -> bool:
    """Returns whether the reader's name for a log is one of another process than rank 0's own."""
    return any(pattern.fullmatch(log_name) for pattern in (_OF_RANK, _OF_SUBPROCESS))


class _Place(NamedTuple):
    """The metrics of one process of a run: how the reader's names for its logs begin, and its files."""

    prefix: str
    metrics: Path
    keys: Path


def _places(metrics: Path, state: Path) -> Iterator[_Place]:
    for rank in [0, *other_ranks(metrics)]:
        prefix = f"rank{rank}/" if rank else ""
        folder = metrics_of_rank(metrics, rank)
        yield _Place(prefix, folder, keys_of_rank(state, rank))
        for number in subprocesses(folder):
            yield _Place(
                f"{prefix}subprocess{number}/",
                metrics_of_subprocess(folder, number),
                keys_of_subprocess(state, rank, number),
            )


def files_of_all_ranks(metrics: Path) -> dict[str, Path]:
    """Lists the metrics files of a run, subprocesses' too, by the reader's names for the logs."""
    return {
        place.prefix + name: path
        for place in _places(metrics, metrics)
        for name, path in metrics_files(place.metrics).items()
    }


def keys_of_all_ranks(metrics: Path, state: Path) -> dict[str, set[str]]:
    """Reads which keys each log of a run holds, subprocesses' too, by the reader's names."""
    return {
        place.prefix + name: keys
        for place in _places(metrics, state)
        for name, keys in listed_keys(place.metrics, place.keys).items()
    }


def keys_files(metrics: Path, state: Path) -> Iterator[tuple[str, Path]]:
    """Yields, for each process of a run, how the names of its logs begin, and the file of their keys."""
    for place in _places(metrics, state):
        yield place.prefix, place.keys


def listed_keys(directory: Path, keys_file: Path) -> dict[str, set[str]]:
    """Reads which keys each log holds, from the list or, where it is lost, from the rows."""
    logs = keys_file.parent.parent.parent
    try:
        listed = load_yaml(read_text(keys_file, logs))
        return {str(name): set(map(str, keys)) for name, keys in listed.items()}
    except (OSError, ValueError, AttributeError, TypeError, yaml.YAMLError):
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


def count_lines(descriptor: int) -> int:
    """Counts the lines of a file."""
    count = position = 0
    while part := os.pread(descriptor, 2**20, position):
        count += part.count(b"\n")
        position += len(part)
    return count


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
