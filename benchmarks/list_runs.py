"""``mlxpy ls`` of 10,000 runs, from Enter to the prompt, against what none can leave out."""

import sys
from pathlib import Path

from ._measure import Result, take_turns, time_command
from .reader import runs

COUNT, ROWS = 10_000, 5
ROUNDS = 20

_FLOOR = """
import os, sys
import click, numpy, pyarrow.compute, rich.console
for name in os.listdir(sys.argv[1]):
    if name.isdigit():
        os.stat(f"{sys.argv[1]}/{name}/metadata/info.yaml")
"""


def measure() -> Result:
    """Lists the runs for at least the second time; the floor imports what reads and looks at them."""
    mlxpy = str(Path(sys.executable).with_name("mlxpy"))
    with runs(COUNT, ROWS) as logs:
        rounds = take_turns(
            ROUNDS,
            lambda: time_command([mlxpy, "ls", "--logs", str(logs)], logs),
            lambda: time_command([sys.executable, "-c", _FLOOR, str(logs)], logs),
        )
    what = "mlxpy ls of 10,000 runs, floor: imports and a stat of each info.yaml"
    return Result(what, "ms", rounds, "ratio", bound=2)


if __name__ == "__main__":
    print(measure())
