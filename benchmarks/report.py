"""The report of 1,000 runs of 1,000 rows of three metrics: time, memory, size, and its page."""

import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mlxpy

from ._measure import Result, Round, take_turns, time_command
from ._runs import config_of
from .reader import runs

RUNS, ROWS = 1000, 1000
METRICS = ("train.loss", "train.accuracy", "train.epoch")
READ = (
    "import sys, mlxpy; results = mlxpy.Reader(sys.argv[1]).search()\n"
    "for name in sys.argv[2:]: results[name]"
)


def make_noisy_runs(logs: Path, count: int, rows: int) -> None:
    """Logs runs whose curves have a least and a greatest value everywhere."""
    noise = random.Random(0)
    for number in range(count):
        with mlxpy.Logger(parent_log_dir=logs, config=config_of(number)) as logger:
            for row in range(rows):
                loss = 1 / (row + 1 + number % 7) + noise.random()
                logger.log_metrics({"loss": loss, "accuracy": noise.random(), "epoch": row}, "train")


def seconds() -> Result:
    """Writes the report from a warm cache, less a second; the floor reads the three columns."""
    with runs(RUNS, ROWS, make_noisy_runs) as logs, tempfile.TemporaryDirectory() as place:
        command = _report(logs, Path(place))
        read = [sys.executable, "-c", READ, str(logs), *METRICS]
        time_command(command, Path(place))
        rounds = take_turns(
            5, lambda: time_command(command, Path(place)) - 1e3, lambda: time_command(read, Path(place))
        )
    what = f"report of {RUNS:,} runs of {ROWS:,} rows, less 1 s; floor: reading its columns"
    return Result(what, "ms", rounds, "ratio", bound=3)


def memory() -> Result:
    """Returns the peak memory of a process that writes it, in MB."""
    with runs(RUNS, ROWS, make_noisy_runs) as logs, tempfile.TemporaryDirectory() as place:
        program = (
            "import re, sys; from mlxpy_core._cli import main\n"
            "main(sys.argv[1:], standalone_mode=False)\n"
            "print(re.search(r'VmHWM:\\s*(\\d+) kB', open('/proc/self/status').read())[1])"
        )
        command = [sys.executable, "-c", program, *_report(logs, Path(place))[1:]]

        def peak() -> float:
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            return int(re.findall(r"^\d+$", done.stdout, re.MULTILINE)[-1]) / 1e3

        rounds = [Round(peak(), 0) for _ in range(3)]
    return Result("peak memory of it", "MB", rounds, "ours", bound=1000)


def size() -> Result:
    """Returns the size of the file, in MB."""
    with runs(RUNS, ROWS, make_noisy_runs) as logs, tempfile.TemporaryDirectory() as place:
        time_command(_report(logs, Path(place)), Path(place))
        megabytes = Path(place, "report.html").stat().st_size / 1e6
    return Result("size of its file", "MB", [Round(megabytes, 0)] * 2, "ours", bound=20)


def page() -> Result:
    """Opens the file in Chromium until its table and its curves are drawn."""
    from playwright.sync_api import sync_playwright

    with runs(RUNS, ROWS, make_noisy_runs) as logs, tempfile.TemporaryDirectory() as place:
        time_command(_report(logs, Path(place)), Path(place))
        address = Path(place, "report.html").as_uri()
        with sync_playwright() as playwright:
            chromium = shutil.which("chromium")
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])

            def opened(where: str, sign: str) -> float:
                window = browser.new_page()
                start = time.perf_counter()
                window.goto(where)
                window.wait_for_selector(sign, state="attached", timeout=120_000)
                elapsed = time.perf_counter() - start
                window.close()
                return elapsed * 1e3

            rounds = take_turns(
                5, lambda: opened(address, "html[data-ready]"), lambda: opened("about:blank", "html")
            )
            browser.close()
    return Result("its page in Chromium, floor: an empty one", "ms", rounds, "ours", bound=3000)


def _report(logs: Path, place: Path) -> list[str]:
    mlxpy_command = str(Path(sys.executable).with_name("mlxpy"))
    return [mlxpy_command, "report", "--logs", str(logs), "-o", str(place / "report.html")]
