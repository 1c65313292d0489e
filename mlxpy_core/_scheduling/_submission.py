"""Submits runs: each gets its metadata and its script, then the queue gets them all."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlxpy_core._directories import RunDirectory
from mlxpy_core._errors import MlxpyError
from mlxpy_core._files import write_whole
from mlxpy_core._info import Launch, Status, submitted_info
from mlxpy_core._summary import write_summary
from mlxpy_core._yaml import dump_yaml

from ._scheduler import Scheduler, SubmissionError
from ._script import ScriptOptions, array_script, job_script


@dataclass(frozen=True)
class Job:
    """One run that is to be submitted.

    Attributes:
        directory: the run's directory, which exists.
        config: the task's config as plain data.
        settings: the settings of mlxpy as plain data.
        launch: how the run was started.
        command: the words of the command that the job runs.
    """

    directory: RunDirectory
    config: dict[str, Any]
    settings: dict[str, Any]
    launch: Launch
    command: Sequence[str]


def submit_jobs(
    scheduler: Scheduler,
    jobs: Sequence[Job],
    options: ScriptOptions,
    *,
    array: bool = True,
    array_parallelism: int | None = None,
) -> None:
    """Submits runs to the queue; where it refuses, the runs say FAILED with its words.

    Args:
        scheduler: the queue's scheduler.
        jobs: the runs.
        options: what the user says about scripts.
        array: whether several are submitted as one array.
        array_parallelism: at most so many of an array at once; None for no bound.

    Raises:
        SubmissionError: the scheduler did not take some, or their scripts cannot be written; the message
            says how many it took.
    """
    done = 0
    try:
        _side_by_side(lambda job: _prepare(job, scheduler, options), jobs)
        for chunk in _chunks(jobs, scheduler.max_array_size if array else 1):
            job_ids = _submit(scheduler, chunk, options, array_parallelism)
            done += len(chunk)
            _side_by_side(_note_job_id, chunk, job_ids)
    except MlxpyError as error:
        for job in jobs[done:]:
            _fail(job, scheduler, error)
        submitted = f"{done} of {len(jobs)} jobs were submitted" if done else "nothing was submitted"
        raise SubmissionError(f"{error} ({submitted}; {_range(jobs[done:])} failed)") from error


def _side_by_side(do: Callable[..., None], *items: Sequence[Any]) -> None:
    # Every file waits for the disk, which takes sixteen in hardly more time than one.
    with ThreadPoolExecutor(16) as threads:
        for _ in threads.map(do, *items):
            pass  # raises what was raised there


def _submit(
    scheduler: Scheduler, jobs: Sequence[Job], options: ScriptOptions, parallelism: int | None
) -> list[str]:
    if len(jobs) == 1:
        return [scheduler.submit(jobs[0].directory.path / "script.sh")]
    return scheduler.submit_array(_write_array(scheduler, options, jobs, parallelism), len(jobs))


def _prepare(job: Job, scheduler: Scheduler, options: ScriptOptions) -> None:
    directory = job.directory
    script = job_script(
        scheduler, options, run=directory.path, work_dir=job.launch.work_dir, command=job.command
    )
    write_whole(directory.config, dump_yaml(job.config))
    write_whole(directory.settings, dump_yaml(job.settings))
    _write_script(directory.path / "script.sh", script)
    _write_info(job, submitted_info(directory, job.launch, type(scheduler).__name__))


def _write_array(
    scheduler: Scheduler, options: ScriptOptions, jobs: Sequence[Job], parallelism: int | None
) -> Path:
    runs = [job.directory.path for job in jobs]
    # In the first run's directory: it lives as long as the run does.
    directory = runs[0] / "array"
    directory.mkdir(exist_ok=True)
    if scheduler.output_by_index:
        for index, run in enumerate(runs, scheduler.first_index):
            for end in ("stdout", "stderr"):
                _link(directory / f"{index}.{end}", Path("..", "..", run.name, f"log.{end}"))
    path = directory / "script.sh"
    text = array_script(scheduler, options, runs=runs, parallelism=parallelism, directory=directory)
    _write_script(path, text)
    return path


def _link(link: Path, target: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def _write_script(path: Path, text: str) -> None:
    write_whole(path, text)
    path.chmod(path.stat().st_mode | 0o111)


def _write_info(job: Job, info: dict[str, Any]) -> None:
    write_whole(job.directory.info, dump_yaml(info))
    write_summary(job.directory, job.config, info, ended=False)


def _fail(job: Job, scheduler: Scheduler, error: MlxpyError) -> None:
    info = submitted_info(job.directory, job.launch, type(scheduler).__name__)
    info["status"] = Status.FAILED.value
    info["exception"] = {"type": type(error).__name__, "message": str(error), "traceback": ""}
    with contextlib.suppress(MlxpyError):
        _write_info(job, info)


def _note_job_id(job: Job, job_id: str) -> None:
    # A file of its own: info.yaml is the job's from now on, and the job writes its id there, too.
    with contextlib.suppress(MlxpyError):
        write_whole(job.directory.keys / "job.yaml", dump_yaml({"scheduler_job_id": job_id}))


def _chunks(jobs: Sequence[Job], size: int) -> Iterator[Sequence[Job]]:
    for start in range(0, len(jobs), size):
        yield jobs[start : start + size]


def _range(jobs: Sequence[Job]) -> str:
    names = [job.directory.path.name for job in jobs]
    return f"run {names[0]}" if len(names) == 1 else f"runs {names[0]} to {names[-1]}"
