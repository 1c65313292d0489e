"""How jobs are put together for the queue."""

from collections.abc import Iterable
from dataclasses import dataclass

from mlxpy_core._errors import MlxpyError
from mlxpy_core._plugins._scheduler import Scheduler

from ._job import Job
from ._script import ScriptOptions


@dataclass(frozen=True)
class Grouping:
    """How jobs are put together for the queue; only jobs whose scripts have the same options are.

    Attributes:
        array: whether several are submitted as one array.
        array_parallelism: at most so many tasks of an array at once; None for no bound.
        runs_per_job: so many run at once in one job of the scheduler.
    """

    array: bool = True
    array_parallelism: int | None = None
    runs_per_job: int = 1

    def __post_init__(self) -> None:
        for name in ("array_parallelism", "runs_per_job"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise MlxpyError(f"{name}={number} is no number of jobs: give 1 or more")

    def groups(self, scheduler: Scheduler, jobs: Iterable[Job]) -> list[list[Job]]:
        """Returns the jobs of each submission."""
        alike: dict[ScriptOptions, list[Job]] = {}
        for job in jobs:
            alike.setdefault(job.options, []).append(job)
        groups = []
        for options, group in alike.items():
            is_array = self.array and (scheduler.arrays_can_wait or not options.dependencies)
            size = self.runs_per_job * (scheduler.max_array_size if is_array else 1)
            groups += [group[i : i + size] for i in range(0, len(group), size)]
        return groups
