"""``mlxpy top``: its first screen, and what it takes to watch; ``logger.progress``."""

import json
import os
import pty
import select
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlxpy

from ._measure import Result, Round, clean_environment, take_turns
from ._runs import config_of, metrics_of
from .reader import runs

COUNT, ROWS = 10_000, 5
RUNNING = 200
WARM_S, WATCHED_S = 20, 60
CALLS = 1_000_000


def first_screen() -> Result:
    """Watches 10,000 runs that are in the cache, from Enter to the first table; the floor imports."""
    with runs(COUNT, ROWS) as logs:
        top = [str(Path(sys.executable).with_name("mlxpy")), "top", "--logs", str(logs)]
        floor = [sys.executable, "-c", "import pyarrow.compute, textual.app; print('imported')"]

        def shown(command: list[str], text: bytes) -> float:
            start = time.perf_counter()
            with _in_terminal(command) as (_, terminal):
                _read_until(terminal, text)
                return (time.perf_counter() - start) * 1e3

        rounds = take_turns(5, lambda: shown(top, b"10,000 runs"), lambda: shown(floor, b"imported"))
    return Result("first screen of 10,000 runs, floor: imports", "ms", rounds, "ours", bound=1500)


def processor() -> Result:
    """Watches 200 runs that log each second; the part of one core that it takes, in percent."""
    with tempfile.TemporaryDirectory() as place, _running(Path(place)) as logs:
        top = [str(Path(sys.executable).with_name("mlxpy")), "top", "--logs", str(logs)]
        with _in_terminal(top) as (process, terminal):
            _read_until(terminal, b"200 RUNNING")
            _read_for(terminal, WARM_S)
            rounds = []
            for _ in range(3):
                start, used = time.perf_counter(), _seconds_used(process)
                _read_for(terminal, WATCHED_S)
                elapsed = time.perf_counter() - start
                rounds.append(Round(100 * (_seconds_used(process) - used) / elapsed, 0))
    return Result("watching 200 runs that log each second", "%", rounds, "ours", bound=5)


def progress() -> Result:
    """Calls ``logger.progress`` a million times; the floor looks at the clock."""
    with tempfile.TemporaryDirectory() as place, mlxpy.Logger(place) as logger:

        def ours() -> float:
            start = time.perf_counter()
            for done in range(CALLS):
                logger.progress(done, CALLS)
            return (time.perf_counter() - start) / CALLS * 1e6

        def floor() -> float:
            start = time.perf_counter()
            for _ in range(CALLS):
                time.monotonic()
            return (time.perf_counter() - start) / CALLS * 1e6

        rounds = take_turns(5, ours, floor)
    return Result("logger.progress, floor: time.monotonic()", "us", rounds, "ours", bound=10)


@contextmanager
def _running(logs: Path) -> Iterator[Path]:
    """Makes runs that seem to be under way in this process, and logs a row to each every second."""
    for number in range(RUNNING):
        with mlxpy.Logger(logs, config=config_of(number)) as logger:
            for row in range(100):
                logger.log_metrics(metrics_of(number, row), "train")
            run = Path(logger.log_dir)
            files = (run / "metadata/info.yaml", run / ".keys/summary.json")
            kept = [(file.read_bytes(), file.stat()) for file in files if file.exists()]
        for file, (content, status) in zip(files, kept, strict=False):
            file.write_bytes(content)
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    stop = threading.Event()

    def log() -> None:
        row = 100
        while not stop.wait(1):
            for number in range(RUNNING):
                with open(logs / str(number + 1) / "metrics/train.json", "a") as file:
                    file.write(json.dumps(metrics_of(number, row)) + "\n")
            row += 1

    thread = threading.Thread(target=log)
    thread.start()
    try:
        yield logs
    finally:
        stop.set()
        thread.join()


@contextmanager
def _in_terminal(command: list[str]) -> Iterator[tuple[int, int]]:
    """Runs a command in a terminal of 80 by 24; yields its process and the terminal's other end."""
    process, terminal = pty.fork()
    if process == 0:
        environment = {**clean_environment(), "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
        os.execvpe(command[0], command, environment)
    try:
        yield process, terminal
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(terminal)


def _read_until(terminal: int, text: bytes) -> None:
    shown = b""
    while text not in shown:
        shown += os.read(terminal, 2**16)


def _read_for(terminal: int, seconds: float) -> None:
    end = time.perf_counter() + seconds
    while (left := end - time.perf_counter()) > 0:
        if select.select([terminal], [], [], left)[0]:
            os.read(terminal, 2**16)


def _seconds_used(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
