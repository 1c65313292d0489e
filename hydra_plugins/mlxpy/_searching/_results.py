"""What a search has found: printed, written beside the study, and marked among the runs."""

from collections import Counter
from pathlib import Path

from omegaconf import OmegaConf
from optuna.trial import FrozenTrial

from mlxpy_core import RunDirectory, SearchStudy, StorageError, annotate, results_of, tagged

RUN = "run"
"""The attribute of a trial that holds the number of its run, noted before the run is submitted."""
_BEST_RUNS = "best_runs"


def write_results(study: SearchStudy, directory: Path) -> None:
    """Writes ``optimization_results.yaml``.

    Raises:
        StorageError: the file system refused.
    """
    path = directory / "optimization_results.yaml"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(OmegaConf.create(results_of(study)), path)
    except OSError as error:
        raise StorageError(f"cannot write {directory.resolve()}/{path.name}", error) from error


def print_results(study: SearchStudy, logs: Path) -> None:
    """Prints what was found, and gives the runs of the best trials a tag.

    Args:
        study: the study.
        logs: the directory of all runs.
    """
    name, results, best = study.study.study_name, results_of(study), study.best_trials()
    states = Counter(trial.state.name.lower() for trial in study.trials)
    print(f"Study {name}: " + ", ".join(f"{count} {state}" for state, count in states.items()))
    for trial in best:
        print(f"Best: {_described(trial)}")
    if not best:
        print("No trial has a value.")
    if importances := results.get("importances"):
        listed = ", ".join(f"{parameter} {share:.2f}" for parameter, share in importances.items())
        print(f"Importances: {listed}")
    print(f"Its runs: mlxpy ls \"info.study == '{name}'\"", flush=True)
    _tag(study, [int(trial.user_attrs[RUN]) for trial in best if RUN in trial.user_attrs], logs)


def _described(trial: FrozenTrial) -> str:
    values = ", ".join(f"{value:.6g}" for value in trial.values)
    params = " ".join(f"{name}={value}" for name, value in trial.params.items())
    return f"{values} with {params} (trial {trial.number}, run {trial.user_attrs.get(RUN)})"


def _tag(search: SearchStudy, best: list[int], logs: Path) -> None:
    """Gives the runs of the best trials a tag, and takes it from those that were the best."""
    study = search.study
    tag = f"best-of-{study.study_name}"
    earlier = [run for run in study.user_attrs.get(_BEST_RUNS, []) if run not in best]
    study.set_user_attr(_BEST_RUNS, [*earlier, *best])  # none is forgotten, whenever this ends
    annotate([RunDirectory(logs / str(run)) for run in earlier], tagged([f"-{tag}"]))
    annotate([RunDirectory(logs / str(run)) for run in best], tagged([f"+{tag}"]))
    study.set_user_attr(_BEST_RUNS, best)
