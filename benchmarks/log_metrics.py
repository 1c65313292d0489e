"""A row of three floats: ``Logger.log_metrics`` against the bare write of the same line."""

import json
import os
import random
import tempfile
import time
from collections.abc import Callable

import mlxpy

from ._measure import Result, take_turns

ROWS = 2_000
ROUNDS = 200

Row = dict[str, float]


def measure() -> Result:
    """Logs 400,000 rows on each side, in alternating batches."""
    with (
        tempfile.TemporaryDirectory() as directory,
        mlxpy.Logger(parent_log_dir=os.path.join(directory, "logs")) as logger,
    ):
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        descriptor = os.open(os.path.join(directory, "floor.json"), flags, 0o666)

        def log_rows(rows: list[Row]) -> None:
            for row in rows:
                logger.log_metrics(row, "train")

        def write_rows(rows: list[Row]) -> None:
            for row in rows:
                os.write(descriptor, (json.dumps(row) + "\n").encode())

        rounds = take_turns(ROUNDS, lambda: _time_a_row(log_rows), lambda: _time_a_row(write_rows))
        os.close(descriptor)
    return Result("log_metrics of three floats", "µs a row", rounds, "ratio", bound=1.5)


def _time_a_row(store: Callable[[list[Row]], None]) -> float:
    rows = [
        {"loss": random.random(), "accuracy": random.random(), "learning_rate": random.random()}
        for _ in range(ROWS)
    ]
    start = time.perf_counter()
    store(rows)
    return (time.perf_counter() - start) / ROWS * 1e6


if __name__ == "__main__":
    print(measure())
