"""Moab: ``msub``. After the manual of Moab Workload Manager 9.1, its chapter "Commands"; not run yet."""

import re
from collections.abc import Sequence
from pathlib import Path

from mlxpy_core._plugins._scheduler import Scheduler, printed_job_id
from mlxpy_core._runs._end_reason import EndReason
from mlxpy_core._runs._status import Status


class MoabScheduler(Scheduler):
    """Submits by ``msub``, each job by itself: a Moab has arrays only where they were enabled."""

    copies_script = True
    directive = "#MSUB"
    job_variable = "MOAB_JOBID"
    waits_for_success = True

    def name_directives(self, name: str) -> list[str]:
        # -E gives jobs Moab's variables. Output goes to the run's own files directly, as with PBS.
        return [f"-N {name.replace('/', '_')}", "-E", "-j oe"]

    def after_directives(self, job_ids: Sequence[str], *, ok: bool) -> list[str]:
        return [f"-l depend={'afterok' if ok else 'afterany'}:{':'.join(job_ids)}"]

    def submit(self, script: Path) -> str:
        printed = self.call(["msub", script.name], script.parent)
        return printed_job_id("msub", printed, r"\A([\w.-]*\d[\w.-]*)\Z")

    def states(self, job_ids: Sequence[str]) -> dict[str, Status]:
        return {job_id: _status(values) for job_id, values in self._known(job_ids).items()}

    def end_reasons(self, job_ids: Sequence[str]) -> dict[str, EndReason]:
        reasons = {job_id: _reason(values) for job_id, values in self._known(job_ids).items()}
        return {job_id: reason for job_id, reason in reasons.items() if reason}

    def _known(self, job_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Returns what Moab shows of each job."""
        found = self._ask(["showq", "--xml"])
        if not found.keys() >= set(job_ids):
            found = {**self._ask(["showq", "-c", "--xml"]), **found}  # ended jobs, for some minutes
        return {job_id: found[job_id] for job_id in job_ids if job_id in found}

    def cancel_command(self, job_ids: Sequence[str]) -> list[str]:
        return ["canceljob", *job_ids]

    def _ask(self, command: Sequence[str]) -> dict[str, dict[str, str]]:
        found = {}
        for job in re.findall(r"<job\s([^>]*)>", self.call(command, Path("/"))):
            values = dict(re.findall(r'(\w+)="([^"]*)"', job))
            # By Moab's own id, and by that of the scheduler below it.
            for name in ("JobID", "DRMJID"):
                if name in values:
                    found[values[name]] = values
        return found


_RUNS = ("Running", "Starting", "Suspended")


def _status(values: dict[str, str]) -> Status:
    state, code = values.get("State", ""), values.get("CompletionCode")
    if _was_cancelled(values):
        return Status.INTERRUPTED
    if code is None and state not in ("Completed", "Vacated"):
        return Status.RUNNING if state in _RUNS else Status.SUBMITTED
    number = re.match(r"-?\d+", code or "")
    # As with PBS: below 0 it was ended, from 256 on by a signal.
    if number is None or not 0 <= int(number[0]) < 256:
        return Status.KILLED
    return Status.FAILED if int(number[0]) else Status.COMPLETE


def _was_cancelled(values: dict[str, str]) -> bool:
    state, code = values.get("State", ""), values.get("CompletionCode", "")
    return state.startswith("Removed") or code.startswith("CNCLD")


def _reason(values: dict[str, str]) -> EndReason | None:
    if _was_cancelled(values):
        return EndReason.CANCELLED
    code = values.get("CompletionCode", "")
    return EndReason.of_exit_code(int(code)) if code.isdecimal() else None
