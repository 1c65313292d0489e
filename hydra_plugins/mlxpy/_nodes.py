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
    # auto: processes that were started together are one run. off: each is a run of its own.
    ranks: str = "auto"
    # Whether what the task returns is kept for the launcher that waits for it.
    keep_return_value: bool = False


@dataclass
class MlxpGitNode:
    """The options at ``hydra.callbacks.mlxp_git``."""

    _target_: str = "hydra_plugins.mlxpy._git_callback.MlxpGit"
    # The version manager's class: GitVM or a dotted path.
    name: str = "GitVM"
    # The directory of all copies; relative to where the command was typed.
    parent_work_dir: str = "./.workdir"
    # Whether runs list the distributions that they import.
    compute_requirements: bool = True
    # Whether somebody at a terminal is asked.
    interactive_mode: bool = True
    # What happens with uncommitted code if nobody is: ignore, commit, snapshot or error.
    on_dirty: str = "snapshot"
    # What git ignores and is linked into the copy; relative to the repository.
    link: list[str] = field(default_factory=list)
    # What a snapshot holds although it is large or looks like a secret; relative to the repository.
    include: list[str] = field(default_factory=list)
    # Larger files are left out of snapshots, in units of 10^6 bytes.
    max_file_mb: float = 50


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
    # So many runs share one job of the scheduler, started together in it.
    runs_per_job: int = 1
    # Whether a job that a signal tells to stop, before its time is up, puts itself back into the queue.
    requeue: bool = False
    # So many seconds before the end comes that signal; null: 120, or what the scheduler is set to.
    signal_delay_s: int | None = None
    # Whether to wait for the jobs and hand their return values to the sweeper.
    wait: bool = False
    # How often the scheduler is asked meanwhile, in seconds.
    poll_interval_s: float = 10
    # Whether to submit nothing and print what would be.
    dry_run: bool = False
    # Whether to leave out combinations that a COMPLETE run of the same config covers.
    skip_completed: bool = False
    # Whether jobs read a copy of the config files as they are now.
    freeze_config: bool = True
    # Given by mlxpy.launch: the settings that the command changes.
    settings_overrides: Any = None


@dataclass
class LocalLauncherNode(MlxpLauncherNode):
    """``hydra/launcher=mlxp_local``."""

    scheduler: str = "LocalScheduler"
    # So many jobs at once; -1 for one a processor.
    n_jobs: int = 1
    wait: bool = True
    poll_interval_s: float = 0.2


@dataclass
class OarLauncherNode(MlxpLauncherNode):
    """``hydra/launcher=mlxp_oar``."""

    scheduler: str = "OARScheduler"


@dataclass
class SlurmLauncherNode(MlxpLauncherNode):
    """``hydra/launcher=mlxp_slurm``, with the options of ``submitit_slurm``; null is not written.

    They are written out here, and not inherited from hydra-submitit-launcher, because installing that
    costs every Hydra app of the machine 10 ms at its start. A test compares the two.
    """

    scheduler: str = "SLURMScheduler"
    timeout_min: int | None = None
    cpus_per_task: int | None = None
    gpus_per_node: int | None = None
    tasks_per_node: int | None = None
    mem_gb: int | None = None
    nodes: int | None = None
    # The job's name; null: that of its run.
    name: str | None = None
    stderr_to_stdout: bool = False
    partition: str | None = None
    qos: str | None = None
    comment: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    gres: str | None = None
    cpus_per_gpu: int | None = None
    gpus_per_task: int | None = None
    mem_per_gpu: str | None = None
    mem_per_cpu: str | None = None
    account: str | None = None
    # How often a job whose time is up puts itself back into the queue.
    max_num_timeout: int = 0
    # Any other option of sbatch.
    additional_parameters: dict[str, Any] = field(default_factory=dict)
    # Commands before the program.
    setup: list[str] | None = None
    # Nothing is put there: a run's files are in its directory.
    submitit_folder: str | None = None
