"""Grid Engine: ``qsub``. Seen with 8.1.9, whose manual pages are named here."""

import os
import pwd
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mlxpy_core._plugins._scheduler import QueuedJob, Scheduler, SubmissionError, printed_job_id
from mlxpy_core._runs._end_reason import EndReason
from mlxpy_core._runs._info import JobIdentity
from mlxpy_core._runs._status import Status


class SGEScheduler(Scheduler):
    """Submits by ``qsub -terse``: qsub(1), qstat(1), qacct(1), qdel(1).

    A cancelled job looks like one that was killed otherwise, and one that was cancelled before it ran
    like one that never was: Grid Engine keeps no record of either.
    """

    copies_script = True
    directive = "#$"
    job_variable = "JOB_ID"
    array_index = "SGE_TASK_ID"
    first_index = 1
    task_output = "$TASK_ID"
    output_by_index = True
    requeue = "exit 99"  # queue_conf(5), "forbid_reschedule"
    warning = r"^-notify\b"

    @classmethod
    def job_of(cls, environment: Mapping[str, str]) -> JobIdentity | None:
        # Other programs have a JOB_ID, too; a job always has the other, "undefined" outside of arrays.
        job = super().job_of(environment) if environment.get(cls.array_index) else None
        if job is None or job.array_index is None:
            return job
        return JobIdentity(f"{job.job_id}.{job.array_index}", job.array_index)

    @property
    def cluster(self) -> str:
        return self.named(["qconf", "-sss"], r"^(\S+)$")  # qconf(1): the host of the scheduler

    def name_directives(self, name: str) -> list[str]:
        # sge_types(5): a job's name has no slash and starts with no digit. With -cwd the output goes to
        # the script's directory where no file is given, not to the user's home.
        return [f"-N {re.sub(r'^(?=[0-9])|/', '_', name)}", "-cwd"]

    def output_directives(self, directory: Path, stdout: str, stderr: str) -> list[str] | None:
        # "$", ":" and "," mean something in a path.
        if not re.fullmatch(r"[\w./-]+", str(directory), flags=re.ASCII):
            return None
        return [f"-e {directory}/{stderr}", f"-o {directory}/{stdout}"]

    def array_directives(self, count: int, parallelism: int | None) -> list[str]:
        bound = f" -tc {parallelism}" if parallelism else ""
        return [f"-t 1-{count}{bound}"]

    def after_directives(self, job_ids: Sequence[str], *, ok: bool) -> list[str]:
        # Until they have ended, in whatever way; of an array, all of its tasks.
        return [f"-hold_jid {','.join(dict.fromkeys(one.partition('.')[0] for one in job_ids))}"]

    def requeue_directives(self) -> list[str]:
        return ["-r y"]

    def warning_directives(self, seconds: int) -> list[str]:
        return ["-notify"]  # how long before the end is the queue's affair: queue_conf(5)

    def submit(self, script: Path) -> str:
        # Queues with shell_start_mode posix_compliant, queue_conf(5), pass over the script's first line.
        shell = script.read_text(encoding="utf-8").partition("\n")[0].removeprefix("#!")
        printed = self.call(["qsub", "-terse", "-S", shell, script.name], script.parent)
        return printed_job_id("qsub", printed, r"^(\d+)(\.\S+)?$")  # 3, or 3.1-4:1

    def submit_array(self, script: Path, count: int) -> list[str]:
        job_id = self.submit(script)
        return [f"{job_id}.{index}" for index in range(1, count + 1)]

    def states(self, job_ids: Sequence[str]) -> dict[str, Status]:
        found = self._tasks(["-u", "*"])
        # The accounting file, which may be long, is read once for each array that has left the queue.
        for number in sorted({job_id.partition(".")[0] for job_id in job_ids if job_id not in found}):
            found = {**{task: _end(values) for task, values in self._ended(number).items()}, **found}
        return {job_id: found[job_id] for job_id in job_ids if job_id in found}

    def end_reasons(self, job_ids: Sequence[str]) -> dict[str, EndReason]:
        found = {}
        for number in sorted({job_id.partition(".")[0] for job_id in job_ids}):
            for task, values in self._ended(number).items():
                # Why it has ended a job itself, Grid Engine does not record.
                code = int(values["exit_status"]) if values["failed"] == "0" else 0
                if task in job_ids and (reason := EndReason.of_exit_code(code)):
                    found[task] = reason
        return found

    def queued_jobs(self) -> list[QueuedJob]:
        found = self._tasks(["-u", pwd.getpwuid(os.getuid()).pw_name])
        numbers = sorted({job_id.partition(".")[0] for job_id in found})
        if not numbers:
            return []
        shown = self.call(["qstat", "-j", ",".join(numbers)], Path("/"))
        scripts = {}
        for record in re.split(r"^=+$", shown, flags=re.MULTILINE)[1:]:
            values = dict(re.findall(r"^(\w+): +(\S.*)$", record, flags=re.MULTILINE))
            place, name = values.get("sge_o_workdir", ""), values.get("script_file", "")
            scripts[values["job_number"]] = Path(os.path.normpath(os.path.join(place, name)))
        jobs = []
        for job_id in found:
            number, _, index = job_id.partition(".")
            if number in scripts:  # others have ended meanwhile
                task = int(index) - self.first_index if index else 0
                jobs.append(QueuedJob(job_id, scripts[number], task))
        return jobs

    def cancel_command(self, job_ids: Sequence[str]) -> list[str]:
        return ["qdel", *job_ids]

    def _tasks(self, options: Sequence[str]) -> dict[str, Status]:
        """Asks for the jobs in the queue, and each task of arrays."""
        shown = self.call(["qstat", *options, "-xml"], Path("/"))
        found: dict[str, Status] = {}
        from xml.etree import ElementTree  # each run imports this module, to find out whose job it is

        for job in ElementTree.fromstring(shown).iter("job_list"):  # noqa: S314  # the scheduler's own
            number, state = job.findtext("JB_job_number", ""), job.findtext("state", "")
            tasks = job.findtext("tasks")
            ids = [number] if tasks is None else [f"{number}.{task}" for task in _indices(tasks)]
            found.update(dict.fromkeys(ids, _status(state)))
        return found

    def _ended(self, number: str) -> dict[str, dict[str, str]]:
        """Returns the accounting of a job, or of each task of an array."""
        try:
            shown = self.call(["qacct", "-j", number], Path("/"))
        except SubmissionError:  # not there yet, or no accounting on this machine
            return {}
        found = {}
        for record in re.split(r"^=+$", shown, flags=re.MULTILINE)[1:]:
            values = dict(re.findall(r"^(\w+)\s+(\S+)", record, flags=re.MULTILINE))
            task = values["taskid"]
            # A job that was started again has several records; the last counts.
            found[number if task == "undefined" else f"{number}.{task}"] = values
        return found


def _indices(tasks: str) -> Iterator[int]:
    """Lists what ``1,4-10:2`` stands for."""
    for first, last, step in re.findall(r"(\d+)(?:-(\d+):(\d+))?", tasks):
        yield from range(int(first), int(last or first) + 1, int(step or 1))


def _status(state: str) -> Status:
    """Reads the letters of sge_status(5)."""
    if "E" in state:
        return Status.KILLED  # it waits for an administrator
    return Status.SUBMITTED if "w" in state or state.startswith("Rq") else Status.RUNNING


def _end(values: dict[str, str]) -> Status:
    if values["failed"] != "0":
        return Status.KILLED
    return Status.COMPLETE if values["exit_status"] == "0" else Status.FAILED
