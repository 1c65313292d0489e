"""This machine as a scheduler: so many scripts at once, as long as this process lives."""

import contextlib
import math
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlxpy_core._errors import MlxpyError, StorageError
from mlxpy_core._io._files import open_in_place
from mlxpy_core._io._interrupts import signals_held
from mlxpy_core._plugins._scheduler import Scheduler
from mlxpy_core._runs._devices import given_devices
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._end_reason import EndReason
from mlxpy_core._runs._info_file import read_status
from mlxpy_core._runs._process import group_lives, note_process
from mlxpy_core._runs._ranks import without_other_ranks
from mlxpy_core._runs._status import Status

from ._machine_share import LOOK_S, DeviceRequest, MachineShare, SharedMachine, tell_of_wait

LOCAL = "LocalScheduler"
# How often is looked whether a process group has ended, and when a user is told what goes on.
_LOOK_S = 0.02
_PATIENCE_S = 1.5


class LocalScheduler(Scheduler):
    """Runs scripts on this machine, each in a process group of its own.

    A script starts when its turn has come and somebody waits: in `pause` and `finish`. `stop` ends what
    runs. All of it is called by one thread.

    A script whose head asks for GPUs or processors has them for itself, see `SharedMachine`.

    Args:
        n_jobs: how many at once; -1 for as many as this process may use processors; None for one, or for
            as many as there are GPUs for, if they ask for some.
    """

    job_variable = "MLXPY_JOB_ID"
    can_requeue = False
    keeps_jobs = False
    waits_for_success = True  # by the launcher

    def __init__(self, n_jobs: int | None = None) -> None:
        if n_jobs is not None and (n_jobs == 0 or n_jobs < -1):
            raise MlxpyError(f"n_jobs={n_jobs} is no number of jobs: give 1 or more, or -1")
        self._at_once = len(os.sched_getaffinity(0)) if n_jobs == -1 else n_jobs
        self._machine = SharedMachine(os.environ)
        self._states: dict[str, Status] = {}
        self._exit_codes: dict[str, int] = {}
        self._waiting: deque[tuple[str, Path, DeviceRequest]] = deque()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._shares: dict[str, MachineShare] = {}
        self._told_of_wait = False
        self._ended: queue.SimpleQueue[str] = queue.SimpleQueue()

    def output_directives(self, directory: Path, stdout: str, stderr: str) -> list[str]:
        return []  # there are none to write: whoever starts a script gives it its files

    @classmethod
    def requested(cls, environment: Mapping[str, str], directives: Sequence[str] = ()) -> dict[str, int]:
        names = {"gpus": "gpus", "cpus": "cores"}
        return {names[k]: len(named.split(",")) for k, named in given_devices(environment).items()}

    def check(self, directives: Sequence[str]) -> None:
        """Refuses what the directives of a script ask for if this machine does not have it.

        Raises:
            MlxpyError: it does not.
        """
        self._machine.check(DeviceRequest.of_directives(directives))

    def submit(self, script: Path) -> str:
        request = DeviceRequest.of_script(script)
        self._machine.check(request)
        job_id = f"{os.getpid()}.{len(self._states) + 1}"
        self._states[job_id] = Status.SUBMITTED
        self._waiting.append((job_id, script, request))
        return job_id

    def states(self, job_ids: Sequence[str]) -> dict[str, Status]:
        return {job_id: self._states[job_id] for job_id in job_ids if job_id in self._states}

    def end_reasons(self, job_ids: Sequence[str]) -> dict[str, EndReason]:
        codes = {job_id: self._exit_codes.get(job_id, 0) for job_id in job_ids}
        reasons = {job_id: EndReason.of_exit_code(code) for job_id, code in codes.items()}
        return {job_id: reason for job_id, reason in reasons.items() if reason}

    def cancel_command(self, job_ids: Sequence[str]) -> list[str]:
        groups = (self._running[job_id].pid for job_id in job_ids if job_id in self._running)
        return ["kill", "--", *(f"-{group}" for group in groups)]

    def pause(self, seconds: float) -> None:
        self._start_next()
        if self._waiting and self._has_room():  # what others have is missing
            seconds = min(seconds, LOOK_S)
        elif not self._running:
            return
        self._await_end(seconds)
        self._start_next()

    def finish(self) -> None:
        """Runs the scripts that are left to their end, which may come after that of their runs."""
        while self._waiting or self._running:
            self.pause(60)

    def stop(self) -> None:
        """Starts nothing more, asks what runs to end (SIGTERM), and waits until it has.

        Another Ctrl-C meanwhile has it killed.
        """
        for job_id, *_ in self._waiting:
            self._states[job_id] = Status.INTERRUPTED
        self._waiting.clear()
        groups = [process.pid for process in self._running.values()]
        for number in (signal.SIGTERM, signal.SIGKILL):
            for group in groups:
                with contextlib.suppress(ProcessLookupError):
                    # The whole group: a shell does not pass the signal on to the program.
                    os.killpg(group, number)
            with contextlib.suppress(KeyboardInterrupt):
                self._await_end_of_all(groups)
                return

    def _await_end_of_all(self, groups: Sequence[int]) -> None:
        patience = time.monotonic() + _PATIENCE_S
        while self._running or group_lives(groups):
            self._await_end(_LOOK_S)
            if time.monotonic() > patience:
                print("mlxpy: waiting for the jobs to end; Ctrl-C again kills them", file=sys.stderr)
                patience = math.inf

    def _await_end(self, seconds: float) -> None:
        """Waits until a script ends, or for so many seconds, and notes which have ended."""
        with contextlib.suppress(queue.Empty):
            self._ended.get(timeout=seconds)
        for job_id, process in list(self._running.items()):
            if process.poll() is not None:
                self._states[job_id] = _status(process.returncode)
                self._exit_codes[job_id] = process.returncode
                del self._running[job_id]
                self._shares.pop(job_id).leave(process.pid)

    def _start_next(self) -> None:
        while self._waiting and self._has_room():
            with signals_held():
                job_id, script, request = self._waiting[0]
                if read_status(RunDirectory(script.parent)) is Status.INTERRUPTED:  # cancelled meanwhile
                    self._states[job_id] = Status.INTERRUPTED
                    self._waiting.popleft()
                    continue
                share = self._machine.take(request)
                if share is None:
                    if not (self._running or self._told_of_wait):
                        tell_of_wait(request)
                        self._told_of_wait = True
                    return
                self._waiting.popleft()
                self._start(job_id, script, share)

    def _has_room(self) -> bool:
        """Returns whether one more may run, as far as it is this command's affair."""
        by_gpus = self._at_once is None and self._waiting[0][2].gpus
        return bool(by_gpus) or len(self._running) < (self._at_once or 1)

    def _start(self, job_id: str, script: Path, share: MachineShare) -> None:
        environment = {
            **without_other_ranks(os.environ),
            **share.environment,
            self.job_variable: job_id,
            "SUBMITIT_DEBUG_JOB_ID": job_id,  # what submitit.JobEnvironment() reads
        }
        flags = os.O_WRONLY | os.O_APPEND
        try:
            stdout, stderr = (
                open_in_place(script.parent / f"log.{end}", script.parent, flags)
                for end in ("stdout", "stderr")
            )
            with os.fdopen(stdout, "ab") as out, os.fdopen(stderr, "ab") as err, share.starting():
                process = subprocess.Popen(
                    [script],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env=environment,
                    pass_fds=share.locks,
                    start_new_session=True,
                )
        except OSError:
            self._states[job_id] = Status.FAILED
            share.leave()
            return
        self._states[job_id] = Status.RUNNING
        self._running[job_id] = process
        self._shares[job_id] = share
        # A daemon: the interpreter does not wait for it at its end.
        threading.Thread(target=self._await, args=(job_id, process), daemon=True).start()
        if (script.parent / "metadata").is_dir():  # not where several runs share a job
            with contextlib.suppress(StorageError):
                note_process(RunDirectory(script.parent), process.pid)

    def _await(self, job_id: str, process: "subprocess.Popen[bytes]") -> None:
        process.wait()
        self._ended.put(job_id)


def _status(exit_code: int) -> Status:
    if exit_code == -signal.SIGTERM:  # asked to end
        return Status.INTERRUPTED
    return Status.KILLED if exit_code < 0 else Status.FAILED if exit_code else Status.COMPLETE
