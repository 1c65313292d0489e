"""Any executor that submitit knows, as a scheduler. Seen with submitit 1.5.4 and submitit-oar 1.1.2.

submitit itself takes long to import: it is when a job is submitted or asked for.
"""

import contextlib
import inspect
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._yaml import load_yaml
from mlxpy_core._plugins._scheduler import Scheduler, SubmissionError
from mlxpy_core._runs._end_reason import EndReason
from mlxpy_core._runs._info import JobIdentity
from mlxpy_core._runs._process import describe_process, lives_here
from mlxpy_core._runs._status import Status

from ._local import LocalScheduler
from ._slurm import SLURMScheduler, reason_of_state, status_of_state

if TYPE_CHECKING:
    from submitit import Executor, Job
    from submitit.core.utils import DelayedSubmission

SUBMITIT = "submitit:"  # begins the name of such a scheduler, before that of the executor
_COMES_BACK = 99  # the exit code of a script whose job is to be put back into the queue


def submitit_scheduler(executor: str) -> Scheduler:
    """Makes the scheduler that submits by the executor of a name.

    Raises:
        MlxpyError: submitit knows none of this name.
    """
    from submitit.core.plugins import get_executors

    known = get_executors()
    if executor not in known:
        raise MlxpyError(f"submitit knows no executor {executor!r}: give {', '.join(sorted(known))}")
    if executor == "debug":
        return LocalScheduler()  # both run one job after the other, in the time of who submits
    return (_LocalExecutor if executor == "local" else SubmititScheduler)(executor, known[executor])


class SubmititScheduler(Scheduler):
    """Submits by an executor of submitit.

    Each directive of a script is a parameter of the executor, as YAML. What submitit keeps of a job is
    in the folder ``.submitit`` beside the script.
    """

    directive = "#SUBMITIT"
    job_variable = "SUBMITIT_EXECUTOR"
    requeue = f"exit {_COMES_BACK}"
    array_index = "MLXPY_ARRAY_INDEX"
    output_by_index = True
    # Watchers ask the accounting (sacct), which is told of a job some time after the queue.
    accounting_delay_s = 60
    waits_for_success = True

    def __init__(self, name: str, executor: "type[Executor]") -> None:
        self.name = f"{SUBMITIT}{name}"
        self._executor = executor

    @classmethod
    def job_of(cls, environment: Mapping[str, str]) -> JobIdentity | None:
        # Executors differ in how a job could learn the id by which they know it.
        return JobIdentity(None) if environment.get(cls.job_variable) else None

    @property
    def cluster(self) -> str:
        return SLURMScheduler().cluster if self.name == f"{SUBMITIT}slurm" else ""

    def name_directives(self, name: str) -> list[str]:
        return [f'name: "{name}"']

    def output_directives(self, directory: Path, stdout: str, stderr: str) -> list[str]:
        return []  # there are none to write: what starts a script gives it its files

    def array_directives(self, count: int, parallelism: int | None) -> list[str]:
        if parallelism and "array_parallelism" not in self._executor._valid_parameters():
            raise SubmissionError(
                f"{self.name} cannot bound how many jobs of an array run at once: leave "
                "array_parallelism out"
            )
        return [f"array_parallelism: {parallelism}"] if parallelism else []

    def after_directives(self, job_ids: Sequence[str], *, ok: bool) -> list[str]:
        if "dependency" not in self._executor._valid_parameters():
            raise SubmissionError(f"jobs of {self.name} cannot wait for others: leave after out")
        waited_for = f"{'afterok' if ok else 'afterany'}:{':'.join(job_ids)}"
        return [f"dependency: {json.dumps(waited_for)}"]

    def requeue_directives(self) -> list[str]:
        return []  # the executor has parameters for it

    def asks_for_warning(self, directives: Sequence[str]) -> bool:
        return True  # executors announce the end of a job by themselves

    def submit(self, script: Path) -> str:
        return self._submit(script, [SubmittedScript(script)])[0]

    def submit_array(self, script: Path, count: int) -> list[str]:
        return self._submit(script, [SubmittedScript(script, index) for index in range(count)])

    def states(self, job_ids: Sequence[str]) -> dict[str, Status]:
        # Their words are Slurm's, and this one.
        return {
            job_id: Status.SUBMITTED if state == "READY" else status_of_state(state)
            for job_id, state in self._words(job_ids).items()
        }

    def end_reasons(self, job_ids: Sequence[str]) -> dict[str, EndReason]:
        reasons = {job_id: reason_of_state(state) for job_id, state in self._words(job_ids).items()}
        return {job_id: reason for job_id, reason in reasons.items() if reason}

    def _words(self, job_ids: Sequence[str]) -> dict[str, str]:
        """Returns the word that the executor has for each job's state."""
        with self._errors_of_the_executor():
            watcher = self._executor.job_class.watcher
            for job_id in job_ids:
                watcher.register_job(job_id)
            # Not by its update(), which passes over errors.
            if command := watcher._make_command():
                printed = self.call(command, Path("/")).strip()
                watcher._info_dict.update(watcher.read_info(printed))
            states = {job_id: watcher.get_state(job_id, mode="cache").strip() for job_id in job_ids}
        return {job_id: state for job_id, state in states.items() if state != "UNKNOWN"}

    def cancel_command(self, job_ids: Sequence[str]) -> list[str]:
        return [self._executor.job_class._cancel_command, *job_ids]

    def _submit(self, script: Path, jobs: "Sequence[SubmittedScript]") -> list[str]:
        with self._errors_of_the_executor(), contextlib.redirect_stderr(io.StringIO()):
            parameters = self._parameters(script)
            made_with = {
                name: parameters.pop(name)
                for name in inspect.signature(self._executor).parameters
                if name in parameters
            }
            executor = self._executor(script.parent / ".submitit", **made_with)
            executor.update_parameters(**executor._convert_parameters(parameters))
            return _done_apart(lambda: [self._id_of(job) for job in executor.submit_array(jobs)])

    def _id_of(self, job: "Job[Any]") -> str:
        return str(job.job_id)

    def _parameters(self, script: Path) -> dict[str, Any]:
        """Reads the parameters at the head of a script."""
        lines = re.findall(rf"^{self.directive} (.*)$", script.read_text("utf-8"), re.MULTILINE)
        try:
            written = load_yaml("\n".join(lines))
        except yaml.YAMLError:
            written = None
        if not isinstance(written, dict):
            raise SubmissionError(f"{self.name} takes parameters such as 'timeout_min: 10', not {lines}")
        return {str(name): value for name, value in written.items()}

    @contextlib.contextmanager
    def _errors_of_the_executor(self) -> Iterator[None]:
        try:
            yield
        except SubmissionError:
            raise
        except Exception as error:  # whatever a package's executor raises
            raise SubmissionError(f"{self.name} refused: {_message(error)}") from error


