"""A study of optuna whose journal one process writes, and whose trials are runs."""

import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.storages import InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from mlxpy_core._errors import MlxpyError
from mlxpy_core._runs._status import Status

from ._study_directory import StudyDirectory

RUN_ATTRIBUTE = "run"
"""The attribute of a trial that holds the number of its run, noted before the run is submitted."""

_CONSTRAINTS = "constraints"
_STARTS = "starts"
_RETRY_OF, _RETRY = "retry_of", "retry"
# Others would end in the same way: cancelled, or a value that is no number.
_WORTH_A_RETRY = (Status.FAILED.value, Status.KILLED.value)


class _OneWriter:
    """No lock: the study's claim has one process write. Those of optuna outlive a killed process."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


class SearchStudy:
    """A study and its trials.

    Args:
        directory: where it lies; the caller has its claim. None for one that nobody keeps.
        directions: ``minimize`` or ``maximize``, for each objective.

    Attributes:
        study: optuna's study.

    Raises:
        MlxpyError: the journal cannot be read, or the study has other directions.
    """

    def __init__(self, directory: StudyDirectory | None, directions: Sequence[str]) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        try:
            self.study = optuna.create_study(
                study_name=directory.name if directory else None,
                storage=_storage(directory),
                directions=list(directions),
                load_if_exists=True,
            )
        except (ValueError, LookupError, OSError) as error:
            place = directory.path.resolve() if directory else "memory"
            raise MlxpyError(f"the study in {place} cannot be opened: {error}") from error
        found = [direction.name.lower() for direction in self.study.directions]
        if found != list(directions):
            raise MlxpyError(
                f"the study {self.study.study_name} has direction={_listed(found)}, not "
                f"{_listed(directions)}: give another name by hydra.sweeper.study=NAME"
            )

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials, by their numbers."""
        return list(self.study.get_trials(deepcopy=False))

    @property
    def asked(self) -> int:
        """How many trials were asked for; retries are not counted."""
        return sum(_RETRY_OF not in trial.user_attrs for trial in self.trials)

    def count_start(self) -> int:
        """Notes that a process searches; returns how many have done so before."""
        starts = int(self.study.user_attrs.get(_STARTS, 0))
        self.study.set_user_attr(_STARTS, starts + 1)
        return starts

    def unfinished(self) -> list[Trial]:
        """Returns the trials that an earlier process has asked for and nobody has told the end of."""
        return [
            # The only way to go on with a trial of which no object is there.
            Trial(self.study, frozen._trial_id)
            for frozen in self.trials
            if frozen.state is TrialState.RUNNING
        ]

    def ask(self, n_trials: int) -> Trial | None:
        """Asks for the next trial; None if there were so many. What waits for a retry comes first."""
        waits = any(trial.state is TrialState.WAITING for trial in self.trials)
        return self.study.ask() if waits or self.asked < n_trials else None

    def tell(
        self, trial: Trial, values: Sequence[float], constraints: Sequence[float] | None = None
    ) -> None:
        """Tells the values of a trial; those of constraints that hold are 0 or less."""
        if constraints is not None:
            trial.set_user_attr(_CONSTRAINTS, list(constraints))
        self.study.tell(trial.number, list(values), TrialState.COMPLETE)

    def tell_pruned(self, trial: Trial, constraints: Sequence[float] | None = None) -> None:
        """Tells that a trial's run was given up."""
        if constraints is not None:
            trial.set_user_attr(_CONSTRAINTS, list(constraints))
        self.study.tell(trial.number, state=TrialState.PRUNED)

    def tell_failed(self, trial: Trial, status: Status, reason: str) -> None:
        """Tells that a trial has no value.

        Args:
            trial: the trial.
            status: how its run ended.
            reason: why it has none, a sentence.
        """
        trial.set_user_attr("status", status.value)
        trial.set_user_attr("reason", reason)
        self.study.tell(trial.number, state=TrialState.FAIL)

    def enqueue_retries(self, most: int) -> None:
        """Has trials whose runs have failed or were killed asked for again, each so often at most."""
        trials = self.trials
        retried = {trial.user_attrs.get(_RETRY_OF) for trial in trials}
        for trial in trials:
            count = trial.user_attrs.get(_RETRY, 0)
            worth = trial.state is TrialState.FAIL and trial.user_attrs.get("status") in _WORTH_A_RETRY
            if worth and trial.number not in retried and count < most:
                self.study.add_trial(
                    create_trial(
                        state=TrialState.WAITING,
                        params=trial.params,
                        distributions=trial.distributions,
                        user_attrs={_RETRY_OF: trial.number, _RETRY: count + 1},
                        system_attrs=trial.system_attrs,  # as the cell of a grid
                    )
                )

    def best_trials(self) -> list[FrozenTrial]:
        """Returns the best trial, or those that no other is better than in all objectives."""
        try:
            return list(self.study.best_trials)
        except ValueError:  # there is none, or none that the constraints admit
            return []


def constraints_of(trial: FrozenTrial) -> list[float]:
    """Returns the values of a trial's constraints, for samplers."""
    return list(trial.user_attrs.get(_CONSTRAINTS, [math.inf]))


def results_of(study: SearchStudy, *, ended: bool = True) -> dict[str, Any]:
    """Returns what ``optimization_results.yaml`` holds: hydra-optuna-sweeper's fields, and ours.

    Args:
        study: the study.
        ended: whether the search has ended; until then it does not wait for importances.
    """
    best = study.best_trials()
    states = Counter(trial.state.name.lower() for trial in study.trials)
    results: dict[str, Any] = {"name": "optuna", "study": study.study.study_name, "trials": dict(states)}
    if len(study.study.directions) > 1:
        results["solutions"] = [
            {"params": one.params, "values": list(one.values), **_numbers(one)} for one in best
        ]
    elif best:
        results.update(best_params=best[0].params, best_value=best[0].value)
        results.update({f"best_{name}": number for name, number in _numbers(best[0]).items()})
        if ended and (importances := importances_of(study)):
            results["importances"] = dict(importances)
    return results


def _numbers(trial: FrozenTrial) -> dict[str, Any]:
    return {"trial": trial.number, "run": trial.user_attrs.get(RUN_ATTRIBUTE)}


def importances_of(study: SearchStudy) -> Mapping[str, float]:
    """Returns how much each parameter matters, the most important first; empty if that is unknown."""
    try:
        # By the only evaluator that needs no other package.
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # by which it says that they mean nothing
            found = optuna.importance.get_param_importances(study.study, evaluator=evaluator)
    except (ValueError, RuntimeError, UserWarning):  # too few trials, or of one value
        return {}
    return {} if any(map(math.isnan, found.values())) else dict(found)


def _storage(directory: StudyDirectory | None) -> Any:
    if directory is None:
        return InMemoryStorage()
    directory.cut_torn_line()
    return JournalStorage(JournalFileBackend(str(directory.journal), lock_obj=_OneWriter()))


def _listed(directions: Sequence[str]) -> str:
    return directions[0] if len(directions) == 1 else f"[{','.join(directions)}]"
