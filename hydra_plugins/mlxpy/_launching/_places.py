"""Where a sweep and its jobs write."""

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from hydra_plugins.mlxpy._error_messages import errors_end_the_program
from hydra_plugins.mlxpy._hydra import callback_of
from hydra_plugins.mlxpy._nodes import MlxpLauncherNode, MlxpLoggerNode
from hydra_plugins.mlxpy._outputs import (
    has_default_output,
    new_sweep_directory,
    passing_sweep_directory,
    set_sweep_directory,
    write_sweep_among_runs,
)
from hydra_plugins.mlxpy._sweep_job import sweep_job_of_this_process
from mlxpy_core import (
    RERUN_VARIABLE,
    Launch,
    MlxpyError,
    StorageError,
    launch_of_this_process,
    relative_to_launch,
)


def place_sweep(config: DictConfig, options: Mapping[str, Any]) -> None:
    """Places what the sweeper writes, where no callback has done so; an error ends the program."""
    with errors_end_the_program():
        if any(option.name not in {"_target_", *options} for option in fields(MlxpLauncherNode)):
            raise MlxpyError(
                "hydra.launcher lacks options of mlxpy's launchers: in its file, write "
                "'defaults: [mlxp_slurm]' in place of _target_"
            )
        # A rerun of a sweep's job leaves alone what the sweep wrote.
        if options["dry_run"] or RERUN_VARIABLE in os.environ:
            set_sweep_directory(config, passing_sweep_directory())
        elif not (has_default_output(config.hydra.sweep) and uses_run_dir(config)):
            return
        elif sweep_job_of_this_process():  # which Hydra runs as a sweep of one job
            write_sweep_among_runs(config, passing_sweep_directory())
        else:
            parent = log_directory(config, options, launch_of_this_process())
            set_sweep_directory(config, new_sweep_directory(parent))


def make_sweep_directory(path: str) -> None:
    """Makes the directory that sweepers write to."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make the sweep's directory {path}", error) from error


def log_directory(config: DictConfig, options: Mapping[str, Any], launch: Launch) -> Path:
    """Returns the directory of all runs of a sweep, absolute: the callback's, or else the launcher's."""
    callback = callback_of(config, "mlxp_logger")
    return relative_to_launch((callback or options)["parent_log_dir"], launch)


def uses_run_dir(config: DictConfig) -> bool:
    """Returns whether the user leaves Hydra's output directories to the callback."""
    return bool(callback_of(config, "mlxp_logger").get("use_run_dir", MlxpLoggerNode.use_run_dir))
