"""What would be submitted, told without making or submitting anything."""

from collections.abc import Sequence

from ._scheduler import Scheduler
from ._submission import Grouping, Job


def print_plan(scheduler: Scheduler, jobs: Sequence[Job], grouping: Grouping) -> None:
    """Prints the first script whole, the other jobs in a line each."""
    for job in jobs[:1]:
        print(f"# {job.directory.path}/script.sh")
        print(job.script(scheduler))
    for job in jobs[1:]:
        what = " ".join(job.launch.overrides) or job.launch.cmd
        print(f"# {job.directory.path}/script.sh: {what}")
    submissions = len(grouping.groups(scheduler, jobs))
    print(
        f"Dry run: {len(jobs)} job{'s' * (len(jobs) != 1)} in {submissions} "
        f"submission{'s' * (submissions != 1)}; nothing was made or submitted."
    )
