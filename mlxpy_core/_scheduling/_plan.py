"""What would be submitted, told without making or submitting anything."""

import os
import sys
from collections.abc import Sequence

from ._scheduler import Scheduler
from ._submission import Grouping, Job


def print_plan(scheduler: Scheduler, jobs: Sequence[Job], grouping: Grouping) -> None:
    """Prints the first script whole, the other jobs in a line each."""
    lines = []
    for job in jobs[:1]:
        lines += [f"# {job.directory.path}/script.sh", job.script(scheduler)]
    for job in jobs[1:]:
        what = " ".join(job.launch.overrides) or job.launch.cmd
        lines.append(f"# {job.directory.path}/script.sh: {what}")
    submissions = len(grouping.groups(scheduler, jobs))
    lines.append(
        f"Dry run: {len(jobs)} job{'s' * (len(jobs) != 1)} in {submissions} "
        f"submission{'s' * (submissions != 1)}; nothing was made or submitted."
    )
    try:
        print("\n".join(lines), flush=True)
    except BrokenPipeError:  # of `| head`, which has what it wants; Python flushes once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
