"""Slurm: ``sbatch``. Seen with 22.05."""

import contextlib
import os
import re
import shlex
import signal
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from mlxpy_core._plugins._scheduler import (
    JobOutlook,
    QueuedJob,
    Scheduler,
    SubmissionError,
    printed_job_id,
)
from mlxpy_core._runs._end_reason import EndReason
from mlxpy_core._runs._info import JobIdentity
from mlxpy_core._runs._status import Status


class SLURMScheduler(Scheduler):
    """Submits by ``sbatch`` (https://slurm.schedmd.com/sbatch.html)."""

    copies_script = True
    directive = "#SBATCH"
    job_variable = "SLURM_JOB_ID"
    restart_count = "SLURM_RESTART_COUNT"
    # Not by its own id: that of one task is the id of its whole array, all of which would come back.
    requeue = (
        'scontrol requeue "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}'
        '${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"'
    )
    warning = r"^--signal\b"
    array_index = "SLURM_ARRAY_TASK_ID"
    task_output = "%a"
    output_by_index = True
    # By JobAcctGatherParams=OverMemoryKill, of which the job's state says nothing, and by cgroups.
    memory_message = (
        r"^slurmstepd\S*: error: (StepId=\S+ exceeded memory limit|Detected \d+ oom.kill event)"
    )
    waits_for_success = True

    @classmethod
    def job_of(cls, environment: Mapping[str, str]) -> JobIdentity | None:
        job = super().job_of(environment)
        if job is None or job.array_index is None:
            return job
        # A task has an id of its own, too, by which scancel does not know it.
        array = environment.get("SLURM_ARRAY_JOB_ID", job.job_id)
        return JobIdentity(f"{array}_{job.array_index}", job.array_index)

    @classmethod
    def requested(cls, environment: Mapping[str, str], directives: Sequence[str] = ()) -> dict[str, int]:
        def number(name: str) -> int:
            text = environment.get(name, "")
            return int(text) if text.isdecimal() else 0

        cores = number("SLURM_CPUS_ON_NODE")
        named = environment.get("SLURM_JOB_GPUS", "")
        gpus = number("SLURM_GPUS_ON_NODE") or len(named.split(",") if named else ())
        # sbatch has one of these; all are in megabytes.
        memory = (
            number("SLURM_MEM_PER_NODE")
            or number("SLURM_MEM_PER_CPU") * cores
            or number("SLURM_MEM_PER_GPU") * gpus
        )
        # These are since 23.02.
        seconds = number("SLURM_JOB_END_TIME") - number("SLURM_JOB_START_TIME")
        seconds = seconds or _time_limit(directives)
        found = {"memory": memory * 2**20, "cores": cores, "gpus": gpus, "seconds": seconds}
        return {name: value for name, value in found.items() if value > 0}

    @property
    def cluster(self) -> str:
        return _setting("ClusterName")

    @property
    def max_array_size(self) -> int:
        # Indices start at 0, so the bound of the index is that of the size.
        return int(_setting("MaxArraySize") or 1000)

    def name_directives(self, name: str) -> list[str]:
        return [f"--job-name={name}"]

    def output_directives(self, directory: Path, stdout: str, stderr: str) -> list[str] | None:
        if re.search(r'["\\\n]', str(directory)):
            return None
        escaped = str(directory).replace("%", "%%")
        # A job that is put back into the queue writes on where it was.
        files = [f'--error="{escaped}/{stderr}"', f'--output="{escaped}/{stdout}"']
        return [*files, "--open-mode=append"]

    def export_lines(self, run: Path) -> list[str]:
        # What submitit.JobEnvironment() reads; by hand there is no job.
        folder = shlex.quote(str(run))
        return [f'export SUBMITIT_EXECUTOR="${{SLURM_JOB_ID:+slurm}}" SUBMITIT_FOLDER={folder}']

    def array_directives(self, count: int, parallelism: int | None) -> list[str]:
        bound = f"%{parallelism}" if parallelism else ""
        return [f"--array=0-{count - 1}{bound}"]

    def requeue_directives(self) -> list[str]:
        return ["--requeue"]

    def warning_directives(self, seconds: int) -> list[str]:
        # B: to the script, which passes it on; without steps of srun nobody else would get it.
        return [f"--signal=B:USR2@{seconds}"]

    def after_directives(self, job_ids: Sequence[str], *, ok: bool) -> list[str]:
        waited_for = ":".join(job_ids)
        if ok:  # a job that could never start would wait for ever
            return [f"--dependency=afterok:{waited_for}", "--kill-on-invalid-dep=yes"]
        return [f"--dependency=afterany:{waited_for}"]

    def submit(self, script: Path) -> str:
        printed = self.call(["sbatch", "--parsable", script.name], script.parent)
        return printed_job_id("sbatch", printed, r"\A(\d+)(;.*)?\Z")

    def submit_array(self, script: Path, count: int) -> list[str]:
        job_id = self.submit(script)
        return [f"{job_id}_{index}" for index in range(count)]

    def states(self, job_ids: Sequence[str]) -> dict[str, Status]:
        told = self._ask(job_ids, ["-o", "%i|%A|%T|%L|%S|%Q|%r"], "State")
        # sacct tells the state alone.
        self.outlooks = _outlooks({job_id: line for job_id, line in told.items() if len(line) > 1})
        return {job_id: status_of_state(line[0]) for job_id, line in told.items()}

    def end_reasons(self, job_ids: Sequence[str]) -> dict[str, EndReason]:
        fields = "JobArrayID:|,JobID:|,State:|,exit_code:"
        told = self._ask(job_ids, ["-O", fields], "State,ExitCode")
        reasons = {job_id: reason_of_state(*line) for job_id, line in told.items()}
        return {job_id: reason for job_id, reason in reasons.items() if reason}

    def queued_jobs(self) -> list[QueuedJob]:
        printed = self.call(["squeue", "-h", "-r", "-u", str(os.getuid()), "-o", "%i|%o"], Path("/"))
        jobs = []
        for line in printed.splitlines():
            job_id, _, script = line.partition("|")
            index = job_id.partition("_")[2]
            jobs.append(QueuedJob(job_id, Path(script), int(index) if index.isdecimal() else 0))
        return jobs

    def _ask(
        self, job_ids: Sequence[str], of_squeue: Sequence[str], of_sacct: str
    ) -> dict[str, list[str]]:
        """Returns what Slurm says of each job that it knows: its state, and what follows."""
        # The numbers of whole arrays: a thousand tasks would be a long command.
        numbers = ",".join(sorted({job_id.partition("_")[0] for job_id in job_ids}))
        # squeue knows ended jobs for some minutes (MinJobAge); sacct, where there is one, for ever.
        squeue = ["squeue", "-h", "-r", "-t", "all", *of_squeue, "-j", numbers]
        found = self._lines(squeue, job_ids)
        if len(found) < len(set(job_ids)):
            sacct = ["sacct", "-n", "-P", "-X", "-o", f"JobID,JobIDRaw,{of_sacct}", "-j", numbers]
            with contextlib.suppress(SubmissionError):
                found = {**self._lines(sacct, job_ids), **found}
        return found

    def _lines(self, command: Sequence[str], job_ids: Sequence[str]) -> dict[str, list[str]]:
        try:
            lines = self.call(command, Path("/")).splitlines()
        except SubmissionError as error:
            if "Invalid job id" not in str(error):
                raise
            lines = []
        printed = {}
        for line in lines:
            # A task of an array has two ids: by its array, 12_3, and its own.
            by_array, own, *fields = line.strip().split("|")
            printed[by_array] = printed[own] = fields
        return {job_id: printed[job_id] for job_id in job_ids if job_id in printed}

    def cancel(self, job_ids: Sequence[str]) -> None:
        # Its exit code is 0 even if it knows no such job; one that has ended meanwhile is no trouble.
        ended = r"already completing or completed"
        self.call(self.cancel_command(job_ids), Path("/"), ignored_errors=ended, fatal_errors="error:")

    def cancel_command(self, job_ids: Sequence[str]) -> list[str]:
        return ["scancel", *job_ids]


