"""What a plugin may do: the hooks of mlxpy, as pluggy wants them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pluggy

from ._artifacts import ArtifactType

if TYPE_CHECKING:
    from ._run import Run
    from ._scheduling import Scheduler

PROJECT = "mlxpy"
hookimpl = pluggy.HookimplMarker(PROJECT)
_hookspec = pluggy.HookspecMarker(PROJECT)


@_hookspec
def mlxpy_scheduler() -> "type[Scheduler]":  # type: ignore[empty-body]  # plugins have one
    """Gives a scheduler: a subclass of `mlxpy.Scheduler` that is made without arguments.

    It is then ``hydra/launcher=mlxp_<the plugin's name>``.
    """


@_hookspec
def mlxpy_artifact_types() -> Sequence[ArtifactType]:  # type: ignore[empty-body]  # plugins have one
    """Gives types of artifacts: ``mlxpy.ArtifactType(name, save, load, suffix)`` for each."""


@_hookspec
def mlxpy_run_started(run: "Run") -> None:
    """Is called when a run, or another attempt at one, has started in this process.

    Args:
        run: what started: ``run.directory``, ``run.info``, ``run.config``.
    """


@_hookspec
def mlxpy_run_ended(run: "Run") -> None:
    """Is called when a run has ended in this process and its last word is written.

    Args:
        run: what ended: ``run.info["status"]`` is its last word. Nothing can be logged to it any more.
    """
