"""What the benchmarks share: fair turns, and one number against a bound."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TRIVIAL_APP = """\
import hydra


@hydra.main(version_base=None, config_path=None)
def main(config):
    pass


main()
"""


@dataclass(frozen=True)
class Round:
    """One turn of each side, in the benchmark's unit."""

    ours: float
    floor: float


@dataclass(frozen=True)
class Result:
    """What a benchmark has measured.

    Attributes:
        what: what one measurement is of.
        unit: its unit.
        rounds: the measurements.
        number: what the bound holds for: ``ratio`` (ours / floor), ``difference`` (ours - floor) or
            ``ours`` alone.
        bound: what the number must not exceed.
    """

    what: str
    unit: str
    rounds: list[Round]
    number: str
    bound: float

    def __str__(self) -> str:
        # Compared within a round and not between the medians: other load on the machine that lasts
        # longer than a round then falls on both sides.
        compare: Callable[[Round], float] = {
            "ratio": lambda round_: round_.ours / round_.floor,
            "difference": lambda round_: round_.ours - round_.floor,
            "ours": lambda round_: round_.ours,
        }[self.number]
        low, number, high = statistics.quantiles(map(compare, self.rounds), n=4)
        verdict = "holds" if number <= self.bound else "EXCEEDED"
        ours = statistics.median(round_.ours for round_ in self.rounds)
        floor = statistics.median(round_.floor for round_ in self.rounds)
        lines = (
            f"{self.what}, medians of {len(self.rounds)} rounds",
            f"  ours        {ours:8.2f} {self.unit}",
            f"  floor       {floor:8.2f} {self.unit}",
            f"  {self.number:10}  {number:8.4g} (quartiles {low:.4g} to {high:.4g})",
            f"  bound       {self.bound:8.4g} {verdict}",
        )
        return "\n".join(lines)


def take_turns(rounds: int, ours: Callable[[], float], floor: Callable[[], float]) -> list[Round]:
    """Measures both sides `rounds` times, after one turn of each that does not count.

    Args:
        rounds: how many times.
        ours: measures mlxpy once.
        floor: measures what mlxpy is compared with once.
    """
    measured = []
    for number in range(rounds + 1):
        # Neither side always comes first: what the one leaves behind (writes in flight) the next pays.
        if number % 2:
            ours_value, floor_value = ours(), floor()
        else:
            floor_value, ours_value = floor(), ours()
        measured.append(Round(ours_value, floor_value))
    return measured[1:]


def time_command(command: list[str], directory: Path) -> float:
    """Runs a command to its end and gives the milliseconds that it took."""
    start = time.perf_counter()
    process = subprocess.run(
        command, cwd=directory, env=clean_environment(), capture_output=True, text=True, check=False
    )
    elapsed = time.perf_counter() - start
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{process.stdout}{process.stderr}")
    return elapsed * 1e3


def clean_environment() -> dict[str, str]:
    """Returns the environment without what changes what is measured."""
    # PYTHONPATH, PYTHONDONTWRITEBYTECODE, PYTHONPROFILEIMPORTTIME and the like change what is measured.
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
