"""The submission of 200 jobs to OAR: as one array by the engine, against one ``oarsub`` each."""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mlxpy_core import take_run_directory
from mlxpy_core._scheduling._job import Job
from mlxpy_core._scheduling._oar import OARScheduler
from mlxpy_core._scheduling._script import ScriptOptions
from mlxpy_core._scheduling._submission import submit_jobs
from mlxpy_core._versioning._launches import launch_of_this_process

from ._measure import Result, take_turns
from ._runs import config_of

JOBS = 200
ROUNDS = 3

_HOLD = "--hold"  # no job ever starts


def measure() -> Result:
    """Submits by the one and the other in turn, and deletes the jobs, which never run."""
    if not shutil.which("oarsub"):
        sys.exit("oar_submission needs an OAR to submit to: there is no oarsub")
    rounds = take_turns(ROUNDS, _submit_array, _submit_one_by_one)
    return Result(f"submission of {JOBS} jobs", "ms", rounds, "ratio", bound=0.1)


def _submit_array() -> float:
    """Times the engine: the metadata and the script of each run, and the array."""
    with tempfile.TemporaryDirectory() as directory:
        launch, options = launch_of_this_process(), ScriptOptions(option_cmd=(_HOLD,))
        start = time.perf_counter()
        jobs = [
            Job(take_run_directory(Path(directory)), config_of(number), launch, ["true"], options)
            for number in range(JOBS)
        ]
        job_ids = submit_jobs(OARScheduler(), jobs)
        elapsed = time.perf_counter() - start
        _delete(list(job_ids.values()))
    return elapsed * 1e3


def _submit_one_by_one() -> float:
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory, "script.sh")
        script.write_text(f"#!/bin/bash\n#OAR {_HOLD}\ntrue\n")
        script.chmod(0o755)
        job_ids = []
        try:
            start = time.perf_counter()
            for _ in range(JOBS):
                done = subprocess.run(
                    ["oarsub", "-S", "./script.sh"],
                    cwd=directory,
                    capture_output=True,
                    text=True,
                    check=True,
                )
                job_ids += [
                    line[11:] for line in done.stdout.splitlines() if line.startswith("OAR_JOB_ID=")
                ]
            elapsed = time.perf_counter() - start
        finally:
            _delete(job_ids)
    return elapsed * 1e3


def _delete(job_ids: list[str]) -> None:
    if len(job_ids) != JOBS:
        print(f"{len(job_ids)} of {JOBS} jobs were submitted", file=sys.stderr)
    if job_ids:
        subprocess.run(["oardel", *job_ids], capture_output=True, check=True)


if __name__ == "__main__":
    print(measure())
