"""Each option of mlxpy with its type and default, and the config nodes that hold them.

The file mlxpy.yaml of a program by ``mlxpy.launch`` holds some of them, too.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class LoggerSettings:
    """Which logger, and where it logs."""

    # The logger's class: DefaultLogger or a dotted path.
    name: str = "DefaultLogger"
    # The directory of all runs; relative to where the command was typed.
    parent_log_dir: str = "./logs"
    # The number of the run to continue; -1 takes a new one.
    forced_log_id: int = -1
    # Whether log.stdout and log.stderr get a copy of the output.
    log_streams_to_file: bool = False
    # Whether what the machine does is logged, too, as metrics of the log system; and how often.
    system_metrics: bool = False
    system_metrics_interval_s: float = 10
    # The run's tags: words without spaces and commas.
    tags: list[str] = field(default_factory=list)
    # Which files in the output directory hold metrics that the app writes by itself; [] for none. null:
    # event files of TensorBoard, and CSV and JSON lines that look like metrics.
    app_metrics: list[str] | None = None


@dataclass
class MlxpLoggerNode(LoggerSettings):
    """The options at ``hydra.callbacks.mlxp_logger``."""

    _target_: str = "hydra_plugins.mlxpy._callback.MlxpLogger"
    # Whether Hydra's own output directory of a job is its run directory.
    use_run_dir: bool = True
    # auto: processes that were started together are one run. off: each is a run of its own.
    ranks: str = "auto"
    # Whether what the task returns is kept for the launcher that waits for it.
    keep_return_value: bool = False


@dataclass
class VersionManagerSettings:
    """Which version manager, where its copies lie, and what it does with code that is not committed."""

    # The version manager's class: GitVM or a dotted path.
    name: str = "GitVM"
    # The directory of all copies; relative to where the command was typed.
    parent_work_dir: str = "./.workdir"
    # Whether runs list the distributions that they import.
    compute_requirements: bool = True
    # What happens without questions to uncommitted code: ignore, commit, snapshot or error.
    on_dirty: str = "snapshot"
    # What git ignores and is linked into the copy; relative to the repository.
    link: list[str] = field(default_factory=list)
    # What a snapshot holds although it is large or looks like a secret; relative to the repository.
    include: list[str] = field(default_factory=list)
    # Larger files are left out of snapshots, in units of 10^6 bytes.
    max_file_mb: float = 50


@dataclass
class MlxpGitNode(VersionManagerSettings):
    """The options at ``hydra.callbacks.mlxp_git``."""

    _target_: str = "hydra_plugins.mlxpy._git_callback.MlxpGit"
    # Whether the user is asked at a terminal.
    interactive_mode: bool = True


@dataclass
class ScriptSettings:
    """What the scripts of jobs hold."""

    # The shell that runs the script.
    shell_path: str = "/bin/bash"
    # Commands before the program: they set up the shell, and the environment.
    shell_config_cmd: str = ""
    env_cmd: str = ""
    # Commands after the program.
    cleanup_cmd: str = ""
    # The scheduler's own directives, one string each; written last, so they win.
    option_cmd: list[str] = field(default_factory=list)


@dataclass
class MlxpLauncherNode(ScriptSettings):
    """The options at ``hydra.launcher``."""

    _target_: str = "hydra_plugins.mlxpy.launcher.MlxpLauncher"
    # The scheduler's class.
    scheduler: str = "???"
    # The directory of all runs, for a command that does not choose the callback.
    parent_log_dir: str = LoggerSettings.parent_log_dir
    # Whether a sweep is one submission.
    array: bool = True
    # How many jobs of it may run at once; null for any number.
    array_parallelism: int | None = None
    # How many runs share one job of the scheduler and run in it at once.
    runs_per_job: int = 1
    # The image of the container that the program runs in, the command that starts it, and its arguments.
    container: str = ""
    container_command: str = "apptainer exec"
    container_args: list[str] = field(default_factory=list)
    # Whether a job that is signalled that its time is nearly up puts itself back into the queue.
    requeue: bool = False
    # How many seconds before the end that signal comes; null: 120, or as the scheduler is set.
    signal_delay_s: int | None = None
    # Whether to wait for the jobs and hand their return values to the sweeper.
    wait: bool = False
    # How often the scheduler is asked meanwhile, in seconds.
    poll_interval_s: float = 10
    # How often a run is submitted again by itself, by the reason of its end: {OUT_OF_MEMORY: 2}.
    # (Any: a command could set no new key of a typed dict without a +.)
    retries: Any = None
    # By what options are multiplied then: {mem_gb: 2}.
    escalate: Any = None
    # The runs that have to end before the jobs start: a number, a span, a list of them, or a query.
    after: Any = None
    # ok: those have to be COMPLETE. any: their end is enough.
    after_status: str = "ok"
    # Whether to submit nothing and print what would be.
    dry_run: bool = False
    # Whether to leave out combinations that a COMPLETE run of the same config covers.
    skip_completed: bool = False
    # Whether jobs read a copy of the config files as they are now.
    freeze_config: bool = True
    # Set by mlxpy.launch: the settings that its command changes.
    settings_overrides: Any = None


@dataclass
class LocalLauncherNode(MlxpLauncherNode):
    """``hydra/launcher=mlxp_local``."""

    scheduler: str = "LocalScheduler"
    # How many jobs run at once; -1 for one a processor; null for 1, or as many as there are GPUs for.
    n_jobs: int | None = None
    # How many GPUs and processors each job has for itself; 0 for no bound.
    gpus_per_job: int = 0
    cpus_per_job: int = 0
    wait: bool = True
    poll_interval_s: float = 0.2


@dataclass
class OarLauncherNode(MlxpLauncherNode):
    """``hydra/launcher=mlxp_oar``."""

    scheduler: str = "OARScheduler"
