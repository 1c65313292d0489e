"""The reader: first opening against MLXP's, later ones and queries against the floor of each."""

import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from mlxpy import Reader

from ._measure import Result, Round, take_turns
from ._runs import make_mlxp_runs, make_runs

QUERY = "config.optimizer.lr <= 1e-2 & info.status == 'COMPLETE'"
ROWS = 300
LARGE, LARGE_ROWS = 100_000, 20


@contextlib.contextmanager
def runs(
    count: int, rows: int = ROWS, make: Callable[[Path, int, int], None] = make_runs
) -> Iterator[Path]:
    """Yields a directory of runs; BENCHMARK_RUNS names one where they stay for the next time."""
    kept = os.environ.get("BENCHMARK_RUNS")
    with contextlib.nullcontext(kept) if kept else tempfile.TemporaryDirectory() as directory:
        logs = Path(directory, f"{make.__name__}_{count}_{rows}")
        if not logs.exists():
            unfinished = logs.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            make(unfinished, count, rows)
            unfinished.rename(logs)
        yield logs


def first_open() -> Result:
    """Opens 1,000 runs for the first time, as MLXP 1.0.5 does each time."""
    with runs(1000) as ours, runs(1000, make=make_mlxp_runs) as theirs:
        rounds = take_turns(3, lambda: open_first(ours), lambda: open_mlxp(theirs))
    return Result("first opening of 1,000 runs, floor: MLXP 1.0.5", "ms", rounds, "ratio", bound=0.01)


def first_open_growth() -> Result:
    """Opens 5,000 runs for the first time, against 1,000."""
    with runs(5000) as many, runs(1000) as few:
        rounds = take_turns(40, lambda: open_first(many), lambda: open_first(few))
    return Result("first opening of 5,000 runs, floor: of 1,000", "ms", rounds, "ratio", bound=5)


def later_open() -> Result:
    """Opens 5,000 runs that have not changed and queries them; the floor looks at their files."""
    with runs(5000) as logs:
        open_first(logs)
        rounds = take_turns(20, lambda: open_and_query(logs), lambda: look_at(logs))
    what = "later opening of 5,000 runs and a query, floor: a stat of each info.yaml"
    return Result(what, "ms", rounds, "ours", bound=50)


def metric() -> Result:
    """Reads one metric of all hits among 5,000 runs; the floor takes them from a ready Arrow table."""
    with runs(5000) as logs:
        results = Reader(logs).search(QUERY)
        ready = Reader(logs).search().toArrow()["train.loss"]
        hits = pa.array(np.array(results["info.log_id"]) - 1)
        rounds = take_turns(
            20, lambda: timed(lambda: results["train.loss"]), lambda: timed(lambda: ready.take(hits))
        )
    return Result("one metric of 2,500 hits, floor: Arrow's take", "ms", rounds, "ratio", bound=3)


def large_open() -> Result:
    """Opens 100,000 runs that have not changed and queries them."""
    with runs(LARGE, LARGE_ROWS) as logs:
        Reader(logs)
        rounds = take_turns(5, lambda: open_and_query(logs), lambda: look_at(logs))
    what = "later opening of 100,000 runs and a query, floor: a stat of each info.yaml"
    return Result(what, "ms", rounds, "ours", bound=1000)


def large_memory() -> Result:
    """Returns the peak memory of a process that does the same; that of the imports is the floor."""
    with runs(LARGE, LARGE_ROWS) as logs:
        Reader(logs)
        rounds = take_turns(
            3, lambda: peak_memory(logs, query=True), lambda: peak_memory(logs, query=False)
        )
    what = "peak memory of opening 100,000 runs and a query, floor: imports"
    return Result(what, "MB", rounds, "ours", bound=500)


def large_refresh() -> Result:
    """Adds 10 runs to 100,000 and refreshes; the floor opens them unchanged."""
    with runs(LARGE, LARGE_ROWS) as logs:
        reader = Reader(logs)
        rounds = []
        for _ in range(5):
            before = len(reader)
            make_runs(logs, 10, LARGE_ROWS)
            ours = timed(reader.refresh)
            assert len(reader) == before + 10
            rounds.append(Round(ours, timed(reader.refresh)))
            for log_id in reader.search()["info.log_id"][-10:]:
                shutil.rmtree(logs / str(log_id))
            reader.refresh()
    return Result(
        "refresh after 10 new runs among 100,000, floor: without", "ms", rounds, "ours", bound=2000
    )


def open_first(logs: Path) -> float:
    """Opens runs without a cache."""
    shutil.rmtree(logs / ".mlxpy" / "reader-2", ignore_errors=True)
    return timed(lambda: Reader(logs))


def open_mlxp(logs: Path) -> float:
    """Opens runs by MLXP."""
    import mlxp

    (logs / "database.json").unlink(missing_ok=True)
    with contextlib.redirect_stdout(io.StringIO()):
        return timed(lambda: mlxp.Reader(str(logs)))


def open_and_query(logs: Path) -> float:
    """Opens runs and finds half of them."""
    return timed(lambda: len(Reader(logs).search(QUERY)))


def look_at(logs: Path) -> float:
    """Does what nobody can leave out who wants to know whether a run has changed."""
    return timed(lambda: [os.stat(logs / name / "metadata/info.yaml") for name in os.listdir(logs)
                          if name.isdigit()])  # fmt: skip


def peak_memory(logs: Path, *, query: bool) -> float:
    """Returns the peak memory of a process, in MB."""
    # Not getrusage: that counts what the parent had when it forked.
    program = (
        "import re, sys; from mlxpy import Reader\n"
        f"if {query}: assert len(Reader(sys.argv[1]).search(sys.argv[2]))\n"
        "print(int(re.search(r'VmHWM:\\s*(\\d+) kB', open('/proc/self/status').read())[1]) / 1e3)"
    )
    command = [sys.executable, "-c", program, str(logs), QUERY]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def timed(action: Callable[[], object]) -> float:
    """Returns the milliseconds that an action takes."""
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1e3
