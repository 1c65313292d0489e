"""A scheduler that runs nothing, for benchmarks of what mlxpy itself does at scale."""

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from mlxpy_core import Scheduler, Status

DAY_VARIABLE = "MLXPY_BENCHMARK_DAY"


class Queue(Scheduler):
    """Accepts jobs at once; those that it still has the next day have ended."""

    job_variable = "MLXPY_JOB_ID"
    array_index = "MLXPY_BENCHMARK_INDEX"
    task_output = "%a"
    output_by_index = True
    _numbers: ClassVar[Iterator[int]] = itertools.count(1)
    _cancelled: ClassVar[set[str]] = set()

    def submit(self, script: Path) -> str:
        """Returns an id with the day in it."""
        return f"{os.environ[DAY_VARIABLE]}.{next(self._numbers)}"

    def submit_array(self, script: Path, count: int) -> list[str]:
        """Returns an id for each task."""
        return [self.submit(script) for _ in range(count)]

    def array_directives(self, count: int, parallelism: int | None) -> list[str]:
        """Returns the line of a script."""
        return [f"--array={count}"]

    def output_directives(self, directory: Path, stdout: str, stderr: str) -> list[str]:
        """Returns the line of a script."""
        return [f"--output={directory / stdout}", f"--error={directory / stderr}"]

    def states(self, job_ids: Sequence[str]) -> dict[str, Status]:
        """Returns KILLED for half of the earlier days' jobs, and COMPLETE for the others."""
        return {job_id: self._state(job_id) for job_id in job_ids}

    def cancel_command(self, job_ids: Sequence[str]) -> list[str]:
        """Notes it instead."""
        self._cancelled.update(job_ids)
        return ["true"]

    def _state(self, job_id: str) -> Status:
        if job_id in self._cancelled:
            return Status.INTERRUPTED
        day, number = map(int, job_id.split("."))
        if day == int(os.environ[DAY_VARIABLE]):
            return Status.SUBMITTED
        return Status.KILLED if number % 2 else Status.COMPLETE
