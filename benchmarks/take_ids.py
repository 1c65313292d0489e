"""New run numbers for many processes at once: `take_run_directory` against bare ``mkdir``."""

import multiprocessing
import os
import tempfile
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

from mlxpy_core import take_run_directory

from ._measure import Result, take_turns

IDS = 2_000
PROCESSES = 32
ROUNDS = 20

_ready: Barrier


def measure() -> Result:
    """Lets 32 processes take 2,000 numbers together, each round in a fresh directory.

    The time is from when they are let go together until the last one is done.
    """
    barrier = multiprocessing.Barrier(PROCESSES)
    with (
        tempfile.TemporaryDirectory() as root,
        multiprocessing.Pool(PROCESSES, _remember, [barrier]) as pool,
    ):

        def time_all(engine: bool) -> float:
            parent = tempfile.mkdtemp(dir=root)
            # The barrier lets nobody have a second share before all have their first.
            shares = [(parent, len(range(n, IDS, PROCESSES)), engine) for n in range(PROCESSES)]
            times = pool.starmap(_take_share, shares, chunksize=1)
            taken = sorted(int(name) for name in os.listdir(parent) if name.isdigit())
            if taken != list(range(1, IDS + 1)):
                raise RuntimeError(f"not the numbers from 1 to {IDS} in {parent}")
            return (max(end for _, end in times) - min(start for start, _ in times)) * 1e3

        rounds = take_turns(ROUNDS, lambda: time_all(engine=True), lambda: time_all(engine=False))
    return Result(f"{IDS} run numbers, {PROCESSES} processes", "ms", rounds, "ratio", bound=3)


def _remember(barrier: Barrier) -> None:
    global _ready
    _ready = barrier


def _take_share(parent: str, count: int, engine: bool) -> tuple[float, float]:
    _ready.wait()
    start = time.perf_counter()
    if engine:
        for _ in range(count):
            take_run_directory(Path(parent))
    else:
        _make_directories(parent, count)
    return start, time.perf_counter()


def _make_directories(parent: str, count: int) -> None:
    number = 0
    for _ in range(count):
        while True:
            number += 1
            try:
                os.mkdir(f"{parent}/{number}")
            except FileExistsError:
                continue
            break


if __name__ == "__main__":
    print(measure())
