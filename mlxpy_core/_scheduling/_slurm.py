"""Slurm: ``sbatch``. Seen with 22.05."""

import functools
import re
from pathlib import Path

from ._scheduler import Scheduler, SubmissionError


class SLURMScheduler(Scheduler):
    """Submits by ``sbatch`` (https://slurm.schedmd.com/sbatch.html)."""

    directive = "#SBATCH"
    array_index = "SLURM_ARRAY_TASK_ID"
    first_index = 0
    task_output = "%a"
    output_by_index = True

    @property
    def max_array_size(self) -> int:
        return _max_array_size()

    def name_directives(self, name: str) -> list[str]:
        return [f"--job-name={name}"]

    def output_directives(self, directory: Path, stdout: str, stderr: str) -> list[str] | None:
        if re.search(r'["\\\n]', str(directory)):
            return None
        escaped = str(directory).replace("%", "%%")
        return [f'--error="{escaped}/{stderr}"', f'--output="{escaped}/{stdout}"']

    def array_directives(self, count: int, parallelism: int | None) -> list[str]:
        bound = f"%{parallelism}" if parallelism else ""
        return [f"--array=0-{count - 1}{bound}"]

    def submit(self, script: Path) -> str:
        printed = self.call(["sbatch", "--parsable", script.name], script.parent)
        job_id = re.match(r"(\d+)(;.*)?$", printed.strip())
        if not job_id:
            raise SubmissionError(f"sbatch printed no job id but {printed.strip()!r}")
        return job_id[1]

    def submit_array(self, script: Path, count: int) -> list[str]:
        job_id = self.submit(script)
        return [f"{job_id}_{index}" for index in range(count)]


@functools.cache
def _max_array_size() -> int:
    """Asks the controller; indices start at 0, so the bound of the index is that of the size."""
    try:
        shown = SLURMScheduler().call(["scontrol", "show", "config"], Path("/"))
    except SubmissionError:
        return 1000
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", shown, flags=re.MULTILINE)
    return int(found[1]) if found else 1000