# https://slurm.schedmd.com/squeue.html, "JOB STATE CODES"; what is not here runs or is about to end.
_STATUS = {
    "PENDING": Status.SUBMITTED,
    "REQUEUED": Status.SUBMITTED,
    "REQUEUE_HOLD": Status.SUBMITTED,
    "REQUEUE_FED": Status.SUBMITTED,
    "SPECIAL_EXIT": Status.SUBMITTED,
    "COMPLETED": Status.COMPLETE,
    "FAILED": Status.FAILED,
    "CANCELLED": Status.INTERRUPTED,
    "REVOKED": Status.INTERRUPTED,
    "BOOT_FAIL": Status.KILLED,
    "DEADLINE": Status.KILLED,
    "NODE_FAIL": Status.KILLED,
    "OUT_OF_MEMORY": Status.KILLED,
    "PREEMPTED": Status.KILLED,
    "TIMEOUT": Status.KILLED,
}


def status_of_state(state: str) -> Status:
    """Returns the status that a state of Slurm's means."""
    return _STATUS.get(state.split()[0].rstrip("+"), Status.RUNNING)  # "CANCELLED by 0"


def _outlooks(lines: Mapping[str, Sequence[str]]) -> dict[str, JobOutlook]:
    """Returns what squeue expects of jobs: of each its state, time left, start, priority and reason."""
    waiting = {one: line for one, line in lines.items() if status_of_state(line[0]) is Status.SUBMITTED}

    def priority(one: str) -> int:
        return int(waiting[one][3]) if waiting[one][3].isdecimal() else 0

    first_to_last = sorted(waiting, key=priority, reverse=True)
    outlooks = {}
    for place, one in enumerate(first_to_last, 1):
        _, _, start, _, *reason = waiting[one]
        outlooks[one] = JobOutlook(place, _seconds_until(start), reason="|".join(reason))
    for one, line in lines.items():
        if status_of_state(line[0]) is Status.RUNNING:
            outlooks[one] = JobOutlook(left_s=_seconds(line[1]))
    return outlooks


