"""OAR: ``oarsub``. Seen with 2.5.9."""

import contextlib
import json
import os
import re
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlxpy_core._plugins._scheduler import QueuedJob, Scheduler, SubmissionError
from mlxpy_core._runs._end_reason import EndReason
from mlxpy_core._runs._status import Status


class OARScheduler(Scheduler):
    """Submits by ``oarsub -S`` (https://oar.imag.fr/docs/latest/user/commands/oarsub.html)."""

    directive = "#OAR"
    job_variable = "OAR_JOB_ID"
    array_index = "OAR_ARRAY_INDEX"
    first_index = 1
    task_output = "%jobid%"
    requeue = "exit 99"  # what has a job of the type idempotent come back, if it ran for a minute
    warning = r"^--(checkpoint|signal)\b"
    forgets_ended_jobs = False
    arrays_can_wait = False  # 2.5.9 forgets the -a of an array where it is the only one

    @classmethod
    def requested(cls, environment: Mapping[str, str], directives: Sequence[str] = ()) -> dict[str, int]:
        found = {"cores": _cores_here(environment.get("OAR_NODE_FILE", ""))}
        if (seconds := environment.get("OAR_JOB_WALLTIME_SECONDS", "")).isdecimal():
            found["seconds"] = int(seconds)
        return {name: value for name, value in found.items() if value > 0}

    def name_directives(self, name: str) -> list[str]:
        return [f"-n {name}"]

    def output_directives(self, directory: Path, stdout: str, stderr: str) -> list[str] | None:
        # oarsub takes few characters in a path; a bare name is in the directory of the script.
        plain = re.fullmatch(r"[\w./-]+", str(directory), flags=re.ASCII)
        place = f"{directory}/" if plain else ""
        return [f"-E {place}{stderr}", f"-O {place}{stdout}"]

    def array_directives(self, count: int, parallelism: int | None) -> list[str]:
        if parallelism:
            raise SubmissionError(
                "OAR cannot bound how many jobs of an array run at once: leave array_parallelism out"
            )
        return [f"--array {count}"]

    def after_directives(self, job_ids: Sequence[str], *, ok: bool) -> list[str]:
        return [f"-a {job_id}" for job_id in job_ids]  # until they have ended, in whatever way

    def requeue_directives(self) -> list[str]:
        return ["-t idempotent"]

    def warning_directives(self, seconds: int) -> list[str]:
        return [f"--checkpoint {seconds}", f"--signal {int(signal.SIGUSR2)}"]

    def submit(self, script: Path) -> str:
        return self.submit_array(script, 1)[0]

    def submit_array(self, script: Path, count: int) -> list[str]:
        # A node whose oarexec cannot enter the script's directory becomes Suspected, for everybody.
        if not re.fullmatch(r"[\w ./-]+", str(script.parent), flags=re.ASCII):
            raise SubmissionError(
                f"OAR runs no jobs below {str(script.parent.parent)!r}: give a parent_log_dir of "
                "letters, digits, spaces and the characters . _ -"
            )
        # Not by its whole path, which may have no spaces.
        try:
            printed = self.call(["oarsub", "-S", f"./{script.name}"], script.parent)
        except SubmissionError as error:
            self._drop(re.findall(r"OAR_JOB_ID=([1-9]\d*)", str(error)))
            raise
        job_ids = re.findall(r"^OAR_JOB_ID=(\d+)$", printed, flags=re.MULTILINE)
        if len(job_ids) != count:
            found = " ".join(printed.split())
            raise SubmissionError(
                f"oarsub printed {len(job_ids)} job ids, not {count}, in {found!r}: "
                "look at the queue before submitting again"
            )
        return job_ids

    def states(self, job_ids: Sequence[str]) -> dict[str, Status]:
        return {job_id: status for job_id, (_, status, _) in self._newest(job_ids).items()}

    def end_reasons(self, job_ids: Sequence[str]) -> dict[str, EndReason]:
        reasons = {job_id: _reason(job) for job_id, (_, _, job) in self._newest(job_ids).items()}
        return {job_id: reason for job_id, reason in reasons.items() if reason}

    def current_ids(self, job_ids: Sequence[str]) -> dict[str, str]:
        newest = self._newest(job_ids)
        return {job_id: newest[job_id][0] if job_id in newest else job_id for job_id in job_ids}

    def queued_jobs(self) -> list[QueuedJob]:
        jobs = json.loads(self.call(["oarstat", "-J", "-u"], Path("/")).strip() or "{}")
        return [
            QueuedJob(
                job_id,
                Path(os.path.normpath(f"{job['launchingDirectory']}/{job['command']}")),
                int(job["array_index"]) - self.first_index,
            )
            for job_id, job in jobs.items()
            if job["command"]  # not of one that was submitted to be connected to
        ]

    def _newest(self, job_ids: Sequence[str]) -> dict[str, tuple[str, Status, Mapping[str, Any]]]:
        """Returns the newest id of each job, its status, and what is known of one that has ended.

        One that comes back has a new id.
        """
        states = self._ask("-s", _options(job_ids))
        found: dict[str, tuple[str, Status, Mapping[str, Any]]] = {
            job_id: (job_id, _STATUS.get(state, Status.RUNNING), {}) for job_id, state in states.items()
        }
        # How a job ended takes a second, slower query.
        ended = [job_id for job_id, state in states.items() if state in ("Terminated", "Error")]
        jobs = self._ask("-f", _options(ended))
        asked_for = {job_id: job_id for job_id in ended}
        while jobs:
            for job_id, job in jobs.items():
                found[asked_for[job_id]] = (job_id, _status(job), job)
            back = [job_id for job_id, job in jobs.items() if _came_back(job)]
            jobs = self._ask("-f", ["--sql", f"resubmit_job_id IN ({','.join(back)})"] if back else [])
            asked_for = {new: asked_for[str(job["resubmit_job_id"])] for new, job in jobs.items()}
        return found

    def _ask(self, option: str, jobs: Sequence[str]) -> dict[str, Any]:
        if not jobs:
            return {}
        found: dict[str, Any] = json.loads(
            self.call(["oarstat", option, "-J", *jobs], Path("/")).strip() or "{}"
        )
        return found

    def cancel_command(self, job_ids: Sequence[str]) -> list[str]:
        return ["oardel", *job_ids]

    def _drop(self, job_ids: Sequence[str]) -> None:
        """Deletes what OAR has refused but keeps, and would run once its server is up again."""
        for command in ("oarhold", "oardel") if job_ids else ():
            with contextlib.suppress(SubmissionError):
                self.call([command, *job_ids], Path("/"))


