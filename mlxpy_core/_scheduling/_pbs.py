"""PBS: ``qsub``. After the manual pages of OpenPBS, qsub(1B), qstat(1B) and qdel(1B); not run yet."""

import re
from collections.abc import Sequence
from pathlib import Path

from mlxpy_core._plugins._scheduler import Scheduler, printed_job_id
from mlxpy_core._runs._end_reason import EndReason
from mlxpy_core._runs._status import Status


class PBSScheduler(Scheduler):
    """Submits by ``qsub`` of OpenPBS and PBS Professional.

    Torque has the same commands, but other arrays: its users set ``array`` to false.
    """

    copies_script = True
    directive = "#PBS"
    job_variable = "PBS_JOBID"
    array_index = "PBS_ARRAY_INDEX"
    first_index = 1
    waits_for_success = True

    @property
    def cluster(self) -> str:
        return self.named(["qstat", "-B", "-f"], r"^Server: *(\S+)$")

    def name_directives(self, name: str) -> list[str]:
        # Old versions take 15 characters, the first a letter, and no slash.
        plain = re.sub(r"^[^A-Za-z]+", "", name.replace("/", "_")[-15:]) or "mlxpy"
        # PBS brings its output back at a job's end only, and to where qsub ran where no file is given:
        # what the program writes goes to the run's own files directly, what PBS prints beside them.
        return [f"-N {plain}", "-j oe"]

    def array_directives(self, count: int, parallelism: int | None) -> list[str]:
        bound = [f"-W max_run_subjobs={parallelism}"] if parallelism else []
        return [f"-J 1-{count}", *bound]

    def after_directives(self, job_ids: Sequence[str], *, ok: bool) -> list[str]:
        # Of an array, for all of its tasks: they have no dependencies by themselves.
        waited_for = dict.fromkeys(re.sub(r"\[\d+\]", "[]", job_id) for job_id in job_ids)
        return [f"-W depend={'afterok' if ok else 'afterany'}:{':'.join(waited_for)}"]

    def submit(self, script: Path) -> str:
        printed = self.call(["qsub", script.name], script.parent)
        return printed_job_id("qsub", printed, r"\A(\d+(\[\])?(\.\S+)?)\Z")

    def submit_array(self, script: Path, count: int) -> list[str]:
        job_id = self.submit(script)  # 123[].server
        return [job_id.replace("[]", f"[{index}]") for index in range(1, count + 1)]

    def states(self, job_ids: Sequence[str]) -> dict[str, Status]:
        return {job_id: _status(values) for job_id, values in self._known(job_ids).items()}

    def end_reasons(self, job_ids: Sequence[str]) -> dict[str, EndReason]:
        reasons = {job_id: _reason(values) for job_id, values in self._known(job_ids).items()}
        return {job_id: reason for job_id, reason in reasons.items() if reason}

    def _known(self, job_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Returns what PBS shows of each job."""
        asked = sorted({re.sub(r"\[\d+\]", "[]", job_id) for job_id in job_ids})
        found = self._ask(["qstat", "-f", "-t", *asked])
        if not found.keys() >= set(job_ids):
            # Ended jobs, where the server keeps its job history.
            found = {**self._ask(["qstat", "-x", "-f", "-t", *asked]), **found}
        return {job_id: found[job_id] for job_id in job_ids if job_id in found}

    def cancel_command(self, job_ids: Sequence[str]) -> list[str]:
        return ["qdel", *job_ids]

    def _ask(self, command: Sequence[str]) -> dict[str, dict[str, str]]:
        # It fails if it does not know one of the jobs, and shows the others all the same.
        shown = self.call(command, Path("/"), ignored_errors="Unknown Job|has finished")
        found = {}
        for job in re.split(r"^Job Id: *", shown, flags=re.MULTILINE)[1:]:
            values = dict(re.findall(r"^\s+(\w+) = (\S+)", job.lower(), flags=re.MULTILINE))
            found[job.split()[0]] = values
        return found


# qstat(1B), "the job's state"; C is Torque's F. What is not here runs.
_WAITS = ("q", "h", "w", "t", "m")
_ENDED = ("f", "x", "c")
_DELETED = "91"  # the substate, JOB_SUBSTATE_TERMINATED


def _status(values: dict[str, str]) -> Status:
    state = values.get("job_state", "")
    if state in _WAITS:
        return Status.SUBMITTED
    if state not in _ENDED:
        return Status.RUNNING
    if values.get("substate") == _DELETED:
        return Status.INTERRUPTED
    # Below 0 PBS ended it, from 256 on a signal did.
    status = int(values.get("exit_status", "-1"))
    if status < 0 or status >= 256:
        return Status.KILLED
    return Status.FAILED if status else Status.COMPLETE


# What PBS ended a job for: JOB_EXEC_KILL_VMEM, _MEM, _CPUT and _WALLTIME of its job.h.
_REASONS = {
    -26: EndReason.OUT_OF_MEMORY,
    -27: EndReason.OUT_OF_MEMORY,
    -28: EndReason.TIMEOUT,
    -29: EndReason.TIMEOUT,
}


def _reason(values: dict[str, str]) -> EndReason | None:
    if values.get("job_state", "") not in _ENDED:
        return None
    if values.get("substate") == _DELETED:
        return EndReason.CANCELLED
    code = int(values.get("exit_status", "0"))
    return _REASONS.get(code) or EndReason.of_exit_code(code)
