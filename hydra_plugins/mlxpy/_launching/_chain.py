"""What the jobs of a sweep wait for: ``hydra.launcher.after``."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mlxpy_core import (
    After,
    Job,
    LocalScheduler,
    MlxpyError,
    RunDirectory,
    Scheduler,
    dependency_directives,
    end_what_waits,
    named_numbers,
    runs_to_wait_for,
    wait_for_earlier,
)

_STATUSES = ("ok", "any")


@dataclass(frozen=True)
class Chain:
    """What jobs wait for.

    Attributes:
        after: the runs; None for none.
        directives: those that have the scheduler keep the jobs back meanwhile.
    """

    after: After | None = None
    directives: tuple[str, ...] = ()

    def of(self, jobs: Sequence[Job]) -> list[Job]:
        """Returns jobs that wait."""
        if self.after is None:
            return list(jobs)
        return [
            replace(job, after=self.after, options=replace(job.options, dependencies=self.directives))
            for job in jobs
        ]

    def wait_here(self, scheduler: Scheduler, runs: Sequence[RunDirectory], interval_s: float) -> None:
        """Waits in the place of a scheduler of this machine, whose jobs have not started.

        Where what they wait for has failed, they end.
        """
        if self.after is None or not runs or not isinstance(scheduler, LocalScheduler):
            return
        if never := wait_for_earlier(self.after, runs[0].logs, interval_s):
            print(f"mlxpy: nothing is started: the jobs wait for {never}", file=sys.stderr)
            scheduler.stop()
            end_what_waits(runs)


def chain_of(scheduler: Scheduler, options: Mapping[str, Any], logs: Path) -> Chain:
    """Finds what the jobs of a sweep wait for.

    Args:
        scheduler: their scheduler.
        options: the launcher's options.
        logs: the directory of all runs.

    Raises:
        MlxpyError: there is no such run, the jobs would never start, or cannot wait for it.
    """
    wanted = options.get("after_status", "ok")  # not in a config of a user's own
    if wanted not in _STATUSES:
        raise MlxpyError(f"hydra.launcher.after_status={wanted}: give ok or any")
    written = options.get("after")
    if written is None:
        return Chain()
    try:
        numbers = _numbers(written, logs)
        runs = [RunDirectory(logs / str(number)) for number in numbers]
        after = runs_to_wait_for(runs, ok=wanted == "ok")
        return Chain(after, dependency_directives(scheduler, after, logs))
    except MlxpyError as error:
        raise MlxpyError(f"hydra.launcher.after: {error}") from error


def _numbers(written: Any, logs: Path) -> list[int]:
    if OmegaConf.is_list(written) or isinstance(written, list):
        arguments = [str(one) for one in written]
    else:
        arguments = [str(written)]
    if not logs.is_dir():
        raise MlxpyError(f"there are no runs in {str(logs)!r}: give hydra.launcher.parent_log_dir")
    numbers = named_numbers(logs, arguments)
    if numbers is None:
        from mlxpy_core import Reader  # takes half a second, which most sweeps can do without

        found = Reader(logs).search(" ".join(arguments))
        numbers = list(found["info.log_id"]) if len(found) else []
    if not numbers:
        raise MlxpyError(f"no run in {str(logs)!r} answers {' '.join(arguments)!r}")
    return numbers
