"""The search's side of pruning: it reads what runs log and asks those to end that promise little."""

from collections.abc import Mapping

from optuna.trial import Trial

from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._prune_request import is_pruning_requested, request_pruning

from ._followed_metric import FollowedMetric, MetricName

# Each report is a line of the journal that the disk is waited for.
_MOST_REPORTS = 50


class RunPruner:
    """Reports the values of one metric to the study's pruner.

    Args:
        metric: the metric.
        step: the key of the rows that holds their step.
    """

    def __init__(self, metric: MetricName, step: str) -> None:
        self._metric = metric
        self._step = step
        self._followed: dict[RunDirectory, FollowedMetric] = {}

    def look(self, trials: Mapping[RunDirectory, Trial]) -> None:
        """Reads what the runs of trials have logged since the last look."""
        for directory, trial in trials.items():
            if self.report(directory, trial):
                request_pruning(directory)

    def report(self, directory: RunDirectory, trial: Trial) -> bool:
        """Reports what a run has logged since the last look; returns whether to give it up now."""
        if directory not in self._followed:
            self._followed[directory] = FollowedMetric(directory, self._metric, self._step)
        new = self._followed[directory].new_values()
        if not new or is_pruning_requested(directory):
            return False
        known = trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values
        return any(_report(trial, step, value) for step, value in _thinned(new) if step not in known)


def _report(trial: Trial, step: int, value: float) -> bool:
    trial.report(value, step)
    return bool(trial.should_prune())


def _thinned(values: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Returns so many values at most: the last of each step, and the very last."""
    last_of_steps = list(dict(values).items())
    stride = -(-len(last_of_steps) // _MOST_REPORTS)
    return last_of_steps[::-1][::stride][::-1] if stride > 1 else last_of_steps
