"""Submits runs: each gets its metadata and its script, then the queue gets them all."""

import contextlib
import itertools
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlxpy_core._errors import MlxpyError, StorageError
from mlxpy_core._io._files import (
    do_at_once,
    doing_at_once,
    make_executable,
    whole_stream,
    write_all_whole,
)
from mlxpy_core._io._interrupts import exit_code_of, signals_held
from mlxpy_core._io._links import make_folder
from mlxpy_core._io._yaml import RepeatedDumps
from mlxpy_core._plugins._scheduler import Scheduler, SubmissionError
from mlxpy_core._runs._directory import RunDirectory, logs_argument, remove_new_runs
from mlxpy_core._runs._info import submitted_info
from mlxpy_core._runs._info_file import (
    drop_kept_info,
    info_path,
    keep_info,
    put_info_back,
    write_info,
)
from mlxpy_core._runs._process import describe_living_process
from mlxpy_core._runs._status import Status

from ._bundle import leave_bundle, note_bundle
from ._find_scheduler import scheduler_name
from ._job import Job, note_job_id, note_path
from ._script import ScriptOptions, array_script

CANCELLED = "cancelled"
_REMOVED = "removed again"
# So many runs are written before a signal is heard.
_AT_ONCE = 32


class SubmissionInterruptedError(SubmissionError):
    """A signal has broken a submission off; the message says what is left of it."""

    def __init__(self, message: str, cause: KeyboardInterrupt) -> None:
        super().__init__(message)
        self.exit_code = exit_code_of(cause)


