"""Where Hydra writes: a place of its own choice, of the user's, or a run's directory."""

import atexit
import os
import shutil
import tempfile
from contextlib import ExitStack

from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from mlxpy_core import Attempt, Launch, RunDirectory, relative_to_launch, writes_to_own_directory

from ._hydra import as_current_config
from ._override_values import as_override_value

RUN_DIRECTORY_RESOLVER = "mlxp_run_directory"
# Hydra's own settings (hydra/conf/hydra/output/default.yaml); any other is the user's choice.
RUN_SUBDIR = f"${{{RUN_DIRECTORY_RESOLVER}:}}"
_DEFAULT_OUTPUTS = (
    {"dir": "outputs/${now:%Y-%m-%d}/${now:%H-%M-%S}"},
    {"dir": "multirun/${now:%Y-%m-%d}/${now:%H-%M-%S}", "subdir": "${hydra.job.num}"},
    {"dir": "multirun/${now:%Y-%m-%d}/${now:%H-%M-%S}", "subdir": RUN_SUBDIR},
)


def has_default_output(node: DictConfig) -> bool:
    """Returns whether ``hydra.run`` or ``hydra.sweep`` is as Hydra or the callback wrote it."""
    return OmegaConf.to_container(node, resolve=False) in _DEFAULT_OUTPUTS


def override_everywhere(config: DictConfig, override: str) -> None:
    """Adds an override to a sweep's config that every job's config is then composed with."""
    with ExitStack() as stack:
        for node in (config.hydra, config.hydra.overrides, config.hydra.overrides.hydra):
            stack.enter_context(read_write(node))
        config.hydra.overrides.hydra.append(override)


def run_dir_as_written(config: DictConfig) -> str:
    """Returns ``hydra.run.dir`` with what it refers to unresolved."""
    written = OmegaConf.to_container(config.hydra.run, resolve=False)
    assert isinstance(written, dict)
    return str(written["dir"])


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


def write_sweep_where_typed(config: DictConfig, launch: Launch, *, in_run_directories: bool) -> None:
    """Keeps the output of a sweep out of a copy of the code: it goes where the command was typed.

    Args:
        config: the sweep's config.
        launch: how the sweep was started.
        in_run_directories: whether its jobs write to run directories; then only the sweeper's own output
            moves.
    """
    written = OmegaConf.to_container(config.hydra.sweep, resolve=False)
    assert isinstance(written, dict)
    if _move_out_of_copy(config.hydra.sweep, launch) and not in_run_directories:
        place = os.path.join(launch.launch_dir, str(written["dir"]))
        override_everywhere(config, f"hydra.sweep.dir={as_override_value(place)}")


def divert_sweep_directory(config: DictConfig) -> None:
    """Has the sweeper write its multirun.yaml to a directory that is gone at the end."""
    temporary = tempfile.mkdtemp(prefix="mlxpy-dry-run-")
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.sweep.dir = temporary


def _move_out_of_copy(node: DictConfig, launch: Launch) -> bool:
    if launch.launch_dir == launch.work_dir or os.path.isabs(node.dir):
        return False
    with read_write(node), open_dict(node):
        node.dir = str(relative_to_launch(node.dir, launch))
    return True
