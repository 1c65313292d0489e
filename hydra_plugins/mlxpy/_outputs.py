"""Where Hydra writes: a place of its own choice, of the user's, or a run's directory."""

import atexit
import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

from omegaconf import DictConfig, open_dict, read_write

from mlxpy_core import (
    Attempt,
    Launch,
    RunDirectory,
    relative_to_launch,
    take_sweep_directory,
    writes_to_own_directory,
)

from ._hydra import as_current_config, as_written
from ._override_values import as_override_value

RUN_DIRECTORY_RESOLVER = "mlxp_run_directory"
RUN_SUBDIR = f"${{{RUN_DIRECTORY_RESOLVER}:}}"
# Hydra's own settings (hydra/conf/hydra/output/default.yaml); any other is the user's choice.
_DEFAULT_OUTPUTS = (
    {"dir": "outputs/${now:%Y-%m-%d}/${now:%H-%M-%S}"},
    {"dir": "multirun/${now:%Y-%m-%d}/${now:%H-%M-%S}", "subdir": "${hydra.job.num}"},
)


def has_default_output(node: DictConfig) -> bool:
    """Returns whether ``hydra.run`` or ``hydra.sweep`` is as Hydra or the callback wrote it."""
    written = as_written(node)
    return written in _DEFAULT_OUTPUTS or written.get("subdir") == RUN_SUBDIR


def is_output_of_sweep(override: str) -> bool:
    """Returns whether an override is the one by which `write_sweep_among_runs` places a sweep."""
    return override.startswith("hydra.sweep={") and override.endswith(f"subdir:'{RUN_SUBDIR}'}}")


def override_everywhere(config: DictConfig, override: str) -> None:
    """Adds an override to a sweep's config that every job's config is then composed with."""
    with ExitStack() as stack:
        for node in (config.hydra, config.hydra.overrides, config.hydra.overrides.hydra):
            stack.enter_context(read_write(node))
        config.hydra.overrides.hydra.append(override)


def run_dir_as_written(config: DictConfig) -> str:
    """Returns ``hydra.run.dir`` with what it refers to unresolved."""
    return str(as_written(config.hydra.run)["dir"])


def leave_what_is_there(config: DictConfig, attempt: Attempt, written: str) -> None:
    """Has a run that makes another one again write to its own directory, where Hydra's is in use.

    Args:
        config: the config of a single job.
        attempt: the attempt at the run.
        written: what `run_dir_as_written` gave, before the path was changed.
    """

    def resolve() -> str:
        with as_current_config(config):
            return str(config.hydra.run.dir)

    if writes_to_own_directory(attempt, written, resolve):
        write_to(config, attempt.directory)


def write_to(config: DictConfig, directory: RunDirectory) -> None:
    """Has Hydra write the output of a single job to a run's directory."""
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.run.dir = str(directory.path)


def write_run_where_typed(config: DictConfig, launch: Launch) -> None:
    """Keeps a single job's output out of a copy of the code: it goes where the command was typed."""
    _move_out_of_copy(config.hydra.run, launch)


def write_sweep_where_typed(config: DictConfig, launch: Launch) -> None:
    """Keeps the output of a sweep out of a copy of the code: it goes where the command was typed."""
    written = str(as_written(config.hydra.sweep)["dir"])
    if _move_out_of_copy(config.hydra.sweep, launch):
        place = os.path.join(launch.launch_dir, written)
        override_everywhere(config, f"hydra.sweep.dir={as_override_value(place)}")


def write_sweep_among_runs(config: DictConfig, sweep_dir: str) -> None:
    """Has the sweep write to its directory, and each of its jobs to its run's."""
    places = f"{{dir:{as_override_value(sweep_dir)},subdir:'{RUN_SUBDIR}'}}"
    override_everywhere(config, f"hydra.sweep={places}")
    set_sweep_directory(config, sweep_dir)


def set_sweep_directory(config: DictConfig, sweep_dir: str) -> None:
    """Has the sweeper and the launcher write to a directory."""
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.sweep.dir = sweep_dir


def new_sweep_directory(parent_log_dir: Path) -> str:
    """Makes a directory among the runs; it is gone at the end if the sweep has made no run."""
    taken = take_sweep_directory(parent_log_dir)
    process_id = os.getpid()

    def tidy() -> None:
        if os.getpid() == process_id:  # no fork of it
            taken.remove_if_unused()

    atexit.register(tidy)
    return str(taken.path)


def passing_sweep_directory() -> str:
    """Makes a directory that is gone at the end, for what Hydra writes of a sweep that is none."""
    temporary = tempfile.mkdtemp(prefix="mlxpy-sweep-")
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)
    return temporary


def _move_out_of_copy(node: DictConfig, launch: Launch) -> bool:
    if launch.launch_dir == launch.work_dir or os.path.isabs(node.dir):
        return False
    with read_write(node), open_dict(node):
        node.dir = str(relative_to_launch(node.dir, launch))
    return True
