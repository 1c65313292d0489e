"""A row of ``system_metrics``: its processor time, against bare reads of what it looks at."""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import mlxpy
from mlxpy_core._tracking._machine import Machine

from ._measure import Result, take_turns

CHILDREN = 8
ROUNDS = 200


def measure() -> Result:
    """Takes rows in a program with 8 children, and writes them to a run.

    The bound is half a percent of a core at the interval of 10 s.
    """
    sleep = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    children = [subprocess.Popen(sleep, stdin=subprocess.PIPE) for _ in range(CHILDREN)]
    try:
        with (
            tempfile.TemporaryDirectory() as directory,
            mlxpy.Logger(parent_log_dir=os.path.join(directory, "logs")) as logger,
        ):
            machine = Machine(lambda: Path(directory))

            def log_row() -> float:
                start = time.thread_time()
                logger.log_metrics(machine.sample(), "system")
                return (time.thread_time() - start) * 1e3

            rounds = take_turns(ROUNDS, log_row, _read_process_table)
    finally:
        for child in children:
            child.communicate()
    return Result("a row of system metrics", "ms of a core", rounds, "ours", bound=50)


def _read_process_table() -> float:
    start = time.thread_time()
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
            file.read()
    return (time.thread_time() - start) * 1e3


if __name__ == "__main__":
    print(measure())
