"""A week of use, in ten days of 1,000 runs: what one day leaves behind, the tenth must not feel.

One process makes runs, submits, reconciles, cancels and resubmits jobs, continues runs that were killed,
asks readers, and cleans; after each day it looks at what it holds and at what lies in the directory.
"""

import atexit
import functools
import gc
import itertools
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import mlxpy
from mlxpy_core import RunDirectory, Status, is_run_name, take_run_directory
from mlxpy_core._operations._cancelling import cancel, plan_cancellation
from mlxpy_core._operations._cleaning import find_leftovers, remove
from mlxpy_core._operations._reconciling import reconcile_runs
from mlxpy_core._operations._resubmission import plan_resubmission
from mlxpy_core._runs._info_file import read_status
from mlxpy_core._scheduling._find_scheduler import find_scheduler
from mlxpy_core._scheduling._job import Job
from mlxpy_core._scheduling._submission import submit_jobs
from mlxpy_core._tracking._placement import RUN_DIRECTORY_VARIABLE
from mlxpy_core._versioning._launches import launch_of_this_process

from ._measure import clean_environment
from ._queue import DAY_VARIABLE, Queue
from ._runs import config_of, metrics_of
from .reader import QUERY, timed

DAYS, RUNS = 10, 1000
SUBMITTED, CANCELLED, LEFT_TO_DIE, KILLED, TOGETHER, REMOVED, COPIED = 50, 5, 10, 5, 5, 20, 5
ROWS = 5
_QUEUE = f"{Queue.__module__}.{Queue.__qualname__}"
_ENDED_BADLY = f"info.status not in ['COMPLETE', 'SUBMITTED'] & info.scheduler.name == '{_QUEUE}'"
_LIVES = """
import sys, mlxpy
logger = mlxpy.Logger(sys.argv[1], config={"seed": 0})
logger.log_metrics({"loss": 1.0}, "train")
for step in range(10**9):
    logger.log_checkpoint({"step": step, "weights": bytes(10**6)})
    logger.log_metrics({"loss": 1.0}, "train")
    if step == 1:
        print(logger.log_id, flush=True)
"""


# What the last days may have of each number, as a ratio to the first ones.
_RATIOS = {
    **dict.fromkeys(("descriptors", "threads", "exit calls"), 1.0),
    "objects": 1.05,
    "memory, MB": 1.5,
    "bytes of cache a run": 1.2,
    "files a run": 1.05,
    "most files of a run": 1.2,
    "bytes of .keys a run": 1.2,
    "a number taken, ms": 2.0,
    "a run made, ms": 2.0,
    "a query, µs a run": 1.2,
    "mlxpy ls, µs a run": 1.2,
}
# What no day may exceed: three caches have at most 13 small files each and a large one.
_MOST = {"children": 0, "half-written files": KILLED, "files of cache": 3 * 14 + TOGETHER + 1}
Evening = dict[str, float]
"""What there is at the end of a day."""


