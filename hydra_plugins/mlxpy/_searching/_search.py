"""A search: asks for trials, keeps so many runs in the queue, and tells what came of them."""

import contextlib
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.types import HydraContext
from omegaconf import DictConfig
from optuna.trial import Trial

from hydra_plugins.mlxpy._launching._search_queue import SearchQueue
from mlxpy_core import (
    RUN_ATTRIBUTE,
    MlxpyError,
    RunDirectory,
    RunPruner,
    SearchStudy,
    Status,
    StudyClaim,
    SubmissionError,
    kept_outcome,
    make_study_directory,
    read_info,
    results_of,
    signals_break_off,
    values_of,
    write_results,
)

from ._options import SearchOptions
from ._results import print_results
from ._space import SearchSpace, search_space

# Fewer failures say nothing of the rate.
_FIRST_TRIALS = 5
_RESULTS_EVERY_S = 10.0
_OVERRIDES = "overrides"  # the attribute of a trial that holds those of its run


def run_search(
    context: HydraContext,
    config: DictConfig,
    launcher_options: Mapping[str, Any],
    sweeper_options: Mapping[str, Any],
    arguments: Sequence[str],
    *,
    chosen: bool,
) -> None:
    """Searches until the study has so many trials.

    Args:
        context: Hydra's context of the sweep.
        config: the sweep's config.
        launcher_options: the launcher's options.
        sweeper_options: the sweeper's options.
        arguments: the command's overrides.
        chosen: whether the config chose the launcher; otherwise trials run here, one after another.

    Raises:
        MlxpyError: an option is wrong, the study is under way elsewhere, or too many trials have failed.
    """
    options = SearchOptions.of(sweeper_options)
    space = search_space(
        config, arguments, sweeper_options["params"], sweeper_options["custom_search_space"]
    )
    at_once = options.n_jobs if chosen else 1
    queue = SearchQueue(context, config, launcher_options, at_once, chosen=chosen)
    if not chosen and options.n_jobs > 1:
        several = f"hydra/launcher=mlxp_local runs {options.n_jobs} at once"
        print(f"Trials run here one after another; {several}.", flush=True)
    name = options.study or Path(config.hydra.sweep.dir).name
    if launcher_options["dry_run"]:
        study = SearchStudy(None, options.directions)
        Search(study, name, options, space, queue, at_once).print_plan()
        return
    with (
        make_study_directory(queue.parent_log_dir, name) as directory,
        contextlib.closing(StudyClaim(directory)) as claim,
    ):
        study = SearchStudy(directory, options.directions)
        search = Search(study, name, options, space, queue, at_once)
        search.run(claim, directory.path)
        for place in (Path(config.hydra.sweep.dir), directory.path):
            write_results(results_of(study), place)
        print_results(study, queue.parent_log_dir)


