"""What a search has found, as it lies beside its journal; it is read without optuna."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlxpy_core._errors import StorageError
from mlxpy_core._io._files import write_whole
from mlxpy_core._io._yaml import dump_yaml, read_fields

from ._study_directory import study_path

RESULTS_FILE = "optimization_results.yaml"


def read_results(logs: Path, study: object) -> dict[str, Any] | None:
    """Reads what a search has found so far.

    Args:
        logs: the directory of all runs.
        study: the study's name, as a run has it.

    Returns:
        What `results_of` made; None if there is none, or it cannot be read.
    """
    path = study_path(logs, study)
    results = read_fields(path / RESULTS_FILE, logs) if path else None
    # Earlier versions did not write how many trials there are.
    return results if results and isinstance(results.get("trials"), dict) else None


def write_results(results: Mapping[str, Any], directory: Path) -> None:
    """Writes ``optimization_results.yaml``.

    Args:
        results: what `results_of` made.
        directory: where to.

    Raises:
        StorageError: the file system refused.
    """
    path = directory / RESULTS_FILE
    try:
        directory.mkdir(parents=True, exist_ok=True)
        write_whole(path, dump_yaml(dict(results)))
    except OSError as error:
        raise StorageError(f"cannot write {directory.resolve()}/{RESULTS_FILE}", error) from error


def best_of_results(results: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Returns the best trials, each in a few words and with the number of its run."""
    best = results.get("solutions") or []
    if "best_value" in results:
        names = {"params": "best_params", "trial": "best_trial", "run": "best_run"}
        one = {name: results.get(given) for name, given in names.items()}
        best = [{**one, "values": [results["best_value"]]}]
    found = []
    for one in best if isinstance(best, list) else []:
        if isinstance(one, dict) and isinstance(one.get("params"), dict):
            values = ", ".join(map(_short, one.get("values") or []))
            params = " ".join(f"{name}={value}" for name, value in one["params"].items())
            words = f"{values} with {params} (trial {one.get('trial')}, run {one.get('run')})"
            found.append((words, one.get("run")))
    return found


def trials_of_results(results: Mapping[str, Any]) -> str:
    """Returns how many trials there are of each state."""
    return ", ".join(f"{count} {state}" for state, count in results["trials"].items())


def importances_of_results(results: Mapping[str, Any]) -> dict[str, float]:
    """Returns how much each parameter matters, the most important first; empty if that is unknown."""
    found = results.get("importances")
    found = found if isinstance(found, dict) else {}
    return {
        str(name): share
        for name, share in found.items()
        if isinstance(share, float) and math.isfinite(share)
    }


def lines_of_results(results: Mapping[str, Any]) -> list[str]:
    """Returns what a search has found, for people."""
    lines = [f"Study {results.get('study')}: {trials_of_results(results)}"]
    lines += [f"Best: {words}" for words, _ in best_of_results(results)] or ["No trial has a value."]
    if importances := importances_of_results(results):
        listed = ", ".join(f"{name} {share:.2f}" for name, share in importances.items())
        lines.append(f"Importances: {listed}")
    return lines


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