class Use:
    """The directory and what the process keeps from one day to the next."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._reader = mlxpy.Reader(logs)  # a notebook's, open all week
        self._numbers = itertools.count()
        self._killed: list[int] = []

    def day(self, day: int) -> Evening:
        """Does a day's work and looks at what is there."""
        os.environ[DAY_VARIABLE] = str(day)
        self._clean()
        waiting = [*(self._resubmit() if day else []), *self._submit()]
        made = RUNS - SUBMITTED - KILLED - TOGETHER
        times = []
        for number in range(made):
            times.append(timed(functools.partial(self._make, number < COPIED)))
            if number % (made // 10) == 0:  # now and then somebody looks
                self._reader.refresh()
                assert len(self._reader.search(QUERY)["train.loss"]) or not day
        self._work_off(waiting)
        ranks = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": str(day), "MASTER_PORT": "1"}
        with mock.patch.dict(os.environ, ranks):
            for _ in range(TOGETHER):
                self._make()
        self._continue_killed()
        self._killed = [self._kill() for _ in range(KILLED)]
        return self._look(statistics.median(times))

    def _make(self, copied: bool = False, forced_log_id: int = -1) -> None:
        number = next(self._numbers)
        with mlxpy.Logger(self._logs, forced_log_id, copied, config=config_of(number)) as logger:
            if forced_log_id != -1:
                logger.load_checkpoint()
            for row in range(ROWS):
                logger.log_metrics(metrics_of(number, row), "train")
            logger.log_checkpoint({"epoch": ROWS})

    def _submit(self) -> list[RunDirectory]:
        launch = launch_of_this_process()
        runs = [take_run_directory(self._logs) for _ in range(SUBMITTED)]
        jobs = [Job(run, config_of(next(self._numbers)), launch, ["true", "x=1"]) for run in runs]
        return list(submit_jobs(Queue(), jobs))

    def _resubmit(self) -> list[RunDirectory]:
        ended = mlxpy.Reader(self._logs).search(_ENDED_BADLY)
        plan = plan_resubmission(RunDirectory(self._logs / str(i)) for i in ended["info.log_id"])
        assert not plan.left
        assert len(plan.jobs[_QUEUE]) >= CANCELLED + LEFT_TO_DIE
        return list(submit_jobs(find_scheduler(_QUEUE), plan.jobs[_QUEUE]))

    def _work_off(self, waiting: list[RunDirectory]) -> None:
        """Cancels jobs of the first array, has the others' programs run, and leaves new ones to die."""
        reconcile_runs(waiting)
        cancelled, worked = waiting[:CANCELLED], waiting[CANCELLED:-LEFT_TO_DIE]
        cancel(plan_cancellation(cancelled))
        assert set(reconcile_runs(cancelled).statuses.values()) == {Status.INTERRUPTED}
        for run in worked:
            variables = {RUN_DIRECTORY_VARIABLE: str(run.path), "MLXPY_JOB_ID": "1"}
            with mock.patch.dict(os.environ, variables):
                self._make()

    def _continue_killed(self) -> None:
        self._reader.refresh()
        for log_id in self._killed:
            assert read_status(RunDirectory(self._logs / str(log_id))) is Status.KILLED
            self._make(forced_log_id=log_id)

    def _kill(self) -> int:
        """Kills a process that is about to write a checkpoint."""
        command = [sys.executable, "-c", _LIVES, str(self._logs)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            log_id = int(process.stdout.readline())
            process.kill()
        return log_id

    def _clean(self) -> None:
        """Lets a night pass, in which files grow old, and removes what nobody needs."""
        yesterday = time.time() - 25 * 3600
        self._reader.refresh()  # reconciles what was left in the queue
        (self._logs / ".configs" / os.environ[DAY_VARIABLE]).mkdir(parents=True)
        empty = [run for run in _runs(self._logs) if not any(run.iterdir())]
        for path in (*empty, *self._logs.glob(".configs/*"), *self._logs.glob(".mlxpy/together/**/*")):
            os.utime(path, (yesterday, yesterday))
        found = find_leftovers(self._logs)
        assert found.empty == sorted(empty)
        assert len(found.configs) == 1
        assert bool(found.arrays) == bool(len(self._reader))
        remove(found)
        if len(self._reader):
            for log_id in self._reader.search("info.status == 'COMPLETE'")["info.log_id"][:REMOVED]:
                shutil.rmtree(self._logs / str(log_id))

    def _look(self, make_run: float) -> Evening:
        command = [str(Path(sys.executable).with_name("mlxpy")), "ls", "--logs", str(self._logs)]
        # It asks the scheduler, which it must be able to import.
        env = {**clean_environment(), "PYTHONPATH": str(Path(__file__).parent.parent)}
        ls = _median(3, lambda: subprocess.run(command, env=env, capture_output=True, check=True))
        query = _median(5, lambda: mlxpy.Reader(self._logs).search(QUERY)["train.loss"])
        take_id = _median(50, lambda: take_run_directory(self._logs))
        self._reader.refresh()
        gc.collect()
        process = Path("/proc/self")
        memory = re.findall(r"VmRSS:\s*(\d+)", (process / "status").read_text())[0]
        evening: Evening = {
            "descriptors": len(os.listdir(process / "fd")),
            "children": sum(len(path.read_text().split()) for path in process.glob("task/*/children")),
            "threads": threading.active_count(),  # Arrow's own, which it bounds, are not among them
            "exit calls": atexit._ncallbacks(),
            "objects": len(gc.get_objects()),
            "memory, MB": int(memory) / 1e3,
        }
        of_runs = [files for run in _runs(self._logs) if (files := _files(run))]
        every = [path for files in of_runs for path in files]
        cache, count = _files(self._logs / ".mlxpy"), len(of_runs)
        state = [path for path in every if path.parent.name == ".keys"]
        return evening | {
            "runs": count,
            "half-written files": sum(path.name.startswith(".mlxpy-tmp-") for path in every),
            "files of cache": len(cache),
            "bytes of cache a run": sum(path.stat().st_size for path in cache) / count,
            "files a run": len(every) / count,
            "most files of a run": max(map(len, of_runs)),
            "bytes of .keys a run": sum(path.stat().st_size for path in state) / count,
            "a number taken, ms": take_id,
            "a run made, ms": make_run,
            "a query, µs a run": query / count * 1e3,
            "mlxpy ls, µs a run": ls / count * 1e3,
        }


def _runs(logs: Path) -> list[Path]:
    return [path for path in logs.iterdir() if is_run_name(path.name)]


def _files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_symlink() or path.is_file()]


def _median(times: int, action: Callable[[], object]) -> float:
    return statistics.median(timed(action) for _ in range(times))


def measure() -> str:
    """Uses a directory for a week and compares its last days with its first ones."""
    # Without waiting for the disk, as in `make_runs`.
    waiting, os.fsync = os.fsync, lambda fd: None
    try:
        with tempfile.TemporaryDirectory() as directory, mock.patch.dict(os.environ):
            use = Use(Path(directory))
            evenings = [use.day(day) for day in range(DAYS)]
    finally:
        os.fsync = waiting
    # Of the first day nothing is reconciled or continued: its numbers are smaller.
    lines = [f"{DAYS} days of {RUNS:,} runs, and ratios of the last three to days 2 to 4"]
    for name in evenings[0]:
        values = [evening[name] for evening in evenings]
        early, late = statistics.median(values[1:4]), statistics.median(values[-3:])
        lines.append(f"  {name:20} {' '.join(f'{value:8.4g}' for value in values)}")
        if name in _RATIOS:
            lines[-1] += _verdict("ratio", late / early, _RATIOS[name])
        elif name in _MOST:
            lines[-1] += _verdict("most", max(values), _MOST[name])
    return "\n".join(lines)


def _verdict(what: str, number: float, bound: float) -> str:
    return f"  {what} {number:.4g}, bound {bound:g} {'holds' if number <= bound else 'EXCEEDED'}"
