"""Submits runs: each gets its metadata and its script, then the queue gets them all."""

import contextlib
import itertools
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._files import whole_stream, write_whole
from mlxpy_core._io._links import make_folder
from mlxpy_core._io._yaml import dump_yaml
from mlxpy_core._plugins._scheduler import Scheduler, SubmissionError
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._info import submitted_info
from mlxpy_core._runs._info_file import write_info
from mlxpy_core._runs._status import Status

from ._bundle import leave_bundle, note_bundle
from ._find_scheduler import scheduler_name
from ._job import Job, note_job, note_job_id
from ._script import ScriptOptions, array_script

CANCELLED = "cancelled"


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

    Ctrl-C leaves what was submitted; the other runs are INTERRUPTED. A run that was submitted before
    keeps the status that it had.

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
    try:
        for job in jobs:
            _prepare(job, scheduler)
        for group in grouping.groups(scheduler, jobs):
            taken = _submit(scheduler, group, grouping)
            job_ids.update(taken)
            for job in group:
                note_job_id(job, taken[job.directory])
    except (MlxpyError, OSError, KeyboardInterrupt) as error:
        left = [job for job in jobs if job.directory not in job_ids]
        for job in left:
            _end_unsubmitted(job, scheduler, error)
        done = f"{len(job_ids)} of {len(jobs)} jobs were" if job_ids else "nothing was"
        names = run_names([job.directory.log_id for job in left])
        if isinstance(error, KeyboardInterrupt):
            raise SubmissionError(f"interrupted ({done} submitted; {names} will not run)") from error
        # Those of one command have all been submitted before, or none has.
        became = "as before" if left[0].earlier else "failed"
        raise SubmissionError(f"{error} ({done} submitted; {names} {became})") from error
    return job_ids


def run_names(log_ids: Sequence[int]) -> str:
    """Names runs in short: ``runs 1 to 3, 7``."""
    spans: list[list[int]] = []
    for log_id in sorted(log_ids):
        if spans and log_id == spans[-1][-1] + 1:
            spans[-1] = [spans[-1][0], log_id]
        else:
            spans.append([log_id])
    names = ", ".join(" to ".join(map(str, span)) for span in spans)
    return f"run{'s' * (len(log_ids) > 1)} {names}"


def _submit(scheduler: Scheduler, jobs: Sequence[Job], grouping: Grouping) -> dict[RunDirectory, str]:
    directories = [job.directory for job in jobs]
    if len(jobs) == 1:
        script = _kept_script(scheduler, directories[0].path / "script.sh", jobs[0].run_id)
        return {directories[0]: scheduler.submit(script)}
    script = _kept_script(scheduler, _write_array(scheduler, jobs, grouping), jobs[0].run_id)
    per_job = grouping.runs_per_job
    tasks = -(-len(jobs) // per_job)
    job_ids = scheduler.submit_array(script, tasks) if tasks > 1 else [scheduler.submit(script)]
    return {directory: job_ids[index // per_job] for index, directory in enumerate(directories)}


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


def _prepare(job: Job, scheduler: Scheduler) -> None:
    # The job itself writes the rest. Each file counts: a sweep of a thousand jobs has thousands.
    directory = job.directory
    if not job.earlier:
        write_whole(directory.config, dump_yaml(job.config), directory.logs)
    make_folder(directory.state, directory.logs)
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
    _write_script(path, job.script(scheduler), job.directory.logs)
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
    logs = jobs[0].directory.logs
    make_folder(directory, logs)
    if grouping.runs_per_job > 1:
        for run in runs:
            note_bundle(run, directory)
    elif scheduler.output_by_index:
        for index, run in enumerate(runs, scheduler.first_index):
            for end in ("stdout", "stderr"):
                _link(directory / f"{index}.{end}", Path("..", "..", run.name, f"log.{end}"))
    path = directory / "script.sh"
    _write_script(path, text, logs)
    return path


def _array_directories(run: Path) -> Iterator[Path]:
    yield run / "array"
    for number in itertools.count(2):
        yield run / f"array.{number}"


def _link(link: Path, target: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def _write_script(path: Path, text: str, logs: Path) -> None:
    with whole_stream(path, logs) as file:
        file.write(text.encode(errors="surrogateescape"))
        mode = os.fstat(file.fileno()).st_mode
        os.fchmod(file.fileno(), mode | (mode & 0o444) >> 2)  # who may read it may run it


def _end_unsubmitted(job: Job, scheduler: Scheduler, error: BaseException) -> None:
    info = dict(job.earlier) or _info(job, scheduler)
    info["scheduler"]["may_come_back"] = False
    if job.earlier:
        pass
    elif isinstance(error, KeyboardInterrupt):
        info["status"] = Status.INTERRUPTED.value
    else:
        info["status"] = Status.FAILED.value
        info["exception"] = {"type": type(error).__name__, "message": str(error), "traceback": ""}
    with contextlib.suppress(MlxpyError):
        write_info(job.directory, info)


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
