"""The callback ``mlxp_git``: the program runs from a copy of a commit."""

import os
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from mlxpy_core import (
    Launch,
    MlxpyError,
    find_version_manager,
    launch_of_this_process,
    plain_config,
    record_launch,
    relative_to_launch,
    restart,
    runs_from_copy,
)

from ._error_messages import stop
from ._nodes import MlxpGitNode, MlxpLauncherNode
from ._outputs import has_default_output, write_run_where_typed, write_sweep_where_typed


class MlxpGit(Callback):
    """Prepares the code when it is created: once a command, before any callback takes a run's number.

    The options are those of `_nodes.MlxpGitNode`.
    """

    def __init__(
        self,
        name: str = MlxpGitNode.name,
        parent_work_dir: str = MlxpGitNode.parent_work_dir,
        **options: Any,
    ) -> None:
        launch = launch_of_this_process()
        if not (launch.version_manager or runs_from_copy(launch.current_file_path)):
            try:
                _prepare_code(launch, name, parent_work_dir, options)
            except (MlxpyError, OSError) as error:
                stop(str(error))
            except KeyboardInterrupt:
                raise SystemExit(130) from None

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Keeps Hydra's output out of the copy, where the callback ``mlxp_logger`` does not."""
        if "mlxp_logger" not in config.hydra.callbacks:
            write_run_where_typed(config, launch_of_this_process())

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """As above, for sweeps."""
        by_launcher = config.hydra.launcher._target_ == MlxpLauncherNode._target_
        placed = by_launcher and has_default_output(config.hydra.sweep)
        if not placed and "mlxp_logger" not in config.hydra.callbacks:
            write_sweep_where_typed(config, launch_of_this_process())


def _prepare_code(launch: Launch, name: str, parent_work_dir: str, options: dict[str, Any]) -> None:
    plain = plain_config(OmegaConf.create(options))
    place = relative_to_launch(parent_work_dir, launch)
    manager = find_version_manager(name)(parent_work_dir=place, **plain)
    main_file = launch.current_file_path
    directories = [Path(main_file).parent] if main_file else []
    version = manager.prepare([*directories, Path(launch.work_dir)])
    if version.copy:
        restart(version, main_file)
    record_launch(version, os.environ)