class _LocalExecutor(SubmititScheduler):
    """submitit's `local`: processes of this machine, which outlive the one that submits them.

    A job's id is that of its process, with the process's start: the number alone comes again.
    """

    @property
    def cluster(self) -> str:
        return socket.gethostname()

    @property
    def max_array_size(self) -> int:
        return 1

    def states(self, job_ids: Sequence[str]) -> dict[str, Status]:
        return {job_id: Status.RUNNING if _lives(job_id) else Status.KILLED for job_id in job_ids}

    def end_reasons(self, job_ids: Sequence[str]) -> dict[str, EndReason]:
        return {}

    def cancel_command(self, job_ids: Sequence[str]) -> list[str]:
        return ["kill", "-s", "TERM", *(job_id.partition(".")[0] for job_id in job_ids)]

    def cancel(self, job_ids: Sequence[str]) -> None:
        if living := [job_id for job_id in job_ids if _lives(job_id)]:
            super().cancel(living)

    def _submit(self, script: Path, jobs: "Sequence[SubmittedScript]") -> list[str]:
        if self._parameters(script).get("tasks_per_node", 1) != 1:
            raise SubmissionError(f"{self.name} starts one task for each job: leave tasks_per_node out")
        return super()._submit(script, jobs)

    def _id_of(self, job: "Job[Any]") -> str:
        return f"{job.job_id}.{describe_process(int(job.job_id))['process_start']}"


def _done_apart(action: Callable[[], list[str]]) -> list[str]:
    """Does something in a copy of this process, which has a session of its own; returns its result.

    Neither Ctrl-C nor the closing of a terminal reaches the processes that it starts, and they hold no
    output of this one open.

    Raises:
        RuntimeError: it has failed; the message is that of its exception.
    """
    reading, writing = os.pipe()
    copy = os.fork()
    if not copy:
        _answer(action, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = json.loads(pipe.read() or '{"error": "its process died"}')
    os.waitpid(copy, 0)
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return list(answer["result"])


def _answer(action: Callable[[], list[str]], writing: int) -> NoReturn:
    try:
        os.setsid()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for output in (1, 2):
            os.dup2(nowhere, output)
        try:
            answer: dict[str, Any] = {"result": action()}
        except Exception as error:  # whatever a package's executor raises
            answer = {"error": _message(error)}
        os.write(writing, json.dumps(answer).encode())
    finally:
        os._exit(0)


def _message(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _lives(job_id: str) -> bool:
    pid, _, start = job_id.partition(".")
    if not (pid.isdecimal() and start.isdecimal()):
        return False
    return lives_here({**describe_process(int(pid)), "process_start": int(start)})


class SubmittedScript:
    """What an executor runs as a job: a script, which gets the signals that announce the job's end."""

    def __init__(self, script: Path, index: int | None = None) -> None:
        self._script = script
        self._index = index

    def __call__(self) -> None:
        """Runs the script; submitit calls it in the job."""
        environment = dict(os.environ)
        if self._index is not None:
            environment[SubmititScheduler.array_index] = str(self._index)
        output = self._script.with_name("log" if self._index is None else str(self._index))
        with open(f"{output}.stdout", "ab") as stdout, open(f"{output}.stderr", "ab") as stderr:
            self._process = subprocess.Popen(
                [self._script],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=environment,
                start_new_session=True,
            )
        signal.signal(signal.SIGTERM, self._pass_on)
        self._wait()
        if code := self._process.wait():
            sys.exit(code if code > 0 else 128 - code)

    def checkpoint(self) -> "DelayedSubmission | None":
        """Returns what the job is when it comes back; submitit calls it when it is to end.

        None if it is not to come back.
        """
        from submitit.core.utils import DelayedSubmission

        self._pass_on(signal.SIGUSR2)
        self._wait()
        comes_back = self._process.wait() == _COMES_BACK
        return DelayedSubmission(SubmittedScript(self._script, self._index)) if comes_back else None

    def _wait(self) -> None:
        # The process's own wait() holds a lock, and a signal may come meanwhile.
        os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)

    def _pass_on(self, number: int, frame: FrameType | None = None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
