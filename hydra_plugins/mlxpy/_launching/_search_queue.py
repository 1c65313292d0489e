"""The queue of a search: each trial becomes a run that is submitted without waiting for the others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hydra.core.utils import configure_log, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig

from hydra_plugins.mlxpy._typed_arguments import are_typed
from mlxpy_core import (
    Grouping,
    Job,
    LocalScheduler,
    MlxpyError,
    RunDirectory,
    RunQueue,
    launch_of_this_process,
    new_run_directories,
    print_plan,
    signals_held,
)

from ._job_command import job_commands
from ._script_options import JobOptions
from ._submit import (
    Combination,
    JobWords,
    check_arguments,
    check_options,
    combination_of,
    free_directories,
    job_of,
    make_scheduler,
    make_sweep_directory,
)


@dataclass(frozen=True)
class TrialJob:
    """A trial that is to be submitted: its number and the overrides of its run."""

    number: int
    overrides: list[str]


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
        self._context, self._config, self._options = context, config, options
        if options["scheduler"] == "LocalScheduler" and chosen and options.get("n_jobs") is None:
            options = {**options, "n_jobs": at_once}
        scheduler = make_scheduler(options)
        by_launch = options["settings_overrides"] is not None
        typed = are_typed(config, by_launch=by_launch)
        check_arguments(config, typed)
        launch = launch_of_this_process()
        self._commands = job_commands(context.config_loader, config, options, launch, waits=True)
        self.parent_log_dir = self._commands.parent_log_dir
        self._words = JobWords.of(config, options, self._commands, typed=typed)
        self._script = JobOptions(None if chosen else options)
        self._grouping = Grouping(options["array"], options["array_parallelism"])
        self.runs = RunQueue(scheduler, self._grouping, options["poll_interval_s"])

    def finish(self) -> None:
        """Waits until the jobs of this machine are gone, after all runs have ended."""
        if isinstance(self.runs.scheduler, LocalScheduler):
            self.runs.scheduler.finish()

    def submit(
        self,
        study: str,
        trials: Sequence[TrialJob],
        note: Callable[[TrialJob, RunDirectory], object],
    ) -> list[RunDirectory]:
        """Submits trials.

        Args:
            study: the study's name.
            trials: the trials.
            note: is called with each trial and the directory of its run before anything is submitted.

        Returns:
            The runs' directories.

        Raises:
            SubmissionError: the scheduler did not take some.
        """
        made = [self._combination(trial) for trial in trials]
        make_sweep_directory(self._config.hydra.sweep.dir)
        with signals_held(until_second=True), new_run_directories(self.parent_log_dir) as new:
            jobs = [
                self._job(study, combination, directory)
                for combination, directory in zip(made, new(len(made)), strict=True)
            ]
            for trial, job in zip(trials, jobs, strict=True):
                note(trial, job.directory)
            self.runs.submit(jobs)
        return [job.directory for job in jobs]

    def print_plan(self, study: str, trials: Sequence[TrialJob]) -> None:
        """Prints what would be submitted first."""
        directories = free_directories(self._commands)
        jobs = [self._job(study, self._combination(trial), next(directories)) for trial in trials]
        print_plan(self.runs.scheduler, jobs, self._grouping)

    def _combination(self, trial: TrialJob) -> Combination:
        return combination_of(
            self._context,
            self._config,
            self._commands,
            self._script,
            trial.number,
            trial.overrides,
            compares=False,
        )

    def _job(self, study: str, combination: Combination, directory: RunDirectory) -> Job:
        job = job_of(combination, self._commands, self._words, directory)
        return replace(job, launch=replace(job.launch, study=study, trial=combination.number))


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