class Search:
    """A search under way.

    Args:
        study: the study.
        name: its name.
        options: the sweeper's options.
        space: what is searched.
        queue: where trials are submitted.
        at_once: how many of them are in the queue at any time.

    Raises:
        MlxpyError: the sampler cannot be made.
    """

    def __init__(
        self,
        study: SearchStudy,
        name: str,
        options: SearchOptions,
        space: SearchSpace,
        queue: SearchQueue,
        at_once: int,
    ) -> None:
        self._study = study
        self._name = name
        self._options = options
        self._space = space
        self._queue = queue
        self._at_once = at_once
        names = list(space.distributions)
        study.study.sampler = options.make_sampler(study.count_start(), space.grid, names)
        study.study.pruner = options.pruner
        self._n_trials = options.n_trials
        if options.sampler._target_.endswith(".GridSampler"):
            self._n_trials = min(self._n_trials, math.prod(map(len, space.grid.values())))
        self._pruner = RunPruner(options.metrics[0], options.step) if options.prunes else None
        self._trials: dict[RunDirectory, Trial] = {}
        self._ended = self._failed = 0
        self._last_failure = ""
        self._told_of_metric = False
        self._next_results = 0.0

    def run(self, claim: StudyClaim, place: Path) -> None:
        """Searches until the study has its trials, and all have ended.

        Args:
            claim: that of the study.
            place: its directory, where is written now and then what was found.

        Raises:
            MlxpyError: the scheduler refuses, a signal came, or too many trials have failed.
        """
        runs = self._queue.runs
        try:
            with signals_break_off(runs.scheduler, runs.job_ids, runs.taken_over):
                self._take_over()
                while True:
                    self._study.enqueue_retries(self._options.retry_failed)
                    if not self._has_failed:
                        self._submit(self._ask(self._at_once - len(runs)))
                    if not len(runs):
                        break
                    ended = runs.look()
                    for directory, status in ended.items():
                        self._finish(directory, status)
                    if ended and time.monotonic() >= self._next_results:
                        write_results(results_of(self._study, ended=False), place)
                        self._next_results = time.monotonic() + _RESULTS_EVERY_S
                    if self._pruner:
                        self._pruner.look(self._trials)
                    claim.renew()
                    if len(runs) >= self._at_once or self._is_asked_out:
                        runs.pause()
        except SubmissionError as error:
            again = f"the same command with hydra.sweeper.study={self._name} goes on with the study"
            error.args = (f"{error}; {again}",)
            raise
        self._queue.finish()
        if self._has_failed:
            raise MlxpyError(
                f"{self._failed} of {self._ended} trials have failed, the last {self._last_failure}: no "
                "more are submitted (hydra.sweeper.max_failure_rate says how many may fail)"
            )

    def print_plan(self) -> None:
        """Prints what would be submitted first."""
        trials = self._ask(self._at_once)
        self._queue.print_plan(self._name, {trial.number: self._suggest(trial) for trial in trials})

    @property
    def _has_failed(self) -> bool:
        enough = self._ended >= min(_FIRST_TRIALS, self._n_trials)
        return enough and self._failed > self._options.max_failure_rate * self._ended

    @property
    def _is_asked_out(self) -> bool:
        return self._has_failed or self._study.asked >= self._n_trials

    def _take_over(self) -> None:
        """Takes over the trials that an earlier process has asked for."""
        unfinished = self._study.unfinished()
        noted: dict[RunDirectory, Trial] = {}
        for trial in unfinished:
            if run := trial.user_attrs.get(RUN_ATTRIBUTE):
                noted[RunDirectory(self._queue.parent_log_dir / str(run))] = trial
        self._trials.update(noted)
        lost = self._queue.runs.take_over(noted)
        for directory in lost:
            del self._trials[directory]
        if unfinished:
            left = f"{len(unfinished)} of its trials have not ended"
            print(f"Goes on with study {self._name}: {left}.", flush=True)
        self._submit([trial for trial in unfinished if trial not in self._trials.values()])

    def _ask(self, count: int) -> list[Trial]:
        trials = []
        for _ in range(count):
            trial = self._study.ask(self._n_trials)
            if trial is None:
                break
            trials.append(trial)
        return trials

    def _suggest(self, trial: Trial) -> list[str]:
        """Suggests the parameters of a trial, and returns the overrides of its run."""
        try:
            overrides: list[str] = trial.user_attrs.get(_OVERRIDES) or self._space.overrides(trial)
        except ValueError as error:  # such as other choices than the study has
            reason = str(error).rstrip(".")
            raise MlxpyError(
                f"the study {self._name} cannot go on with this search space: {reason}: give another "
                "name by hydra.sweeper.study=NAME"
            ) from error
        trial.set_user_attr(_OVERRIDES, overrides)
        return overrides

    def _submit(self, trials: Sequence[Trial]) -> None:
        if not trials:
            return
        by_number = {trial.number: trial for trial in trials}

        def note(number: int, directory: RunDirectory) -> None:
            by_number[number].set_user_attr(RUN_ATTRIBUTE, directory.log_id)
            self._trials[directory] = by_number[number]

        overrides = {trial.number: self._suggest(trial) for trial in trials}
        directories = self._queue.submit(self._name, overrides, note)
        for (number, words), directory in zip(overrides.items(), directories, strict=True):
            print(f"Trial {number}: run {directory.log_id}: {' '.join(words)}", flush=True)

    def _finish(self, directory: RunDirectory, status: Status) -> None:
        """Tells the study what came of a run."""
        trial = self._trials.pop(directory)
        self._ended += 1
        known = self._constraints(directory)
        if self._pruner:
            self._pruner.report(directory, trial)  # what it logged last counts for the others
            self._check_metric(directory, status)
        if status is not Status.COMPLETE:
            self._fail(trial, directory, status, f"its run ended as {status.value}")
        elif (read_info(directory) or {}).get("pruned"):
            self._study.tell_pruned(trial, known)
            print(f"Trial {trial.number}: pruned", flush=True)
        elif self._options.constraints and known is None:
            names = " and ".join(map(str, self._options.constraints))
            self._fail(trial, directory, status, f"its run logged no {names}")
        else:
            self._tell_values(trial, directory, known)

    def _check_metric(self, directory: RunDirectory, status: Status) -> None:
        """Says once where a run has not logged what runs are pruned by."""
        metric = self._options.metrics[0]
        if status is not Status.COMPLETE or self._told_of_metric or values_of(directory, metric):
            return
        self._told_of_metric = True
        message = f"run {directory.log_id} logged no {metric}: runs are not pruned by it"
        print(f"mlxpy: {message}", file=sys.stderr)

    def _constraints(self, directory: RunDirectory) -> list[float] | None:
        """Returns the last values of a run's constraints; None without any, or if one is not known."""
        found = [values_of(directory, one)[-1:] for one in self._options.constraints]
        return [value for [value] in found] if found and all(found) else None

    def _tell_values(
        self, trial: Trial, directory: RunDirectory, constraints: list[float] | None
    ) -> None:
        values = self._values(directory)
        if isinstance(values, str):
            self._fail(trial, directory, Status.COMPLETE, values)
            return
        try:
            self._study.tell(trial, values, constraints)
        except ValueError as error:  # such as NaN
            self._fail(trial, directory, Status.COMPLETE, str(error))
            return
        print(f"Trial {trial.number}: {', '.join(f'{value:.6g}' for value in values)}", flush=True)

    def _fail(self, trial: Trial, directory: RunDirectory, status: Status, reason: str) -> None:
        self._failed += 1
        self._last_failure = f"is run {directory.log_id}, see {directory.path}/log.stderr"
        self._study.tell_failed(trial, status, reason)
        print(f"Trial {trial.number}: failed: {reason} (run {directory.log_id})", flush=True)

    def _values(self, directory: RunDirectory) -> list[float] | str:
        """Returns the values of a run that is complete, or why it has none."""
        outcome = kept_outcome(directory)
        returned: Any = outcome.value if outcome else None
        if returned is None and self._options.metrics:
            return self._metric_values(directory)
        count = len(self._options.directions)
        try:
            values = [float(returned)] if count == 1 else [float(value) for value in returned]
        except (TypeError, ValueError):
            wanted = "a number" if count == 1 else f"{count} numbers"
            return f"the task returned {_short(returned)}, not {wanted}"
        if len(values) != count:
            return f"the task returned {len(values)} numbers, not {count}"
        return values

    def _metric_values(self, directory: RunDirectory) -> list[float] | str:
        values = []
        for metric, direction in zip(self._options.metrics, self._options.directions, strict=True):
            found = values_of(directory, metric)
            if not found:
                return f"the task returned None, and its run logged no {metric}"
            best = min if direction == "minimize" else max
            values.append(best(found) if self._options.best_value else found[-1])
        return values


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
