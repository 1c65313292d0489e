"""The config nodes of mlxpy: what each option is called, its type and its default."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class MlxpLoggerNode:
    """The options at ``hydra.callbacks.mlxp_logger``."""

    _target_: str = "hydra_plugins.mlxpy._callback.MlxpLogger"
    # The directory of all runs; relative to where the command was typed.
    parent_log_dir: str = "./logs"
    # The number of the run to continue; -1 takes a new one.
    forced_log_id: int = -1
    # Whether log.stdout and log.stderr get a copy of the output.
    log_streams_to_file: bool = False
    # Whether Hydra's own output directory of a job is its run directory.
    use_run_dir: bool = True
    # The logger's class: DefaultLogger or a dotted path.
    name: str = "DefaultLogger"


@dataclass
class MlxpLauncherNode:
    """The options at ``hydra.launcher``."""

    _target_: str = "hydra_plugins.mlxpy.launcher.MlxpLauncher"
    # The scheduler's class.
    scheduler: str = "???"
    # The directory of all runs, for a command that names no callback.
    parent_log_dir: str = "./logs"
    # The scheduler's own directives, one string each; written last, so they win.
    option_cmd: list[str] = field(default_factory=list)
    # The shell of the script; commands before and after the program.
    shell_path: str = "/bin/bash"
    shell_config_cmd: str = ""
    env_cmd: str = ""
    cleanup_cmd: str = ""
    # Whether a sweep is one submission.
    array: bool = True
    # At most so many jobs of it at once; null for no bound.
    array_parallelism: int | None = None
    # Given by mlxpy.launch: the settings that the command changes.
    settings_overrides: Any = None


@dataclass
class OarLauncherNode(MlxpLauncherNode):
    """``hydra/launcher=mlxp_oar``."""

    scheduler: str = "OARScheduler"


@dataclass
class SlurmLauncherNode(MlxpLauncherNode):
    """``hydra/launcher=mlxp_slurm``."""

    scheduler: str = "SLURMScheduler"
