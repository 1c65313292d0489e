"""A dry run leaves nothing of the sweeper's behind, either."""

import atexit
import shutil
import tempfile

from omegaconf import DictConfig, open_dict, read_write


def divert_sweep_directory(config: DictConfig) -> None:
    """Has the sweeper write its multirun.yaml to a directory that is gone at the end."""
    temporary = tempfile.mkdtemp(prefix="mlxpy-dry-run-")
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.sweep.dir = temporary
