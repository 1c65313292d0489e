"""Submits runs: each gets its metadata and its script, then the queue gets them all."""

import contextlib
import itertools
import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlxpy_core._errors import MlxpyError, StorageError
from mlxpy_core._io._files import write_whole
from mlxpy_core._io._yaml import dump_yaml
from mlxpy_core._plugins._scheduler import Scheduler, SubmissionError
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._info import submitted_info
from mlxpy_core._runs._info_file import drop_kept_info, keep_info, put_info_back, write_info
from mlxpy_core._runs._status import Status

from ._bundle import leave_bundle, note_bundle
from ._find_scheduler import scheduler_name
from ._job import Job, note_job, note_job_id
from ._script import ScriptOptions, array_script

CANCELLED = "cancelled"
_REMOVED = "removed again"


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
        size = self.runs_per_job * (scheduler.max_array_size if self.array else 1)
        return [group[i : i + size] for group in alike.values() for i in range(0, len(group), size)]


def submit_jobs(
    scheduler: Scheduler, jobs: Sequence[Job], grouping: Grouping | None = None
) -> dict[RunDirectory, str]:
    """Submits runs to the queue; where it refuses, the runs are FAILED with its message.

    Where the file system refuses before the queue was asked, new runs are removed again. Ctrl-C leaves
    what was submitted; the other runs are INTERRUPTED. A run that was submitted before keeps its status.

    Args:
        scheduler: the queue's scheduler.
        jobs: the runs.
        grouping: how they are put together.

    Returns:
        The id of each run's job.

    Raises:
        SubmissionError: the scheduler did not take some, their scripts cannot be written, or Ctrl-C; the
            message has the number of those that it took.
    """
    grouping = grouping or Grouping()
    job_ids: dict[RunDirectory, str] = {}
    begun: list[Job] = []
    scripts: list[Path] = []
    try:
        # All that takes space comes before the queue has any of them.
        for job in jobs:
            begun.append(job)
            _prepare(job, scheduler)
        groups = grouping.groups(scheduler, jobs)
        scripts += [_group_script(scheduler, group, grouping) for group in groups]
        for group, script in zip(groups, scripts, strict=True):
            job_ids.update(_submit(scheduler, script, group, grouping))
            _note_job_ids(group, job_ids)
    except (MlxpyError, OSError, KeyboardInterrupt) as error:
        left = [job for job in jobs if job.directory not in job_ids]
        # Until the last script is written the queue has not been asked.
        refused = isinstance(error, OSError) and not scripts
        became = {
            _put_back(job, begun)
            if job.earlier
            else _end_unsubmitted(job, scheduler, error, refused=refused)
            for job in left
        }
        raise SubmissionError(_broken_off(error, list(job_ids), left, became)) from error
    finally:
        for job in begun:
            drop_kept_info(job.directory)
    return job_ids


def _note_job_ids(jobs: Sequence[Job], job_ids: Mapping[RunDirectory, str]) -> None:
    """Notes which jobs runs are; what cannot be written is printed."""
    unnoted, reason = {}, ""
    for job in jobs:
        try:
            note_job_id(job, job_ids[job.directory])
        except StorageError as error:  # noqa: PERF203  # each run may fail for itself
            unnoted[job.directory.log_id], reason = job_ids[job.directory], str(error)
    if unnoted:
        print(
            f"mlxpy: {run_names(list(unnoted))} {'are' if len(unnoted) > 1 else 'is'} submitted, but it "
            f"cannot be noted as which job: {' '.join(dict.fromkeys(unnoted.values()))} ({reason})",
            file=sys.stderr,
        )


def _broken_off(
    error: BaseException, taken: Sequence[RunDirectory], left: Sequence[Job], became: Set[str]
) -> str:
    """Says why runs were not submitted, which, what they are now, and what to type to submit them."""
    log_ids = [job.directory.log_id for job in left]
    names = run_names(log_ids)
    done = "nothing was"
    if taken:
        done = f"{run_names([run.log_id for run in taken])} {'were' if len(taken) > 1 else 'was'}"
    if isinstance(error, KeyboardInterrupt):
        return f"interrupted ({done} submitted; {names} will not run)"
    if isinstance(error, OSError) and not isinstance(error, StorageError):
        error = StorageError(f"cannot write {error.filename or 'the scripts'}", error)
    # Those of one command have all been submitted before, or none has.
    what = f"{error} ({done} submitted; {names} {' or '.join(sorted(became))}"
    if taken and _REMOVED not in became:
        what += f": to submit the rest, {run_command('resubmit', [job.directory for job in left])}"
    return f"{what})"


