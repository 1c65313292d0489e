"""How messages name runs, and the commands that do something to them."""

from collections.abc import Sequence

from ._directory import RunDirectory, logs_argument


def run_names(log_ids: Sequence[int]) -> str:
    """Names runs in short: ``runs 1 to 3, 7``."""
    names = ", ".join(" to ".join(map(str, span)) for span in _spans(log_ids))
    return f"run{'s' * (len(log_ids) > 1)} {names}"


def run_command(name: str, runs: Sequence[RunDirectory]) -> str:
    """Returns a command ``mlxpy`` that does something to runs, as it can be typed here."""
    spans = " ".join("-".join(map(str, span)) for span in _spans([run.log_id for run in runs]))
    return f"mlxpy {name} {spans}{logs_argument(runs[0].logs)}"


def where_runs_are(runs: Sequence[RunDirectory]) -> str:
    """Says in which directory runs are, and which command shows how they stand."""
    verb = "is" if len(runs) == 1 else "are"
    names = run_names([run.log_id for run in runs])
    return f"{names} {verb} in {runs[0].logs}: {run_command('status', runs)}"


def _spans(log_ids: Sequence[int]) -> list[list[int]]:
    """Returns the first and the last number of each stretch of numbers, or the only one."""
    spans: list[list[int]] = []
    for log_id in sorted(log_ids):
        if spans and log_id == spans[-1][-1] + 1:
            spans[-1] = [spans[-1][0], log_id]
        else:
            spans.append([log_id])
    return spans
