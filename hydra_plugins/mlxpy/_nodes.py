"""The config nodes of mlxpy: what each option is called, its type and its default."""

from dataclasses import dataclass


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