def _seconds_until(moment: str) -> float | None:
    try:
        return max(0.0, (datetime.fromisoformat(moment) - datetime.now()).total_seconds())
    except (TypeError, ValueError):  # N/A
        return None


def _seconds(time: str) -> float | None:
    """Returns the seconds of ``[days-][[hours:]minutes:]seconds``; None for words such as UNLIMITED."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(?:(\d+):)?(\d+):)?(\d+)", time)
    if not found:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return 86400 * days + 3600 * hours + 60 * minutes + seconds


_FATAL_SIGNALS = frozenset(
    map(int, (signal.SIGABRT, signal.SIGBUS, signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM))
)
_REASONS = {
    "CANCELLED": EndReason.CANCELLED,
    "REVOKED": EndReason.CANCELLED,
    "BOOT_FAIL": EndReason.NODE_FAIL,
    "NODE_FAIL": EndReason.NODE_FAIL,
    "DEADLINE": EndReason.TIMEOUT,
    "TIMEOUT": EndReason.TIMEOUT,
    "OUT_OF_MEMORY": EndReason.OUT_OF_MEMORY,
    "PREEMPTED": EndReason.PREEMPTED,
}


def reason_of_state(state: str, exit_code: str = "") -> EndReason | None:
    """Returns why a job has ended that is in a state of Slurm's; None if that does not say.

    Args:
        state: the state.
        exit_code: how the job ended as wait(2) has it, as squeue prints it, or as sacct does, ``3:0``.
    """
    word = state.split()[0].rstrip("+")
    if word != "FAILED":
        return _REASONS.get(word)
    code, of_sacct, ended_by = exit_code.partition(":")
    if not code.isdecimal():
        return None
    if not of_sacct:
        return EndReason.of_exit_code(int(code) >> 8)
    # sacct leaves out the bit by which a shell says that a signal ended the program: 9 may be 137.
    by_signal = ended_by != "0" or int(code) in _FATAL_SIGNALS
    return None if by_signal else EndReason.of_exit_code(int(code))


def _time_limit(directives: Sequence[str]) -> int:
    """Returns the seconds that the last directive of a time asks for; 0 if there is none."""
    pattern = r"(?:^|\s)(?:--time[= ]|-t ?)(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?(?=\s|$)"
    times = [time for one in directives for time in re.findall(pattern, one)]
    if not times:
        return 0
    days, first, second, third = times[-1]
    # https://slurm.schedmd.com/sbatch.html#OPT_time
    if not days and not third:
        return 60 * int(first) + int(second or 0)
    return 86400 * int(days or 0) + 3600 * int(first) + 60 * int(second or 0) + int(third or 0)


_settings: dict[str, str] = {}


def _setting(name: str) -> str:
    """Returns a setting of the controller, which is asked until it has answered; empty if it has not."""
    if not _settings:
        with contextlib.suppress(SubmissionError):
            shown = SLURMScheduler().call(["scontrol", "show", "config"], Path("/"))
            _settings.update(re.findall(r"^(\w+)\s*= (.*\S)\s*$", shown, flags=re.MULTILINE))
    return _settings.get(name, "")
