"""The queue of a search: each trial becomes a run that is submitted without waiting for the others."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hydra.core.utils import configure_log, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig

from mlxpy_core import (
    Grouping,
    Job,
    LocalScheduler,
    MlxpyError,
    RunDirectory,
    RunQueue,
    new_run_directories,
    print_plan,
    signals_held,
)

from ._places import make_sweep_directory
from ._recorded_options import check_options
from ._submit import make_scheduler
from ._sweep_jobs import Combination, SweepJobs


class SearchQueue:
    """Makes runs of trials and submits them.

    Args:
        context: Hydra's context of the sweep.
        config: the sweep's config.
        options: the launcher's options.
        at_once: how many trials are in the queue at once.
        chosen: whether the config chose this launcher; otherwise jobs do not know its options.

    Raises:
        MlxpyError: an option does not go with a search, or is wrong.
    """

    def __init__(
        self,
        context: HydraContext,
        config: DictConfig,
        options: Mapping[str, Any],
        at_once: int,
        *,
        chosen: bool,
    ) -> None:
        setup_globals()
        configure_log(config.hydra.hydra_logging, config.hydra.verbose)
        _check(options)
        if chosen:
            check_options(config.hydra)
        if options["scheduler"] == "LocalScheduler" and chosen and options.get("n_jobs") is None:
            options = {**options, "n_jobs": at_once}
        scheduler = make_scheduler(options)
        self._jobs = SweepJobs(context, config, options, waits=True, chosen=chosen)
        self._sweep_dir = config.hydra.sweep.dir
        self.parent_log_dir = self._jobs.parent_log_dir
        self._grouping = Grouping(options["array"], options["array_parallelism"])
        self.runs = RunQueue(scheduler, self._grouping, options["poll_interval_s"])

    def finish(self) -> None:
        """Waits until the jobs of this machine are gone, after all runs have ended."""
        if isinstance(self.runs.scheduler, LocalScheduler):
            self.runs.scheduler.finish()

    def submit(
        self,
        study: str,
        trials: Mapping[int, Sequence[str]],
        note: Callable[[int, RunDirectory], object],
    ) -> list[RunDirectory]:
        """Submits trials.

        Args:
            study: the study's name.
            trials: the overrides of each trial's run, by the trial's number.
            note: is called with each number and the directory of the run before anything is submitted.

        Returns:
            The runs' directories.

        Raises:
            SubmissionError: the scheduler did not take some.
        """
        combinations = self._compose(trials)
        make_sweep_directory(self._sweep_dir)
        with signals_held(until_second=True), new_run_directories(self.parent_log_dir) as new:
            jobs = self._make(study, combinations, new(len(trials)))
            for number, job in zip(trials, jobs, strict=True):
                note(number, job.directory)
            self.runs.submit(jobs)
        return [job.directory for job in jobs]

    def print_plan(self, study: str, trials: Mapping[int, Sequence[str]]) -> None:
        """Prints what would be submitted first."""
        jobs = self._make(study, self._compose(trials), self._jobs.free_directories())
        print_plan(self.runs.scheduler, jobs, self._grouping)

    def _compose(self, trials: Mapping[int, Sequence[str]]) -> list[Combination]:
        return [self._jobs.combination(*trial) for trial in trials.items()]

    def _make(
        self, study: str, combinations: Sequence[Combination], directories: Iterable[RunDirectory]
    ) -> list[Job]:
        jobs = self._jobs.jobs(combinations, directories)
        return [
            replace(job, launch=replace(job.launch, study=study, trial=combination.number))
            for combination, job in zip(combinations, jobs, strict=True)
        ]


def _check(options: Mapping[str, Any]) -> None:
    if options["skip_completed"]:
        raise MlxpyError(
            "skip_completed leaves out jobs of a sweep, and a search has no combination twice: leave it "
            "out, the study goes on by its name (hydra.sweeper.study=NAME)"
        )
    if options["runs_per_job"] != 1:
        raise MlxpyError(
            "runs_per_job has several runs share a job, and a search submits one as another ends: "
            "leave it out"
        )
    if options.get("after") is not None:
        raise MlxpyError(
            "hydra.launcher.after is for jobs of a sweep: start the search once those runs have ended"
        )
    if options.get("retries"):
        raise MlxpyError(
            "hydra.launcher.retries is for jobs of a sweep: "
            "hydra.sweeper.retry_failed=N tries trials again"
        )
