"""This machine as a scheduler: so many scripts at once, as long as this process lives."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from mlxpy_core._errors import MlxpyError, StorageError
from mlxpy_core._plugins._scheduler import Scheduler
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._info_file import read_status
from mlxpy_core._runs._process import note_process
from mlxpy_core._runs._ranks import without_other_ranks
from mlxpy_core._runs._status import Status

LOCAL = "LocalScheduler"


class LocalScheduler(Scheduler):
    """Runs scripts on this machine, each in a process group of its own; `stop` ends what is left.

    Args:
        n_jobs: how many at once; -1 for as many as this process may use processors.
    """

    job_variable = "MLXPY_JOB_ID"
    can_requeue = False

    def __init__(self, n_jobs: int = 1) -> None:
        if n_jobs == 0 or n_jobs < -1:
            raise MlxpyError(f"n_jobs={n_jobs} is no number of jobs: give 1 or more, or -1")
        self._pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)) if n_jobs == -1 else n_jobs)
        self._jobs: dict[str, Future[int]] = {}
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        self._stopped = False

    def output_directives(self, directory: Path, stdout: str, stderr: str) -> list[str]:
        return []  # there are none to write: whoever starts a script gives it its files

    def submit(self, script: Path) -> str:
        job_id = f"{os.getpid()}.{len(self._jobs) + 1}"
        self._jobs[job_id] = self._pool.submit(self._run, job_id, script)
        return job_id

    def states(self, job_ids: Sequence[str]) -> dict[str, Status]:
        return {job_id: self._state(job_id) for job_id in job_ids if job_id in self._jobs}

    def cancel_command(self, job_ids: Sequence[str]) -> list[str]:
        groups = (self._started[job_id].pid for job_id in job_ids if job_id in self._started)
        return ["kill", "--", *(f"-{group}" for group in groups)]

    def pause(self, seconds: float) -> None:
        waiting = [job for job in self._jobs.values() if not job.done()]
        wait(waiting, seconds, FIRST_COMPLETED)

    def finish(self) -> None:
        """Waits for the scripts, which may have more to do when their runs have ended."""
        self._pool.shutdown()

    def stop(self) -> None:
        """Asks what runs to end (SIGTERM), waits until it has, and starts nothing more."""
        self._stopped = True
        for job in self._jobs.values():
            job.cancel()
        for process in list(self._started.values()):
            _terminate(process)
        self._pool.shutdown()

    def _run(self, job_id: str, script: Path) -> int:
        if read_status(RunDirectory(script.parent)) is Status.INTERRUPTED:  # cancelled meanwhile
            return 128 + signal.SIGTERM
        environment = {
            **without_other_ranks(os.environ),
            self.job_variable: job_id,
            "SUBMITIT_DEBUG_JOB_ID": job_id,  # what submitit.JobEnvironment() reads
        }
        stdout, stderr = (script.parent / f"log.{end}" for end in ("stdout", "stderr"))
        with open(stdout, "ab") as out, open(stderr, "ab") as err:
            process = subprocess.Popen(
                [script],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment,
                start_new_session=True,
            )
        self._started[job_id] = process
        if (script.parent / "metadata").is_dir():  # not where several runs share a job
            with contextlib.suppress(StorageError):
                note_process(RunDirectory(script.parent), process.pid)
        if self._stopped:  # while it was started
            _terminate(process)
        return process.wait()

    def _state(self, job_id: str) -> Status:
        job = self._jobs[job_id]
        if not job.done():
            return Status.RUNNING if job_id in self._started else Status.SUBMITTED
        if job.cancelled():
            return Status.INTERRUPTED
        exit_code = 1 if job.exception() else job.result()  # an exception: it could not be started
        if exit_code == -signal.SIGTERM:  # asked to end
            return Status.INTERRUPTED
        return Status.KILLED if exit_code < 0 else Status.FAILED if exit_code else Status.COMPLETE


def _terminate(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        # The whole group: a shell does not pass the signal on to the program.
        os.killpg(process.pid, signal.SIGTERM)
