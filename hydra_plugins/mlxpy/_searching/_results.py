"""What a search has found: printed, and marked among the runs."""

from pathlib import Path

from mlxpy_core import (
    RUN_ATTRIBUTE,
    RunDirectory,
    SearchStudy,
    annotate,
    lines_of_results,
    results_of,
    tagged,
)

_BEST_RUNS = "best_runs"


def print_results(study: SearchStudy, logs: Path) -> None:
    """Prints what was found, and gives the runs of the best trials a tag."""
    print("\n".join(lines_of_results(results_of(study))))
    print(f"Its runs: mlxpy ls \"info.study == '{study.study.study_name}'\"", flush=True)
    runs = (trial.user_attrs.get(RUN_ATTRIBUTE) for trial in study.best_trials())
    _tag(study, [int(run) for run in runs if run], logs)


def _tag(search: SearchStudy, best: list[int], logs: Path) -> None:
    """Gives the runs of the best trials a tag, and takes it from those that were the best."""
    study = search.study
    tag = f"best-of-{study.study_name}"
    earlier = [run for run in study.user_attrs.get(_BEST_RUNS, []) if run not in best]
    study.set_user_attr(_BEST_RUNS, [*earlier, *best])  # none is forgotten, whenever this ends
    annotate([RunDirectory(logs / str(run)) for run in earlier], tagged([f"-{tag}"]))
    annotate([RunDirectory(logs / str(run)) for run in best], tagged([f"+{tag}"]))
    study.set_user_attr(_BEST_RUNS, best)
