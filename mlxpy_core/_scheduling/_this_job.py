"""Which scheduler's job this process belongs to."""

import os

from mlxpy_core._errors import MlxpyError
from mlxpy_core._runs._devices import given_devices
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._info import JobIdentity

from ._find_scheduler import find_scheduler_class, known_schedulers
from ._job import noted_directives
from ._local import LOCAL


def job_of_this_process(name: str | None, *, by_script: bool = False) -> JobIdentity | None:
    """Returns the job that this process belongs to; None if it belongs to none.

    Args:
        name: the name of the scheduler that the run was submitted to; None if it was not submitted: each
            scheduler is asked then.
        by_script: whether the run's script has started this process. Where the scheduler tells its jobs
            no id, that is all that makes it one.
    """
    if name:
        try:
            scheduler = find_scheduler_class(name)
        except MlxpyError:  # the plugin is not installed here
            return JobIdentity(None) if by_script else None
        if by_script and not scheduler.job_variable:
            return JobIdentity(None)
        return scheduler.job_of(os.environ)
    found = (scheduler.job_of(os.environ) for scheduler in known_schedulers().values())
    return next(filter(None, found), None)


def requested_by_this_job(directory: RunDirectory) -> dict[str, int]:
    """Returns what the job of this process was given of this machine, see `Scheduler.requested`.

    Every scheduler is asked: a job of one (submitit's, this machine's) may run in another's.
    """
    directives = noted_directives(directory)
    requested: dict[str, int] = {}
    for scheduler in dict.fromkeys(known_schedulers().values()):
        if scheduler.job_of(os.environ):
            requested.update(scheduler.requested(os.environ, directives))
    return requested


def devices_of_this_job(name: str | None) -> dict[str, str]:
    """Returns the GPUs and processors that this process has for itself, see `given_devices`.

    Args:
        name: the name of the scheduler that the run was submitted to; None if it was not submitted.
    """
    # A job of a cluster that was submitted by one of this machine may have inherited its variables.
    return given_devices(os.environ) if name in (None, LOCAL) else {}
