"""Which of a run's subprocesses writes to which metrics files: one at a time, and one after the other.

A subprocess has the first directory ``metrics/.subprocesses/<n>`` whose owner no longer lives, so that a
program that starts four for each epoch has four directories in the end. The owner is the name of a file
there, which another takes over by renaming it: of two that try, one does. All subprocesses of a process
are on its host.
"""

import itertools
import os
from pathlib import Path

from mlxpy_core._io._links import opened_folder

from ._metrics_files import metrics_of_subprocess
from ._process import process_name

_OWNER = ".owner-"


def take_number(metrics: Path, logs: Path) -> int:
    """Takes the directory of a subprocess for this process and returns its number.

    Args:
        metrics: the directory of the metrics files of the rank that has started this process.
        logs: the directory of all runs.

    Raises:
        OSError: the file system refused.
    """
    mine = _OWNER + process_name()
    for number in itertools.count(1):
        place = metrics_of_subprocess(metrics, number)
        with opened_folder(place.parent, logs, make=True) as parent:
            try:
                os.mkdir(place.name, dir_fd=parent)
                is_new = True
            except FileExistsError:
                is_new = False
        with opened_folder(place, logs) as folder:
            if is_new:
                os.close(os.open(mine, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=folder))
                return number
            # Where there is none another process is making the directory, or died doing so.
            owner = next(iter(_owners(place)), None)
            if owner and not _lives(owner):
                try:
                    os.rename(owner, mine, src_dir_fd=folder, dst_dir_fd=folder)
                except FileNotFoundError:  # another was faster
                    continue
                return number
    raise AssertionError  # numbers do not end


def is_written(path: Path) -> bool:
    """Returns whether a metrics file is that of a subprocess that lives."""
    return any(_lives(owner) for folder in path.parents for owner in _owners(folder))


def _owners(folder: Path) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if name.startswith(_OWNER)]
    except OSError:
        return []


def _lives(owner: str) -> bool:
    name = owner.removeprefix(_OWNER)
    process_id = name.partition("-")[0]
    return process_id.isdecimal() and process_name(int(process_id)) == name
