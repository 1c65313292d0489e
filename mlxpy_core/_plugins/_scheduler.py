"""What all schedulers have in common; a subclass defines what is different about one."""

import os
import re
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, NamedTuple

from mlxpy_core._errors import MlxpyError
from mlxpy_core._runs._end_reason import EndReason
from mlxpy_core._runs._info import JobIdentity
from mlxpy_core._runs._status import Status


class SubmissionError(MlxpyError):
    """The scheduler did not take a job; the message quotes what it printed."""


def printed_job_id(command: str, printed: str, pattern: str) -> str:
    """Returns the id, the pattern's group, in what a command that submits has printed.

    Raises:
        SubmissionError: it has not said as which job.
    """
    found = re.search(pattern, printed.strip(), flags=re.MULTILINE)
    if not found:
        raise SubmissionError(
            f"{command} printed no job id but {printed.strip()!r}, and may have taken the job: "
            "look at the queue before submitting again"
        )
    return found[1]


@dataclass(frozen=True)
class JobOutlook:
    """What a scheduler expects of a job that waits or runs; None for what it does not tell.

    Attributes:
        place: of one that waits, its place among those asked about that wait, from 1.
        starts_in_s: of one that waits, in how many seconds it is to start.
        left_s: of one that runs, how many seconds it has left.
        reason: why it waits, in the scheduler's word.
    """

    place: int | None = None
    starts_in_s: float | None = None
    left_s: float | None = None
    reason: str = ""


class QueuedJob(NamedTuple):
    """A job that waits or runs.

    Attributes:
        job_id: its id, of an array that of the task.
        script: the script that it was submitted by.
        task: its place in its array, from 0.
    """

    job_id: str
    script: Path
    task: int = 0


