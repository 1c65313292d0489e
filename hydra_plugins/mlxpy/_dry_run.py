"""What a sweep would submit, told without making or submitting anything."""

import atexit
import shutil
import tempfile
from collections.abc import Sequence

from omegaconf import DictConfig, open_dict, read_write

from mlxpy_core._scheduling import Grouping, Job, Scheduler


def divert_sweep_directory(config: DictConfig) -> None:
    """Has the sweeper write its multirun.yaml to a directory that is gone at the end."""
    temporary = tempfile.mkdtemp(prefix="mlxpy-dry-run-")
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)
    with read_write(config.hydra), open_dict(config.hydra):
        config.hydra.sweep.dir = temporary


def print_plan(scheduler: Scheduler, jobs: Sequence[Job], grouping: Grouping) -> None:
    """Prints the first script whole, the other jobs in a line each."""
    for job in jobs[:1]:
        print(f"# {job.directory.path}/script.sh")
        print(job.script(scheduler))
    for job in jobs[1:]:
        print(f"# {job.directory.path}/script.sh: {' '.join(job.launch.overrides)}")
    submissions = len(grouping.groups(scheduler, jobs))
    print(
        f"Dry run: {len(jobs)} job{'s' * (len(jobs) != 1)} in {submissions} "
        f"submission{'s' * (submissions != 1)}; nothing was made or submitted."
    )
