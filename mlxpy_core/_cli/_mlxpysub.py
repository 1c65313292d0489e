"""The command ``mlxpysub``: submits each line of a script that starts a Python program as a run."""

import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import click

from mlxpy_core._errors import MlxpyError, StorageError
from mlxpy_core._io._interrupts import end_by_signals
from mlxpy_core._operations._breaking_off import signals_break_off
from mlxpy_core._plugins._scheduler import Scheduler
from mlxpy_core._runs._directory import RunDirectory, new_run_directories, next_run_directory
from mlxpy_core._runs._launch import Launch
from mlxpy_core._runs._run_names import where_runs_are
from mlxpy_core._scheduling._find_scheduler import find_scheduler, known_schedulers
from mlxpy_core._scheduling._grouping import Grouping
from mlxpy_core._scheduling._job import Job
from mlxpy_core._scheduling._local import LocalScheduler
from mlxpy_core._scheduling._script import ScriptOptions, ShellLine
from mlxpy_core._scheduling._submission import print_plan, submit_jobs
from mlxpy_core._tracking._placement import RUN_DIRECTORY_VARIABLE
from mlxpy_core._versioning._launches import launch_of_this_process

from ._arguments import logs_option
from ._ending import errors_end_the_command
from ._job_file import JobFile, parse_job_file, sets_environment
from ._job_lines import single_jobs, with_interpreter


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("script", type=click.Path(path_type=Path))
@logs_option
@click.option("--scheduler", metavar="NAME", help="The scheduler, if not that of the directives.")
@click.option("--dry-run", is_flag=True, help="Print the first script, and make nothing.")
@click.version_option(package_name="mlxpy")
def main(script: Path, logs: Path, scheduler: str | None, dry_run: bool) -> None:
    """Submits the lines of SCRIPT that start a Python program, each as a job and a run.

    A line with lists of values (lr=0.1,0.2 seed=1,2) is a job for each combination. The scheduler's
    directives at its head (#OAR, #SBATCH, #$, #PBS, #BSUB, #MSUB) are those of each job; what stands
    before the first job (module load, source, export, cd) is run before each, other commands after it
    after each.
    """
    end_by_signals()
    with errors_end_the_command():
        _submit(script, logs, scheduler, dry_run=dry_run)


def _submit(script: Path, logs: Path, name: str | None, *, dry_run: bool) -> None:
    chosen = find_scheduler(name) if name else None
    by_directive = _schedulers_by_directive()
    own = {chosen.directive} if chosen and _has_directives(chosen) else set()
    try:
        file = parse_job_file(_read(script), sorted({*by_directive, *own}))
        scheduler = _scheduler_of(file, chosen, by_directive)
        lines = [single for line in file.jobs for single in single_jobs(line)]
    except MlxpyError as error:
        raise MlxpyError(f"{str(script)!r} cannot be submitted: {error}") from error
    options = _options(file, scheduler)
    launch = replace(launch_of_this_process(), current_file_path=None)
    if dry_run:
        print_plan(scheduler, _jobs(file, lines, options, launch, _free_directories(logs)), Grouping())
        return
    jobs_left: dict[RunDirectory, str] = {}
    with signals_break_off(scheduler, jobs_left):
        with new_run_directories(logs) as new_directories:
            jobs = _jobs(file, lines, options, launch, iter(new_directories(len(lines))))
            submit_jobs(scheduler, jobs, job_ids=jobs_left)
        count = f"{len(jobs)} job{'s' * (len(jobs) != 1)}"
        if isinstance(scheduler, LocalScheduler):
            scheduler.finish()
            click.echo(f"Ran {count} on this machine.")
        else:
            click.echo(f"Submitted {count} to the cluster queue!")
            click.echo(f"mlxpy: {where_runs_are([job.directory for job in jobs])}", err=True)


def _jobs(
    file: JobFile,
    lines: Sequence[str],
    options: ScriptOptions,
    launch: Launch,
    directories: Iterator[RunDirectory],
) -> list[Job]:
    # What the script sets up chooses the Python of its jobs; otherwise it is that of this command.
    keeps_python = sets_environment(file.setup)
    return [
        Job(
            directory,
            config={},
            launch=replace(launch, cmd=line),
            command=ShellLine(line if keeps_python else with_interpreter(line, sys.executable)),
            options=options,
            environment={RUN_DIRECTORY_VARIABLE: str(directory.path)},
        )
        for line, directory in zip(lines, directories, strict=False)
    ]


def _read(script: Path) -> str:
    try:
        return script.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise StorageError("it cannot be read", error) from error
    except UnicodeDecodeError as error:
        raise MlxpyError("it is no text in UTF-8: save it as such") from error


def _has_directives(scheduler: Scheduler | type[Scheduler]) -> bool:
    return scheduler.directive != Scheduler.directive


def _schedulers_by_directive() -> dict[str, type[Scheduler]]:
    # A built-in one comes last: a plugin that reads the same directives is asked for by --scheduler.
    return {found.directive: found for found in known_schedulers().values() if _has_directives(found)}


def _scheduler_of(
    file: JobFile, chosen: Scheduler | None, by_directive: dict[str, type[Scheduler]]
) -> Scheduler:
    """Returns the scheduler whose directives the script has, or the chosen one if it can read them."""
    there = sorted(file.directives)
    if len(there) > 1:
        raise MlxpyError(
            f"it has directives of several schedulers, {' and '.join(there)}: keep those of one"
        )
    if chosen:
        if there and _has_directives(chosen) and there != [chosen.directive]:
            raise MlxpyError(
                f"{type(chosen).__name__} does not read its directives, {there[0]}: "
                "leave --scheduler out"
            )
        return chosen
    if not there:
        known = ", ".join(sorted(by_directive))
        raise MlxpyError(f"it has no directives of a scheduler ({known}): give --scheduler NAME")
    return find_scheduler(by_directive[there[0]].__name__)


def _options(file: JobFile, scheduler: Scheduler) -> ScriptOptions:
    # On this machine directives mean nothing.
    return ScriptOptions(
        option_cmd=tuple(file.directives.get(scheduler.directive, ())),
        shell_path=file.shell,
        setup=tuple(file.setup),
        cleanup_cmd="\n".join(file.cleanup),
    )


def _free_directories(logs: Path) -> Iterator[RunDirectory]:
    for log_id in itertools.count(next_run_directory(logs).log_id):
        yield RunDirectory(logs / str(log_id))