class Scheduler(ABC):
    """The commands, directives and job ids of one scheduler.

    A subclass needs `submit`, `states` and `cancel_command`; what it leaves out of the rest, such as
    arrays, is done without.

    Attributes:
        copies_script: whether it keeps a copy of a script that waits; where it does not, the script must
            still be at its path when the job starts.
        directive: how a line of a script that the scheduler reads starts.
        job_variable: the variable that holds a job's id, in the job; empty: there is none.
        restart_count: the variable that holds how often a job was put back into the queue.
        requeue: the shell command by which a job puts itself back; empty: there is none.
        warning: a pattern of directives that ask for a signal before the job's time is up.
        forgets_ended_jobs: whether it forgets jobs that have ended; one that does not knows all that it
            ever took.
        accounting_delay_s: how long after its submission it may not know a job yet, in seconds.
        can_requeue: whether it may start a job again; where it never does, a run that is INTERRUPTED
            before its job has started was cancelled.
        keeps_jobs: whether jobs stay in its queue when the process that has submitted them ends.
        timeout_s: how many seconds it is given to answer.
        outlooks: what the last `states` learned in passing of jobs that wait or run, by their ids; it
            may set this where its query tells it. Shown by ``mlxpy top``.
        array_index: the variable that holds a task's index in its array; empty: there are no arrays.
        first_index: the index of an array's first task.
        task_output: the pattern that names a task's output file in an array's directory, without suffix.
        output_by_index: whether that pattern is the task's index: the file can then be made a link to
            the run's own beforehand.
        memory_message: a pattern of what it writes to the error output of a job that it ends for having
            taken too much memory; empty: it writes nothing there.
        waits_for_success: whether `after_directives` keep a job back whose predecessors have failed;
            where they do not, the job's script looks whether their runs are complete.
        arrays_can_wait: whether they work for arrays.
    """

    copies_script: ClassVar[bool] = False
    directive: ClassVar[str] = "#"
    job_variable: ClassVar[str] = ""
    restart_count: ClassVar[str] = ""
    requeue: ClassVar[str] = ""
    warning: ClassVar[str] = ""
    forgets_ended_jobs: ClassVar[bool] = True
    accounting_delay_s: ClassVar[float] = 0
    can_requeue: ClassVar[bool] = True
    keeps_jobs: ClassVar[bool] = True
    timeout_s: float = 120
    outlooks: Mapping[str, JobOutlook] = MappingProxyType({})
    array_index: ClassVar[str] = ""
    first_index: ClassVar[int] = 0
    task_output: ClassVar[str] = ""
    output_by_index: ClassVar[bool] = False
    memory_message: ClassVar[str] = ""
    waits_for_success: ClassVar[bool] = False
    arrays_can_wait: ClassVar[bool] = True

    @classmethod
    def job_of(cls, environment: Mapping[str, str]) -> JobIdentity | None:
        """Returns which of its jobs a process belongs to; None if it belongs to none.

        Args:
            environment: the process's variables.
        """
        job_id = environment.get(cls.job_variable)
        if not job_id:
            return None
        index = environment.get(cls.array_index, "")
        return JobIdentity(job_id, int(index) if index.isdecimal() else None)

    @classmethod
    def requested(cls, environment: Mapping[str, str], directives: Sequence[str] = ()) -> dict[str, int]:
        """Returns what a job was given of the machine that one of its processes runs on.

        Args:
            environment: the process's variables.
            directives: those that its script was submitted with, as far as they are known.

        Returns:
            Those of ``memory`` (in bytes), ``cores``, ``gpus`` and ``seconds`` that the scheduler tells
            its jobs, or the directives ask for.
        """
        return {}

    @property
    def cluster(self) -> str:
        """The name of the cluster that answers here; empty if it has none, or does not answer.

        Only where it has one can a job that the scheduler does not know be distinguished from another
        cluster's.
        """
        return ""

    def named(self, command: Sequence[str], pattern: str) -> str:
        """Returns what a pattern's group finds in the output of a command; empty if it finds nothing."""
        try:
            found = re.search(pattern, self.call(command, Path("/")), flags=re.MULTILINE)
        except SubmissionError:
            return ""
        return found[1] if found else ""

    @property
    def max_array_size(self) -> int:
        """How many tasks one array may have."""
        return 1000 if self.array_index else 1

    def name_directives(self, name: str) -> list[str]:
        """Returns the directives that name a job; the name has letters, digits and ``_ . / -``."""
        return []

    def output_directives(self, directory: Path, stdout: str, stderr: str) -> list[str] | None:
        """Returns the directives that send a job's output to files; None if it cannot write such paths.

        Args:
            directory: where the files are, and the script.
            stdout: the name of the one, or a pattern.
            stderr: that of the other.
        """
        return None

    def export_lines(self, run: Path) -> list[str]:
        """Returns the lines of a run's script that set variables for its program.

        Args:
            run: the run's directory.
        """
        return []

    def array_directives(self, count: int, parallelism: int | None) -> list[str]:
        """Returns the directives of an array of `count` tasks, at most `parallelism` of them at once.

        Raises:
            SubmissionError: the scheduler cannot bound how many run at once.
        """
        raise NotImplementedError

    def after_directives(self, job_ids: Sequence[str], *, ok: bool) -> list[str]:
        """Returns the directives by which a job waits for the end of others.

        Args:
            job_ids: the others, which were submitted here.
            ok: whether it is to start only if they succeed, where `waits_for_success`.

        Raises:
            SubmissionError: jobs cannot wait for others.
        """
        name = type(self).__name__
        raise SubmissionError(f"jobs of {name} cannot wait for others: leave after out")

    def requeue_directives(self) -> list[str]:
        """Returns the directives that allow a job to come back into the queue.

        Raises:
            SubmissionError: jobs cannot put themselves back.
        """
        name = type(self).__name__
        raise SubmissionError(f"jobs of {name} cannot put themselves back: leave requeue out")

    def warning_directives(self, seconds: int) -> list[str]:
        """Returns the directives that have a job get SIGUSR1 or SIGUSR2 so long before its time is up.

        Raises:
            SubmissionError: the scheduler sends no such signal.
        """
        name = type(self).__name__
        raise SubmissionError(f"{name} sends no signal before the end: leave signal_delay_s out")

    def asks_for_warning(self, directives: Sequence[str]) -> bool:
        """Returns whether directives ask for a signal before the job's time is up."""
        return bool(self.warning) and any(re.search(self.warning, one) for one in directives)

    @abstractmethod
    def submit(self, script: Path) -> str:
        """Submits a script and returns the job's id.

        Raises:
            SubmissionError: the scheduler did not take it.
        """

    def submit_array(self, script: Path, count: int) -> list[str]:
        """Submits a script that is an array and returns the ids of its tasks, in order.

        Raises:
            SubmissionError: the scheduler did not take it.
        """
        raise NotImplementedError

    @abstractmethod
    def states(self, job_ids: Sequence[str]) -> dict[str, Status]:
        """Asks for the states of jobs, of all in one query.

        Returns:
            Their statuses: SUBMITTED (it waits), RUNNING, COMPLETE, FAILED (it ended by itself with a
            non-zero exit status), INTERRUPTED (it was cancelled), KILLED (its time was up, its node
            failed). A job that the scheduler does not know, any more or yet, is not in it.

        Raises:
            SubmissionError: the scheduler does not answer.
        """

    def end_reasons(self, job_ids: Sequence[str]) -> dict[str, EndReason]:
        """Asks why jobs have ended, of all in one query; asked after `states` has said that they have.

        Returns:
            The reasons of those of which the scheduler knows one. An exit code above 127 is none: a
            signal ended the job, and somebody may have sent it.

        Raises:
            SubmissionError: the scheduler does not answer.
        """
        return {}

    def queued_jobs(self) -> list[QueuedJob] | None:
        """Returns this user's jobs that wait or run; None if it cannot tell by which scripts.

        By them a job is found again whose id nobody has noted: its submitter was killed.

        Raises:
            SubmissionError: the scheduler does not answer.
        """
        return None

    def current_ids(self, job_ids: Sequence[str]) -> dict[str, str]:
        """Returns the id by which each job is known now; some schedulers put a job back under a new one.

        Raises:
            SubmissionError: the scheduler does not answer.
        """
        return {job_id: job_id for job_id in job_ids}

    @abstractmethod
    def cancel_command(self, job_ids: Sequence[str]) -> list[str]:
        """Returns the command that cancels jobs, as a list of arguments."""

    def cancel(self, job_ids: Sequence[str]) -> None:
        """Cancels jobs; they may take a while to end.

        Raises:
            SubmissionError: the scheduler refused.
        """
        now = self.current_ids(job_ids)
        self.call(self.cancel_command([now[job_id] for job_id in job_ids]), Path("/"))

    def pause(self, seconds: float) -> None:
        """Lets time pass until the state of a job may have changed."""
        time.sleep(seconds)

    def call(
        self,
        command: Sequence[str],
        directory: Path | str,
        *,
        stdin: Path | str = os.devnull,
        ignored_errors: str = "",
        fatal_errors: str = "",
    ) -> str:
        """Runs a command of the scheduler in a directory and returns what it printed.

        Its process is in a session of its own, where Ctrl-C does not reach it.

        Args:
            command: its arguments, the program first.
            directory: where it runs.
            stdin: the file that it reads.
            ignored_errors: a pattern; a command all of whose complaints it matches has not failed.
            fatal_errors: a pattern; a command whose complaint it matches has failed, whatever its exit
                code.

        Raises:
            SubmissionError: there is no such command, it failed, or it does not answer.
        """
        try:
            with open(stdin, "rb") as file:
                done = subprocess.run(
                    command,
                    cwd=directory,
                    env={**os.environ, "PWD": str(directory)},  # OAR trusts it, not getcwd
                    stdin=file,
                    capture_output=True,
                    text=True,
                    errors="replace",
                    timeout=self.timeout_s,
                    check=False,
                    # Ctrl-C goes to all processes of the terminal, and would break off what a queue
                    # has begun to take.
                    start_new_session=True,
                )
        except FileNotFoundError:
            raise SubmissionError(
                f"there is no command {command[0]!r} here: submit on a machine that has it"
            ) from None
        except OSError as error:  # too many open files, no memory
            raise SubmissionError(f"cannot run {command[0]}: {error.strerror}") from error
        except subprocess.TimeoutExpired:
            raise SubmissionError(
                f"{command[0]} did not answer within {self.timeout_s} s, but may have taken the job: "
                "look at the queue before submitting again"
            ) from None
        complaints = done.stderr.splitlines()
        if ignored_errors and complaints and all(re.search(ignored_errors, line) for line in complaints):
            return done.stdout
        if done.returncode or (fatal_errors and re.search(fatal_errors, done.stderr)):
            printed = " ".join((done.stderr + " " + done.stdout).split())
            raise SubmissionError(f"{command[0]} refused (exit code {done.returncode}): {printed}")
        return done.stdout
