"""The config nodes whose options are those of hydra-submitit-launcher, whichever version is installed.

They are in a module of their own, since only who chooses one of them needs that package.
"""

from dataclasses import dataclass, field
from typing import Any

from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf, SlurmQueueConf

from ._nodes import MlxpLauncherNode

# Options that both have are mlxpy's. What has a value by default would always be written, so it is null
# here. (mypy knows no types of the package.)


@dataclass
class SlurmLauncherNode(MlxpLauncherNode, SlurmQueueConf):  # type: ignore[misc]  # untyped base
    """``hydra/launcher=mlxp_slurm``; null is not written."""

    scheduler: str = "SLURMScheduler"
    timeout_min: int | None = None
    tasks_per_node: int | None = None
    nodes: int | None = None
    # The job's name; null: that of its run.
    name: str | None = None
    # Nothing is put there: a run's files are in its directory.
    submitit_folder: str | None = None


@dataclass
class SubmititLauncherNode(MlxpLauncherNode, BaseQueueConf):  # type: ignore[misc]  # as above
    """``hydra/launcher=mlxp_submitit``; null is not passed on."""

    scheduler: str = "submitit:${.cluster}"
    # The name of an executor of submitit: local, slurm, debug, or one that a package registers.
    cluster: str = ""
    # More parameters of that executor.
    parameters: dict[str, Any] = field(default_factory=dict)
    # How often a job whose time is up puts itself back into the queue, if the executor can.
    max_num_timeout: int = 0
    tasks_per_node: int | None = None
    nodes: int | None = None
    name: str | None = None
    submitit_folder: str | None = None