def run_names(log_ids: Sequence[int]) -> str:
    """Names runs in short: ``runs 1 to 3, 7``."""
    names = ", ".join(" to ".join(map(str, span)) for span in _spans(log_ids))
    return f"run{'s' * (len(log_ids) > 1)} {names}"


def run_command(name: str, runs: Sequence[RunDirectory]) -> str:
    """Returns a command ``mlxpy`` that does something to runs, as it can be typed here."""
    spans = " ".join("-".join(map(str, span)) for span in _spans([run.log_id for run in runs]))
    parent = runs[0].path.parent
    logs = "" if parent == Path.cwd() / "logs" else f" --logs {shlex.quote(str(parent))}"
    return f"mlxpy {name} {spans}{logs}"


def _spans(log_ids: Sequence[int]) -> list[list[int]]:
    spans: list[list[int]] = []
    for log_id in sorted(log_ids):
        if spans and log_id == spans[-1][-1] + 1:
            spans[-1] = [spans[-1][0], log_id]
        else:
            spans.append([log_id])
    return spans


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
        shutil.copy2(script, path)
    return path


def _prepare(job: Job, scheduler: Scheduler) -> None:
    # The job itself writes the rest. Each file counts: a sweep of a thousand jobs has thousands.
    directory = job.directory
    directory.state.mkdir(exist_ok=True)
    if job.earlier:
        keep_info(directory)
    else:
        write_whole(directory.config, dump_yaml(job.config))
    (directory.state / CANCELLED).unlink(missing_ok=True)
    leave_bundle(directory.path)
    note_job(job)
    write_script(job, scheduler)
    write_info(directory, _info(job, scheduler))


def write_script(job: Job, scheduler: Scheduler) -> Path:
    """Writes the script of a job into its run's directory.

    Raises:
        StorageError: it cannot be written.
    """
    path = job.directory.path / "script.sh"
    _write_script(path, job.script(scheduler))
    return path


def _info(job: Job, scheduler: Scheduler) -> dict[str, Any]:
    return submitted_info(
        job.directory, job.run_id, job.launch, scheduler_name(scheduler), scheduler.cluster, job.earlier
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
    directory.mkdir(exist_ok=True)
    if grouping.runs_per_job > 1:
        for run in runs:
            note_bundle(run, directory)
    elif scheduler.output_by_index:
        for index, run in enumerate(runs, scheduler.first_index):
            for end in ("stdout", "stderr"):
                _link(directory / f"{index}.{end}", Path("..", "..", run.name, f"log.{end}"))
    path = directory / "script.sh"
    _write_script(path, text)
    return path


def _array_directories(run: Path) -> Iterator[Path]:
    yield run / "array"
    for number in itertools.count(2):
        yield run / f"array.{number}"


def _link(link: Path, target: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def _write_script(path: Path, text: str) -> None:
    write_whole(path, text)
    mode = path.stat().st_mode
    path.chmod(mode | (mode & 0o444) >> 2)  # who may read it may run it


def _put_back(job: Job, begun: Sequence[Job]) -> str:
    """Gives a run that was submitted before the status that it had; returns what it is now."""
    if job in begun:
        put_info_back(job.directory)
    return "as before"


def _end_unsubmitted(job: Job, scheduler: Scheduler, error: BaseException, *, refused: bool) -> str:
    """Sees to it that a new run that the queue did not get is not SUBMITTED; returns what it is now.

    Args:
        job: the run.
        scheduler: its scheduler.
        error: why it was not submitted.
        refused: whether it was the file system that refused: of such a run nothing is left.
    """
    if not refused:
        info = _info(job, scheduler)
        info["scheduler"]["may_come_back"] = False
        if isinstance(error, KeyboardInterrupt):
            info["status"] = Status.INTERRUPTED.value
        else:
            info["status"] = Status.FAILED.value
            info["exception"] = {"type": type(error).__name__, "message": str(error), "traceback": ""}
        with contextlib.suppress(StorageError):
            write_info(job.directory, info)
            return "failed"
    # What there is of the run, this command has made.
    shutil.rmtree(job.directory.path, ignore_errors=True)
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
