"""The run of a program without Hydra, which starts it by making a logger."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mlxpy_core._errors import MlxpyError, StorageError
from mlxpy_core._runs._launch import relative_to_launch
from mlxpy_core._runs._parent_run import tell_children
from mlxpy_core._versioning._launches import launch_of_this_process

from ._attempt import take_run
from ._run import Run, current_run


def start_standalone_run(settings: dict[str, Any], config: Mapping[str, Any]) -> Run:
    """Starts a run that no face ends; it takes the place of one that was started so before.

    Args:
        settings: the arguments of `Logger`, and the name of its class.
        config: what config.yaml is to hold.

    Raises:
        MlxpyError: the run's directory cannot be had, or a run that Hydra started is active.
    """
    try:
        return _start(settings, config)
    except OSError as error:  # too many open files, say
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"cannot start a run in {settings['parent_log_dir']}", error) from error


def _start(settings: dict[str, Any], config: Mapping[str, Any]) -> Run:
    from mlxpy_core._runs._config import plain_mapping  # omegaconf is imported in vain by who reads

    active = current_run()
    if active and not active.standalone:
        raise MlxpyError(
            f"run {active.directory.log_id} in {active.directory.path.parent} is active: "
            "get its logger by mlxpy.get_logger()"
        )
    if active:
        active.end()
    launch = launch_of_this_process()
    parent = relative_to_launch(settings["parent_log_dir"], launch)
    plain = plain_mapping(config)
    attempt = take_run(parent, settings["forced_log_id"])
    run = Run.start(
        attempt,
        launch=replace(launch, tags=settings["tags"]),
        config=plain,
        settings={"logger": {**settings, "parent_log_dir": str(parent)}, "use_logger": True},
        log_streams_to_file=settings["log_streams_to_file"],
        system_metrics_s=settings["system_metrics_interval_s"] if settings["system_metrics"] else None,
        standalone=True,
    )
    tell_children(attempt.directory, attempt.rank, attempt.number)
    return run