@dataclass(frozen=True)
class Grouping:
    """How jobs are put together for the queue; only jobs whose scripts have the same options are.

    Attributes:
        array: whether several are submitted as one array.
        array_parallelism: at most so many tasks of an array at once; None for no bound.
        runs_per_job: so many run at once in one job of the scheduler.
    """

    array: bool = True
    array_parallelism: int | None = None
    runs_per_job: int = 1

    def __post_init__(self) -> None:
        for name in ("array_parallelism", "runs_per_job"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise MlxpyError(f"{name}={number} is no number of jobs: give 1 or more")

    def groups(self, scheduler: Scheduler, jobs: Iterable[Job]) -> list[list[Job]]:
        """Returns the jobs of each submission."""
        alike: dict[ScriptOptions, list[Job]] = {}
        for job in jobs:
            alike.setdefault(job.options, []).append(job)
        groups = []
        for options, group in alike.items():
            is_array = self.array and (scheduler.arrays_can_wait or not options.dependencies)
            size = self.runs_per_job * (scheduler.max_array_size if is_array else 1)
            groups += [group[i : i + size] for i in range(0, len(group), size)]
        return groups


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
    grouping = grouping or Grouping()
    job_ids = {} if job_ids is None else job_ids
    begun: list[Job] = []
    scripts: list[Path] = []
    asked: list[Job] = []  # what the scheduler has been given, and has not answered of
    try:
        # All that takes space comes before the queue has any of them.
        files = _RunFiles(scheduler)
        with doing_at_once() as do:
            for start in range(0, len(jobs), _AT_ONCE):
                with signals_held():
                    some = jobs[start : start + _AT_ONCE]
                    begun += some
                    do(files.write, some)
        groups = grouping.groups(scheduler, jobs)
        scripts += [_group_script(scheduler, group, grouping) for group in groups]
        for group, script in zip(groups, scripts, strict=True):
            with signals_held(until_second=True):
                asked = group
                job_ids.update(_submit(scheduler, script, group, grouping))
                if scheduler.keeps_jobs:
                    _note_ids(group, job_ids)
                asked = []
    except KeyboardInterrupt as interrupt:
        with signals_held(drop=True):
            _note_ids(asked, job_ids)
            message = _break_off(scheduler, jobs, job_ids, asked, begun)
        raise SubmissionInterruptedError(message, interrupt) from None
    except (MlxpyError, OSError) as error:
        if not scheduler.keeps_jobs:
            job_ids.clear()
        left = [job for job in jobs if job.directory not in job_ids]
        # Until the last script is written the queue has not been asked.
        refused = isinstance(error, OSError) and not scripts
        became = {_end_unsubmitted(job, scheduler, error, begun, refused=refused) for job in left}
        raise SubmissionError(_refusal(error, list(job_ids), left, became)) from error
    finally:
        for job in begun:
            if job.earlier:
                drop_kept_info(job.directory)
    return job_ids


def _refusal(
    error: Exception, taken: Sequence[RunDirectory], left: Sequence[Job], became: Set[str]
) -> str:
    """Says why runs were not submitted, which, what they are now, and what to type to submit them."""
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


def _break_off(
    scheduler: Scheduler,
    jobs: Sequence[Job],
    job_ids: dict[RunDirectory, str],
    asked: Sequence[Job],
    begun: Sequence[Job],
) -> str:
    """Leaves the runs as they are without the rest of the submission; returns a message that says so.

    Args:
        scheduler: the scheduler.
        jobs: the runs.
        job_ids: the jobs of those that it has taken.
        asked: those of which it is not known whether it has taken them.
        begun: those whose files were being written.
    """
    if not scheduler.keeps_jobs:
        job_ids.clear()
    unknown = {job.directory for job in asked} - job_ids.keys()
    left = [job for job in jobs if job.directory not in job_ids and job.directory not in unknown]
    nothing = not (job_ids or unknown)
    removed = {job.directory for job in left if nothing and not job.earlier}
    remove_new_runs(removed)
    kept = [job for job in left if job.directory not in removed]
    do_at_once(lambda job: _end_unsubmitted(job, scheduler, None, begun), kept)
    parts = [submitted_message(list(job_ids), len(jobs))]
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


def run_command(name: str, runs: Sequence[RunDirectory]) -> str:
    """Returns a command ``mlxpy`` that does something to runs, as it can be typed here."""
    spans = " ".join("-".join(map(str, span)) for span in _spans([run.log_id for run in runs]))
    return f"mlxpy {name} {spans}{logs_argument(runs[0].logs)}"


def where_runs_are(runs: Sequence[RunDirectory]) -> str:
    """Says in which directory runs are, and which command shows how they stand."""
    verb = "is" if len(runs) == 1 else "are"
    names = run_names([run.log_id for run in runs])
    return f"{names} {verb} in {runs[0].logs}: {run_command('status', runs)}"


def run_names(log_ids: Sequence[int]) -> str:
    """Names runs in short: ``runs 1 to 3, 7``."""
    names = ", ".join(" to ".join(map(str, span)) for span in _spans(log_ids))
    return f"run{'s' * (len(log_ids) > 1)} {names}"


def _spans(log_ids: Sequence[int]) -> list[list[int]]:
    """Returns the first and the last number of each stretch of numbers, or the only one."""
    spans: list[list[int]] = []
    for log_id in sorted(log_ids):
        if spans and log_id == spans[-1][-1] + 1:
            spans[-1] = [spans[-1][0], log_id]
        else:
            spans.append([log_id])
    return spans


def _note_ids(jobs: Sequence[Job], job_ids: Mapping[RunDirectory, str]) -> None:
    """Notes which jobs runs are; what cannot be written is printed."""
    refusals: dict[RunDirectory, str] = {}

    def note(job: Job) -> None:
        try:
            note_job_id(job, job_ids[job.directory])
        except StorageError as error:
            refusals[job.directory] = str(error)

    do_at_once(note, [job for job in jobs if job.directory in job_ids])
    if refusals:
        unknown = " ".join(dict.fromkeys(job_ids[directory] for directory in refusals))
        print(
            f"mlxpy: submitted, but it cannot be noted as which jobs, {unknown}: "
            f"{run_names([run.log_id for run in refusals])} ({next(iter(refusals.values()))})",
            file=sys.stderr,
        )


def _group_script(scheduler: Scheduler, jobs: Sequence[Job], grouping: Grouping) -> Path:
    """Returns the script by which jobs are submitted together; that of an array is written."""
    alone = len(jobs) == 1
    script = jobs[0].directory.path / "script.sh" if alone else _write_array(scheduler, jobs, grouping)
    return _kept_script(scheduler, script, jobs[0].run_id)


def _submit(
    scheduler: Scheduler, script: Path, jobs: Sequence[Job], grouping: Grouping
) -> dict[RunDirectory, str]:
    per_job = grouping.runs_per_job
    tasks = -(-len(jobs) // per_job)
    job_ids = scheduler.submit_array(script, tasks) if tasks > 1 else [scheduler.submit(script)]
    return {job.directory: job_ids[index // per_job] for index, job in enumerate(jobs)}


def _kept_script(scheduler: Scheduler, script: Path, run_id: str) -> Path:
    """Returns the path by which a script is submitted.

    A scheduler that keeps no copy starts what lies at the path when the job's turn comes. That may be
    another run's by then, whose script has another name.
    """
    if scheduler.copies_script:
        return script
    path = script.with_name(f".script-{run_id}.sh")
    path.unlink(missing_ok=True)
    try:
        os.link(script, path)
    except OSError:  # a file system without hard links
        _write_script(path, script.read_text(encoding="utf-8", errors="surrogateescape"), path.parent)
    return path


class _RunFiles:
    """Writes the files of runs that are to be submitted; what is the same for all is made once.

    Args:
        scheduler: the scheduler.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._cluster = scheduler.cluster  # asks the scheduler
        self._submitter = describe_living_process()
        self._infos, self._configs = RepeatedDumps(), RepeatedDumps()

    def write(self, job: Job) -> None:
        """Writes the files of a run, each of which is waited for until the disk has it."""
        # The job itself writes the rest. Each file counts: a sweep of a thousand jobs has thousands.
        directory = job.directory
        files = {}
        if job.earlier:
            make_folder(directory.state, directory.logs)
            keep_info(directory)
            (directory.state / CANCELLED).unlink(missing_ok=True)
            leave_bundle(directory.path)
        else:
            files[directory.config] = self._configs.dump(job.config)
        note, script = note_path(directory), directory.path / "script.sh"
        files[note] = job.note
        files[script] = job.script(self._scheduler)
        info = _info(job, self._scheduler, self._cluster, self._submitter)
        files[info_path(directory.path)] = self._infos.dump(info)  # the last: with it it is a run
        # A new note is synced with the job's id; the note that is there must not be lost.
        unsynced = () if job.earlier else (note,)
        write_all_whole(files, directory.logs, scripts=(script,), unsynced=unsynced)


def write_script(job: Job, scheduler: Scheduler) -> Path:
    """Writes the script of a job into its run's directory.

    Raises:
        StorageError: it cannot be written.
    """
    path = job.directory.path / "script.sh"
    _write_script(path, job.script(scheduler), job.directory.logs)
    return path


def _info(
    job: Job, scheduler: Scheduler, cluster: str, submitter: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    return submitted_info(
        job.directory,
        job.run_id,
        job.launch,
        scheduler_name(scheduler),
        cluster,
        job.earlier,
        submitter,
        {
            **({"options": job.changed_options} if job.changed_options else {}),
            **(job.after.fields if job.after else {}),
        },
        job.retries,
    )


def _write_array(scheduler: Scheduler, jobs: Sequence[Job], grouping: Grouping) -> Path:
    runs = [job.directory.path for job in jobs]
    # In the first run's directory: it lives as long as the run does. A run that is submitted again may
    # be the first of an array that others still wait in.
    directory = next(path for path in _array_directories(runs[0]) if not path.exists())
    text = array_script(
        scheduler,
        jobs[0].options,
        runs={job.directory.path: job.run_id for job in jobs},
        runs_per_task=grouping.runs_per_job,
        parallelism=grouping.array_parallelism,
        directory=directory,
    )
    logs = jobs[0].directory.logs
    make_folder(directory, logs)
    if grouping.runs_per_job > 1:
        for run in runs:
            note_bundle(run, directory)
    elif scheduler.output_by_index:
        for index, run in enumerate(runs, scheduler.first_index):
            for end in ("stdout", "stderr"):
                os.symlink(f"../../{run.name}/log.{end}", f"{directory}/{index}.{end}")
    path = directory / "script.sh"
    _write_script(path, text, logs)
    return path


def _array_directories(run: Path) -> Iterator[Path]:
    yield run / "array"
    for number in itertools.count(2):
        yield run / f"array.{number}"


def _write_script(path: Path, text: str, logs: Path) -> None:
    with whole_stream(path, logs) as file:
        file.write(text.encode(errors="surrogateescape"))
        make_executable(file.fileno())


def _end_unsubmitted(
    job: Job,
    scheduler: Scheduler,
    error: Exception | None,
    begun: Sequence[Job],
    *,
    refused: bool = False,
) -> str:
    """Sees to it that a run that the queue did not get is not SUBMITTED; returns what it is now.

    Args:
        job: the run.
        scheduler: its scheduler.
        error: why it was not submitted; None for a signal.
        begun: the jobs whose files were being written.
        refused: whether it was the file system that refused: of a new run nothing is left.
    """
    if job.earlier:
        if job in begun:
            put_info_back(job.directory)
        return "as before"
    if not refused:
        info = _info(job, scheduler, scheduler.cluster)
        info["scheduler"]["may_come_back"] = False
        if error is None:
            info["status"] = Status.INTERRUPTED.value
        else:
            info["status"] = Status.FAILED.value
            info["exception"] = {"type": type(error).__name__, "message": str(error), "traceback": ""}
        with contextlib.suppress(StorageError):
            write_info(job.directory, info)
            return "failed"
    # What there is of the run, this command has made.
    remove_new_runs([job.directory])
    return "cannot be removed" if job.directory.path.exists() else _REMOVED


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
