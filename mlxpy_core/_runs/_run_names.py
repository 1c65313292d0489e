"""How messages name runs, and the commands that do something to them."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from ._directory import RunDirectory


def run_names(log_ids: Sequence[int]) -> str:
    """Names runs in short: ``runs 1 to 3, 7``."""
    names = ", ".join(" to ".join(map(str, span)) for span in _spans(log_ids))
    return f"run{'s' * (len(log_ids) > 1)} {names}"


def run_command(name: str, runs: Sequence[RunDirectory]) -> str:
    """Returns a command ``mlxpy`` that does something to runs, as it can be typed here."""
    spans = " ".join("-".join(map(str, span)) for span in _spans([run.log_id for run in runs]))
    parent = runs[0].path.parent
    logs = "" if parent == Path.cwd() / "logs" else f" --logs {shlex.quote(str(parent))}"
    return f"mlxpy {name} {spans}{logs}"


def _spans(log_ids: Sequence[int]) -> list[list[int]]:
    """Returns the first and the last number of each stretch of numbers, or the only one."""
    spans: list[list[int]] = []
    for log_id in sorted(log_ids):
        if spans and log_id == spans[-1][-1] + 1:
            spans[-1] = [spans[-1][0], log_id]
        else:
            spans.append([log_id])
    return spans
