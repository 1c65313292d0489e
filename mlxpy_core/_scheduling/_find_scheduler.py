"""Finds a scheduler by its name: a built-in one, a plugin's, or a class of the user's."""

import contextlib
import functools
from typing import Any

from mlxpy_core._errors import MlxpyError
from mlxpy_core._plugins._dotted import load_dotted
from mlxpy_core._plugins._manager import call_plugins, plugin_names, report
from mlxpy_core._plugins._scheduler import Scheduler

from ._local import LocalScheduler
from ._lsf import LSFScheduler
from ._moab import MoabScheduler
from ._oar import OARScheduler
from ._pbs import PBSScheduler
from ._sge import SGEScheduler
from ._slurm import SLURMScheduler
from ._submitit import SUBMITIT, SubmititScheduler, submitit_scheduler

BUILT_IN_SCHEDULERS: dict[str, type[Scheduler]] = {
    scheduler.__name__: scheduler
    for scheduler in (
        LocalScheduler,
        OARScheduler,
        SLURMScheduler,
        SGEScheduler,
        PBSScheduler,
        LSFScheduler,
        MoabScheduler,
    )
}
_BUILT_IN_LAUNCHERS = {
    "submitit",
    *(name.removesuffix("Scheduler").lower() for name in BUILT_IN_SCHEDULERS),
}


def find_scheduler(name: str) -> Scheduler:
    """Makes a scheduler.

    Args:
        name: the class's name of a built-in scheduler or of a plugin's; a plugin's own name;
            ``submitit:`` and the name of one of its executors; or the dotted path of a class.

    Raises:
        MlxpyError: there is none of this name, or it cannot be made.
    """
    if name.startswith(SUBMITIT):
        return submitit_scheduler(name.removeprefix(SUBMITIT))
    scheduler = find_scheduler_class(name)
    try:
        return scheduler()
    except Exception as error:
        raise MlxpyError(f"the scheduler {name!r} cannot be made: {error}") from error


def scheduler_name(scheduler: Scheduler) -> str:
    """Returns the name by which `find_scheduler` finds a scheduler's class again."""
    if isinstance(scheduler, SubmititScheduler):
        return scheduler.name
    found = type(scheduler)
    if found in (*BUILT_IN_SCHEDULERS.values(), *_schedulers_of_plugins().values()):
        return found.__name__
    return f"{found.__module__}.{found.__qualname__}"


def find_installed_scheduler(name: str) -> Scheduler | None:
    """Makes a built-in scheduler or an installed plugin's, and imports nothing that the name says.

    For names that others have written down: a dotted path would run whatever it leads to.
    """
    if name in BUILT_IN_SCHEDULERS:
        return BUILT_IN_SCHEDULERS[name]()
    if name.startswith(SUBMITIT):
        with contextlib.suppress(MlxpyError):
            return submitit_scheduler(name.removeprefix(SUBMITIT))
    of_plugins = {found.__name__: found for found in _schedulers_of_plugins().values()}
    return of_plugins[name]() if name in of_plugins else None


def known_schedulers() -> dict[str, type[Scheduler]]:
    """Returns the schedulers of plugins and the built-in ones, by all their names."""
    of_plugins = _schedulers_of_plugins()
    return {
        **{found.__name__: found for found in of_plugins.values()},
        **of_plugins,
        **BUILT_IN_SCHEDULERS,
    }


def find_scheduler_class(name: str) -> type[Scheduler]:
    """Finds a scheduler's class by its name, see `find_scheduler`.

    Raises:
        MlxpyError: there is none.
    """
    if name.startswith(SUBMITIT):
        return SubmititScheduler
    known = known_schedulers()
    if name in known:
        return known[name]
    if name in plugin_names():
        raise MlxpyError(
            f"the plugin {name!r} gives no scheduler: have its mlxpy_scheduler() return the class"
        )
    choice = f"give {', '.join(sorted(known))}, or the dotted path of a class of yours"
    found: Any = load_dotted(name, "scheduler", choice)
    if fault := _fault(found, f"the scheduler {name!r}"):
        raise MlxpyError(fault)
    loaded: type[Scheduler] = found
    return loaded


@functools.cache  # what is wrong with one is reported once
def _schedulers_of_plugins() -> dict[str, type[Scheduler]]:
    """Returns the schedulers of plugins by the plugins' names; what is wrong with one is reported."""
    schedulers: dict[str, type[Scheduler]] = {}
    for name, found in call_plugins("mlxpy_scheduler").items():
        what = f"the scheduler of the plugin {name!r}"
        if fault := _fault(found, what) or _fault_of_names(name, found.__name__, schedulers):
            report(f"{fault} (left out)")
        else:
            schedulers[name] = found
    return schedulers


def _fault(found: Any, what: str) -> str:
    """Returns what is wrong with a scheduler's class; empty if nothing is."""
    if not (isinstance(found, type) and issubclass(found, Scheduler)):
        return f"{what} is {found!r}, no subclass of mlxpy.Scheduler: derive it from that"
    missing = " and no ".join(sorted(found.__abstractmethods__))
    return f"{what} has no {missing}: add it, as mlxpy.Scheduler says" if missing else ""


def _fault_of_names(name: str, class_name: str, others: dict[str, type[Scheduler]]) -> str:
    # Runs are noted with the name of the class.
    if name in _BUILT_IN_LAUNCHERS or class_name in BUILT_IN_SCHEDULERS:
        return f"the scheduler {class_name} of the plugin {name!r} has a built-in's name: choose another"
    for other, taken in others.items():
        if taken.__name__ == class_name:
            return (
                f"the plugins {other!r} and {name!r} both give a scheduler {class_name}: uninstall one"
            )
    return ""
