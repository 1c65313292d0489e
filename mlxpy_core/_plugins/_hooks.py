"""What a plugin may do: the hooks of mlxpy, as pluggy wants them."""

from collections.abc import Sequence
from typing import Any, Protocol

import pluggy

from mlxpy_core._runs._directory import RunDirectory

from ._artifact_type import ArtifactType
from ._scheduler import Scheduler

PROJECT = "mlxpy"
hookimpl = pluggy.HookimplMarker(PROJECT)
_hookspec = pluggy.HookspecMarker(PROJECT)


class WatchedRun(Protocol):
    """What a plugin may rely on of a run that it watches; it changes nothing of it.

    Attributes:
        directory: the places of the run's files.
        info: what info.yaml holds.
        config: what config.yaml holds.
    """

    directory: RunDirectory
    info: dict[str, Any]
    config: dict[str, Any]


@_hookspec
def mlxpy_scheduler() -> type[Scheduler]:  # type: ignore[empty-body]  # plugins have one
    """Returns a scheduler: a subclass of `mlxpy.Scheduler` that is made without arguments.

    It is then ``hydra/launcher=mlxp_<the plugin's name>``.
    """


@_hookspec
def mlxpy_artifact_types() -> Sequence[ArtifactType]:  # type: ignore[empty-body]  # plugins have one
    """Returns types of artifacts: ``mlxpy.ArtifactType(name, save, load, suffix)`` for each."""


@_hookspec
def mlxpy_run_started(run: WatchedRun) -> None:
    """Is called when a run, or another attempt at one, has started in this process.

    Args:
        run: what started: ``run.directory``, ``run.info``, ``run.config``.
    """


@_hookspec
def mlxpy_run_ended(run: WatchedRun) -> None:
    """Is called when a run has ended in this process and its final status is written.

    Args:
        run: what ended: ``run.info["status"]`` is its final status. Nothing more can be logged to it.
    """
