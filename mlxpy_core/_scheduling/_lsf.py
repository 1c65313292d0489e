"""LSF: ``bsub``. After IBM's manual of Spectrum LSF 10.1; not run yet."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlxpy_core._plugins._scheduler import Scheduler, printed_job_id
from mlxpy_core._runs._end_reason import EndReason
from mlxpy_core._runs._info import JobIdentity
from mlxpy_core._runs._status import Status


class LSFScheduler(Scheduler):
    """Submits by ``bsub < script`` (https://www.ibm.com/docs/en/spectrum-lsf/10.1.0)."""

    copies_script = True
    directive = "#BSUB"
    job_variable = "LSB_JOBID"
    array_index = "LSB_JOBINDEX"
    first_index = 1
    waits_for_success = True

    @classmethod
    def job_of(cls, environment: Mapping[str, str]) -> JobIdentity | None:
        job = super().job_of(environment)
        if job is None or not job.array_index:  # 0 outside of arrays
            return JobIdentity(job.job_id) if job else None
        return JobIdentity(f"{job.job_id}[{job.array_index}]", job.array_index)

    @property
    def cluster(self) -> str:
        return self.named(["lsid"], r"^My cluster name is (\S+)$")

    def name_directives(self, name: str) -> list[str]:
        # LSF sends output by mail, or to a file at the job's end and with a report: what the program
        # writes goes to the run's own files directly.
        return [f"-J {name.replace('/', '_')}", "-o /dev/null"]

    def array_directives(self, count: int, parallelism: int | None) -> list[str]:
        bound = f"%{parallelism}" if parallelism else ""
        # After the other -J, whose place it takes.
        return [f'-J "mlxpy[1-{count}]{bound}"']

    def after_directives(self, job_ids: Sequence[str], *, ok: bool) -> list[str]:
        condition = " && ".join(f"{'done' if ok else 'ended'}({job_id})" for job_id in job_ids)
        return [f'-w "{condition}"', *(["-ti"] if ok else [])]  # -ti ends what could never start

    def submit(self, script: Path) -> str:
        printed = self.call(["bsub"], script.parent, stdin=script)
        return printed_job_id("bsub", printed, r"Job <(\d+)> is submitted")

    def submit_array(self, script: Path, count: int) -> list[str]:
        job_id = self.submit(script)
        return [f"{job_id}[{index}]" for index in range(1, count + 1)]

    def states(self, job_ids: Sequence[str]) -> dict[str, Status]:
        return {job_id: _status(*told) for job_id, told in self._ask(job_ids, "exit_reason").items()}

    def end_reasons(self, job_ids: Sequence[str]) -> dict[str, EndReason]:
        told = self._ask(job_ids, "exit_code exit_reason")
        reasons = {job_id: _reason(*text.split("|", 1)) for job_id, (_, text) in told.items()}
        return {job_id: reason for job_id, reason in reasons.items() if reason}

    def _ask(self, job_ids: Sequence[str], more: str) -> dict[str, tuple[str, str]]:
        """Returns the state of each job, and more fields of it."""
        numbers = sorted({job_id.partition("[")[0] for job_id in job_ids})
        fields = f"jobid jobindex stat {more} delimiter='|'"
        command = ["bjobs", "-u", "all", "-a", "-noheader", "-o", fields, *numbers]
        shown = self.call(command, Path("/"), ignored_errors="is not found|No .*job found")
        found = {}
        for number, index, state, told in re.findall(
            r"^(\d+)\|(\d*)\|(\w+)\|(.*)$", shown, re.MULTILINE
        ):
            found[number if index in ("", "0") else f"{number}[{index}]"] = (state, told)
        return {job_id: found[job_id] for job_id in job_ids if job_id in found}

    def cancel_command(self, job_ids: Sequence[str]) -> list[str]:
        return ["bkill", *job_ids]


# "Job states"; what is not here runs.
_STATUS = {
    "PEND": Status.SUBMITTED,
    "PSUSP": Status.SUBMITTED,
    "WAIT": Status.SUBMITTED,
    "DONE": Status.COMPLETE,
    "ZOMBI": Status.KILLED,
}
# "Termination reasons displayed by bacct, bhist, and bjobs": somebody asked for the end.
_CANCELLED = ("TERM_OWNER", "TERM_ADMIN", "TERM_FORCE_OWNER", "TERM_FORCE_ADMIN", "TERM_BUCKET_KILL")


def _status(state: str, reason: str) -> Status:
    if state != "EXIT":
        return _STATUS.get(state, Status.RUNNING)
    if reason.startswith(_CANCELLED):
        return Status.INTERRUPTED
    return Status.KILLED if reason.startswith("TERM_") else Status.FAILED


_REASONS = {
    "TERM_MEMLIMIT": EndReason.OUT_OF_MEMORY,
    "TERM_SWAP": EndReason.OUT_OF_MEMORY,
    "TERM_RUNLIMIT": EndReason.TIMEOUT,
    "TERM_DEADLINE": EndReason.TIMEOUT,
    "TERM_WINDOW": EndReason.TIMEOUT,
    "TERM_PREEMPT": EndReason.PREEMPTED,
    **dict.fromkeys(_CANCELLED, EndReason.CANCELLED),
}


def _reason(exit_code: str, reason: str) -> EndReason | None:
    if reason.startswith("TERM_"):
        return _REASONS.get(reason.partition(":")[0])
    return EndReason.of_exit_code(int(exit_code)) if exit_code.isdecimal() else None
