"""Submits runs: each gets its metadata and its script, then the queue gets them all."""

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from mlxpy_core._errors import MlxpyError, StorageError
from mlxpy_core._io._files import do_at_once, doing_at_once
from mlxpy_core._io._interrupts import exit_code_of, signals_held
from mlxpy_core._plugins._scheduler import Scheduler, SubmissionError
from mlxpy_core._runs._directory import RunDirectory, remove_new_runs
from mlxpy_core._runs._info_file import drop_kept_info, put_info_back, write_info
from mlxpy_core._runs._run_names import run_command, run_names
from mlxpy_core._runs._status import Status

from ._grouping import Grouping
from ._job import Job, note_job_id
from ._submission_files import RunFiles, info_of_job, script_of_group

_REMOVED = "removed again"
# So many runs are written before a signal is heard.
_AT_ONCE = 32


class SubmissionInterruptedError(SubmissionError):
    """A signal has broken a submission off; the message says what is left of it."""

    def __init__(self, message: str, cause: KeyboardInterrupt) -> None:
        super().__init__(message)
        self.exit_code = exit_code_of(cause)


def submit_jobs(
    scheduler: Scheduler,
    jobs: Sequence[Job],
    grouping: Grouping | None = None,
    job_ids: dict[RunDirectory, str] | None = None,
) -> dict[RunDirectory, str]:
    """Submits runs to the queue; where it refuses, the runs are FAILED with its message.

    Where the file system refuses before the queue is asked, new runs are removed. Ctrl-C (SIGTERM,
    SIGHUP: see `end_by_signals`) leaves in the queue what was submitted, and the other runs are
    INTERRUPTED. If nothing was, the runs are removed. A run that was submitted before keeps the status
    that it had.

    Args:
        scheduler: the queue's scheduler.
        jobs: the runs.
        grouping: how they are put together.
        job_ids: is filled with what is returned, as it becomes known.

    Returns:
        The id of each run's job.

    Raises:
        SubmissionInterruptedError: a signal broke the submission off.
        SubmissionError: the scheduler did not take some, or their scripts cannot be written; the message
            has the number of those that it took.
    """
    job_ids = {} if job_ids is None else job_ids
    submission = _Submission(scheduler, jobs, job_ids)
    try:
        submission.run(grouping or Grouping())
    except KeyboardInterrupt as interrupt:
        with signals_held(drop=True):
            message = submission.break_off()
        raise SubmissionInterruptedError(message, interrupt) from None
    except (MlxpyError, OSError) as error:
        raise SubmissionError(submission.fail(error)) from error
    finally:
        submission.drop_kept_infos()
    return job_ids


