"""A queue that takes all jobs and starts none: what fails is the disk."""

from collections.abc import Sequence
from pathlib import Path

from mlxpy import Scheduler
from mlxpy_core import Status


class Taking(Scheduler):
    directive = "#TAKE"
    array_index = "TAKE_INDEX"
    output_by_index = True
    max_array_size = 20

    def output_directives(self, directory: Path, stdout: str, stderr: str) -> list[str]:
        return [f"-o {directory / stdout}", f"-e {directory / stderr}"]

    def array_directives(self, count: int, parallelism: int | None) -> list[str]:
        return [f"-t {count}"]

    def submit(self, script: Path) -> str:
        assert script.stat().st_size
        return "1"

    def submit_array(self, script: Path, count: int) -> list[str]:
        self.submit(script)
        return [f"2_{index}" for index in range(count)]

    def states(self, job_ids: Sequence[str]) -> dict[str, Status]:
        return dict.fromkeys(job_ids, Status.SUBMITTED)

    def cancel_command(self, job_ids: Sequence[str]) -> list[str]:
        return ["true"]
