"""The run whose process has started this one, which that process has described in ``MLXPY_RUN``."""

import functools
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ._directory import RunDirectory
from ._process import ancestors, describe_process, is_same_process
from ._start_of_process import (
    ARGUMENTS,
    LAUNCHER_VARIABLES,
    PROGRAM,
    digest,
    environment_at_start,
    is_forked_or_spawned,
    main_file,
)

# Set by the process of a run, for the processes that it starts.
_RUN_VARIABLE = "MLXPY_RUN"
# The main modules of processes that run parts of another program, besides those of multiprocessing.
_PARTS = frozenset(
    {
        "joblib.externals.loky.backend.popen_loky_posix",
        "loky.backend.popen_loky_posix",
        "submitit.core._submit",
    }
)
# Longer descriptions of a job do not fit into an environment.
_MOST_CHARACTERS = 60_000


@dataclass(frozen=True)
class ParentRun:
    """The run of the process that has started this one, perhaps by way of others.

    Attributes:
        directory: where it lies.
        number: which run of that process it was, from 0.
        rank: which rank of the run that process was.
        process: that process, as `describe_process` describes it.
        programs: the main file of its program, and the file that its arguments name.
        commands: its arguments, as typed and as changed since: how many, and their digest.
        variables: those of a launcher that it was started with.
        job: the number and the overrides of its job in a sweep; None of a single one.
    """

    directory: str
    number: int
    rank: int
    process: dict[str, Any]
    programs: list[str]
    commands: list[tuple[int, str]]
    variables: dict[str, str]
    job: dict[str, Any] | None = None


def tell_children(
    directory: RunDirectory, rank: int, number: int, job: Mapping[str, Any] | None = None
) -> None:
    """Lets the processes that this one starts know of which run it is.

    Args:
        directory: where the run lies.
        rank: which of the run's ranks this process is.
        number: which run of this process it is, from 0.
        job: the number and the overrides of the job in a sweep.
    """
    arguments = {ARGUMENTS, tuple(sys.argv[1:])}
    environment = environment_at_start()
    described = ParentRun(
        directory=os.path.abspath(directory.path),
        number=number,
        rank=rank,
        process=describe_process(),
        programs=[main_file(), PROGRAM],
        commands=[(len(one), digest(one)) for one in arguments],
        variables={name: environment[name] for name in LAUNCHER_VARIABLES if name in environment},
        job=dict(job) if job and len(str(job)) < _MOST_CHARACTERS else None,
    )
    os.environ[_RUN_VARIABLE] = json.dumps(vars(described))


def stop_telling_children() -> None:
    """Takes it back: the run has ended."""
    earlier = environment_at_start().get(_RUN_VARIABLE)
    if earlier is None:
        os.environ.pop(_RUN_VARIABLE, None)
    else:
        os.environ[_RUN_VARIABLE] = earlier


@functools.cache
def run_of_ancestor() -> ParentRun | None:
    """Returns the run whose process has started this one, perhaps by way of others."""
    try:
        parent_run = ParentRun(**json.loads(environment_at_start().get(_RUN_VARIABLE, "")))
    except (ValueError, TypeError):
        return None
    wanted = parent_run.process
    found = (pid for pid in ancestors() if pid == wanted.get("process_id"))
    return parent_run if any(is_same_process(describe_process(pid), wanted) for pid in found) else None


def run_of_program() -> ParentRun | None:
    """Returns the run of an ancestor if this process runs a part of the ancestor's program.

    None for a program of its own, also where a run has started it.
    """
    specification = getattr(sys.modules.get("__main__"), "__spec__", None)
    if not is_forked_or_spawned() and getattr(specification, "name", None) not in _PARTS:
        return None
    return run_of_ancestor()