# "Job states" of https://oar.imag.fr/docs/latest/user/usecases.html; what is not here runs.
_STATUS = {
    "Waiting": Status.SUBMITTED,
    "Hold": Status.SUBMITTED,
    "toLaunch": Status.SUBMITTED,
    "toAckReservation": Status.SUBMITTED,
    "Launching": Status.SUBMITTED,
    "Terminated": Status.COMPLETE,
    "toError": Status.KILLED,
    "Error": Status.KILLED,
}


def _cores_here(node_file: str) -> int:
    """Counts the lines of this host in OAR's list of nodes, which has one for each core."""
    try:
        nodes = Path(node_file).read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return 0
    names = [node.partition(".")[0] for node in nodes]
    here = names.count(os.uname().nodename.partition(".")[0])
    return here or (len(names) if len(set(names)) == 1 else 0)  # a node may go by another name


def _options(job_ids: Sequence[str]) -> list[str]:
    return [argument for job_id in job_ids for argument in ("-j", job_id)]


def _status(job: Mapping[str, Any]) -> Status:
    if job["state"] == "Error":
        kinds = {event["type"] for event in job["events"]}
        # OAR asks for the end itself, too, when it has another reason.
        cancelled = "FRAG_JOB_REQUEST" in kinds and not kinds & {"WALLTIME", "BESTEFFORT_KILL"}
        return Status.INTERRUPTED if cancelled else Status.KILLED
    if job["state"] == "Terminated" and job["exit_code"]:
        return Status.FAILED
    return _STATUS.get(job["state"], Status.RUNNING)


# Kinds of a job's events. Others look the same where somebody deleted it and where its node died.
_REASONS = {"WALLTIME": EndReason.TIMEOUT, "BESTEFFORT_KILL": EndReason.PREEMPTED}


def _reason(job: Mapping[str, Any]) -> EndReason | None:
    """Returns why a job has ended, if that is known of it."""
    if job.get("state") == "Error":
        kinds = {event["type"] for event in job["events"]}
        return next((reason for kind, reason in _REASONS.items() if kind in kinds), None)
    # As wait(2) has it: the exit code above the number of a signal.
    return EndReason.of_exit_code(int(job.get("exit_code") or 0) >> 8)


def _came_back(job: Mapping[str, Any]) -> bool:
    return any(event["type"] == "RESUBMIT_JOB_AUTOMATICALLY" for event in job["events"])