class _Submission:
    """A submission under way, and what becomes of its runs where it does not come to its end."""

    def __init__(
        self, scheduler: Scheduler, jobs: Sequence[Job], job_ids: dict[RunDirectory, str]
    ) -> None:
        self._scheduler = scheduler
        self._jobs = jobs
        self._job_ids = job_ids  # of the runs that the queue has taken
        self._begun: list[Job] = []  # whose files were being written
        self._scripts: list[Path] = []
        self._asked: list[Job] = []  # what the scheduler has been given, and has not answered of

    def run(self, grouping: Grouping) -> None:
        """Writes the files of all runs, and submits them."""
        # All that takes space comes before the queue has any of them.
        files = RunFiles(self._scheduler)
        with doing_at_once() as do:
            for start in range(0, len(self._jobs), _AT_ONCE):
                with signals_held():
                    some = self._jobs[start : start + _AT_ONCE]
                    self._begun += some
                    do(files.write, some)
        groups = grouping.groups(self._scheduler, self._jobs)
        self._scripts += [script_of_group(self._scheduler, group, grouping) for group in groups]
        for group, script in zip(groups, self._scripts, strict=True):
            with signals_held(until_second=True):
                self._asked = group
                self._submit(script, group, grouping.runs_per_job)
                if self._scheduler.keeps_jobs:
                    self._note_ids(group)
                self._asked = []

    def _submit(self, script: Path, group: Sequence[Job], runs_per_task: int) -> None:
        tasks = -(-len(group) // runs_per_task)
        alone = tasks == 1
        ids = [self._scheduler.submit(script)] if alone else self._scheduler.submit_array(script, tasks)
        self._job_ids.update(
            {job.directory: ids[index // runs_per_task] for index, job in enumerate(group)}
        )

    def _note_ids(self, jobs: Sequence[Job]) -> None:
        """Notes which jobs runs are; what cannot be written is printed."""
        refusals: dict[RunDirectory, str] = {}

        def note(job: Job) -> None:
            try:
                note_job_id(job, self._job_ids[job.directory])
            except StorageError as error:
                refusals[job.directory] = str(error)

        do_at_once(note, [job for job in jobs if job.directory in self._job_ids])
        if refusals:
            unknown = " ".join(dict.fromkeys(self._job_ids[directory] for directory in refusals))
            print(
                f"mlxpy: submitted, but it cannot be noted as which jobs, {unknown}: "
                f"{run_names([run.log_id for run in refusals])} ({next(iter(refusals.values()))})",
                file=sys.stderr,
            )

    def fail(self, error: Exception) -> str:
        """Ends the runs that were not submitted.

        Returns:
            Why they were not, which, what they are now, and what to type to submit them.
        """
        # Until the last script is written the queue has not been asked.
        refused = isinstance(error, OSError) and not self._scripts
        left = self._left()
        became = {self._end_unsubmitted(job, error, refused=refused) for job in left}
        taken = list(self._job_ids)
        done = "nothing was"
        if taken:
            done = f"{run_names([run.log_id for run in taken])} {'were' if len(taken) > 1 else 'was'}"
        if isinstance(error, OSError) and not isinstance(error, StorageError):
            error = StorageError(f"cannot write {error.filename or 'the scripts'}", error)
        names = run_names([job.directory.log_id for job in left])
        what = f"{error} ({done} submitted; {names} {' or '.join(sorted(became))}"
        if taken and _REMOVED not in became:
            what += f": to submit the rest, {run_command('resubmit', [job.directory for job in left])}"
        return f"{what})"

    def break_off(self) -> str:
        """Leaves the runs as they are without the rest of it; returns a message that says so."""
        self._note_ids(self._asked)
        left = self._left()
        unknown = {job.directory for job in self._asked} - self._job_ids.keys()
        left = [job for job in left if job.directory not in unknown]
        nothing = not (self._job_ids or unknown)
        removed = {job.directory for job in left if nothing and not job.earlier}
        remove_new_runs(removed)
        kept = [job for job in left if job.directory not in removed]
        do_at_once(lambda job: self._end_unsubmitted(job, None), kept)
        parts = [submitted_message(list(self._job_ids), len(self._jobs))]
        if unknown:
            names = run_names([directory.log_id for directory in unknown])
            parts.append(f"it is not known whether the queue has {names}: mlxpy status says more")
        if not nothing and left:
            command = run_command("resubmit", [job.directory for job in left])
            names = run_names([job.directory.log_id for job in left])
            are = "is" if len(left) == 1 else "are"
            status = "as before" if left[0].earlier else "INTERRUPTED"
            parts.append(f"{names} {are} {status} (to submit: {command})")
        return f"interrupted: {'; '.join(parts)}"

    def _left(self) -> list[Job]:
        """Returns the runs that no queue has."""
        if not self._scheduler.keeps_jobs:
            self._job_ids.clear()
        return [job for job in self._jobs if job.directory not in self._job_ids]

    def _end_unsubmitted(self, job: Job, error: Exception | None, *, refused: bool = False) -> str:
        """Sees to it that a run that the queue did not get is not SUBMITTED; returns what it is now.

        Where it was the file system that refused, nothing is left of a new run.
        """
        if job.earlier:
            if job in self._begun:
                put_info_back(job.directory)
            return "as before"
        if not refused:
            info = info_of_job(job, self._scheduler, self._scheduler.cluster)
            info["scheduler"]["may_come_back"] = False
            info["status"] = (Status.FAILED if error else Status.INTERRUPTED).value
            if error:
                raised = type(error).__name__
                info["exception"] = {"type": raised, "message": str(error), "traceback": ""}
            with contextlib.suppress(StorageError):
                write_info(job.directory, info)
                return "failed"
        # What there is of the run, this command has made.
        remove_new_runs([job.directory])
        return "cannot be removed" if job.directory.path.exists() else _REMOVED

    def drop_kept_infos(self) -> None:
        """Removes what was kept of runs that were submitted before, in case they are not submitted."""
        for job in self._begun:
            if job.earlier:
                drop_kept_info(job.directory)


def submitted_message(submitted: Sequence[RunDirectory], count: int) -> str:
    """Returns what a user is told of the runs that have been submitted, of so many.

    Args:
        submitted: their directories.
        count: how many were to be submitted.
    """
    if not submitted:
        return "nothing was submitted"
    jobs = f"{len(submitted)} job{'s' * (len(submitted) != 1)}"
    if len(submitted) < count:
        jobs = f"{len(submitted)} of {count} jobs"
    stay = "stays" if jobs == "1 job" else "stay"
    return f"{jobs} {stay} in the queue (to cancel: {run_command('cancel', submitted)})"


def print_plan(scheduler: Scheduler, jobs: Sequence[Job], grouping: Grouping) -> None:
    """Prints the first script whole, the other jobs in a line each."""
    lines = []
    for job in jobs[:1]:
        lines += [f"# {job.directory.path}/script.sh", job.script(scheduler)]
    for job in jobs[1:]:
        what = " ".join(job.launch.overrides) or job.launch.cmd
        lines.append(f"# {job.directory.path}/script.sh: {what}")
    submissions = len(grouping.groups(scheduler, jobs))
    lines.append(
        f"Dry run: {len(jobs)} job{'s' * (len(jobs) != 1)} in {submissions} "
        f"submission{'s' * (submissions != 1)}; nothing was made or submitted."
    )
    try:
        print("\n".join(lines), flush=True)
    except BrokenPipeError:  # of `| head`, which has what it wants; Python flushes once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
