"""How much of its slots' time a search leaves idle: against batches of the same size."""

import random
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from mlxpy_core import load_yaml

from ._measure import Result, Round, clean_environment

TRIALS = 64
SLOTS = 4
LONGEST_S = 10
ROUNDS = 2

_APP = """\
import random
import time

import hydra


@hydra.main(version_base=None, config_path=None)
def main(config):
    time.sleep(random.Random(config.number).uniform(1, {longest}))
    return config.x


main()
"""


def measure() -> Result:
    """Searches with 64 trials of 1 to 10 s on 4 slots of this machine.

    A slot is idle while no process of a trial is there, from the first trial's start to the last one's.
    The floor is what batches of the same trials would leave idle if they cost nothing else.
    """
    rounds = [_round() for _ in range(ROUNDS)]
    what = f"search with {TRIALS} trials on {SLOTS} slots"
    return Result(what, "of the slots' time idle", rounds, "ours", bound=0.05)


def _round() -> Round:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "app.py").write_text(_APP.format(longest=LONGEST_S))
        command = [
            *(sys.executable, "app.py", "-m", "hydra/sweeper=mlxp_optuna", "hydra/launcher=mlxp_local"),
            *("hydra/sweeper/sampler=random", "+x=interval(0.0,1.0)", "+number=${hydra:job.num}"),
            *(f"hydra.sweeper.n_trials={TRIALS}", f"hydra.sweeper.n_jobs={SLOTS}"),
        ]
        done = subprocess.run(
            command, cwd=directory, env=clean_environment(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
        infos = [
            load_yaml(path.read_text()) for path in Path(directory).glob("logs/*/metadata/info.yaml")
        ]
    return Round(_idle([_span(info) for info in infos]), _idle_in_batches())


def _span(info: dict[str, Any]) -> tuple[float, float]:
    """Returns when a trial's process started and when its run ended, in seconds since the epoch."""
    attempt = info["attempts"][0]
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return boot + attempt["process_start"] / 100, datetime.fromisoformat(attempt["end"]).timestamp()


def _idle(spans: list[tuple[float, float]]) -> float:
    first, last = min(start for start, _ in spans), max(start for start, _ in spans)
    busy = sum(min(end, last) - start for start, end in spans if start < last)
    return 1 - busy / (SLOTS * (last - first))


def _idle_in_batches() -> float:
    seconds = [random.Random(number).uniform(1, LONGEST_S) for number in range(TRIALS)]
    batches = [seconds[start : start + SLOTS] for start in range(0, TRIALS, SLOTS)]
    return 1 - sum(seconds) / (SLOTS * sum(map(max, batches)))


if __name__ == "__main__":
    print(measure())
