"""Submits the jobs of a sweep: each becomes a run directory with a script that runs it as one job."""

import contextlib
import itertools
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from hydra_plugins.mlxpy._callback import MlxpLogger, checked_tags
from hydra_plugins.mlxpy._hydra import (
    BASIC_SWEEPER,
    as_current_config,
    basic_launcher,
    callback_of,
    callbacks_of,
    child_of,
    set_value,
)
from hydra_plugins.mlxpy._nodes import LocalLauncherNode, MlxpLauncherNode
from hydra_plugins.mlxpy._outputs import (
    has_default_output,
    new_sweep_directory,
    passing_sweep_directory,
    set_sweep_directory,
    write_sweep_among_runs,
)
from hydra_plugins.mlxpy._override_values import overrides_for_hydra, typed_overrides
from hydra_plugins.mlxpy._sweep_job import (
    SweepJob,
    main_program,
    refuse_to_sweep,
    sweep_job_of_this_process,
)
from hydra_plugins.mlxpy._typed_arguments import are_typed
from mlxpy_core import (
    RERUN_VARIABLE,
    RUN_DIRECTORY_VARIABLE,
    Grouping,
    Job,
    LocalScheduler,
    MlxpyError,
    RunDirectory,
    Scheduler,
    ScriptOptions,
    StorageError,
    completed_runs,
    config_key,
    different_fields,
    end_by_signals,
    exit_code_of,
    find_scheduler,
    job_environment,
    kept_outcome,
    launch_of_this_process,
    new_run_directories,
    next_run_directory,
    plain_config,
    plain_config_at_another_time,
    print_plan,
    run_names,
    say_that_ranks_submit,
    signals_break_off,
    submit_jobs,
    where_runs_are,
)

from ._chain import Chain, chain_of
from ._config_directories import frozen_config_options
from ._job_command import JobCommands, job_commands, log_directory, program_arguments, uses_run_dir
from ._job_results import count_jobs, wait_for_results
from ._new_options import check_retries
from ._recorded_options import check_option
from ._script_options import JobOptions


@dataclass(frozen=True)
class Combination:
    """One job of the sweep, before it has a run directory."""

    number: int
    overrides: list[str]  # as they were typed
    overrides_for_hydra: list[str]
    task_name: str
    config: dict[str, Any]
    of_the_run: frozenset[str]  # fields of the config that another run of the same would have otherwise
    options: ScriptOptions
    launcher: Mapping[str, Any]  # its options, as the job's note keeps them
    output: Path | None
    tags: list[str]


def submit_sweep(
    context: HydraContext,
    config: DictConfig,
    options: Mapping[str, Any],
    job_overrides: Sequence[Sequence[str]],
    first_job: int,
) -> list[JobReturn]:
    """Submits jobs and returns their results; an error ends the program with its message.

    Args:
        context: Hydra's context of the sweep.
        config: the sweep's config.
        options: the launcher's options.
        job_overrides: the overrides of each job.
        first_job: the number of the first job.

    Returns:
        A result for each job: what it returned or raised if the launcher waits, or else None.
    """
    setup_globals()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    with errors_end_the_program():
        check_options(config.hydra)
        check_retries(OmegaConf.get_type(config.hydra.launcher), options)
        scheduler = make_scheduler(options)
        waits = options["wait"] or isinstance(scheduler, LocalScheduler)
        _check_sweeper(config, options, waits)
        grouping = Grouping(
            options["array"], options["array_parallelism"], runs_per_job=options["runs_per_job"]
        )
        by_launch = options["settings_overrides"] is not None
        typed = are_typed(config, by_launch=by_launch)
        check_arguments(config, typed)
        commands = job_commands(
            context.config_loader, config, options, launch_of_this_process(), waits=waits
        )
        script = JobOptions()
        sweep = [
            combination_of(context, config, commands, script, *job, compares=options["skip_completed"])
            for job in enumerate(job_overrides, first_job)
        ]
        chain = chain_of(scheduler, options, commands.parent_log_dir) if first_job == 0 else Chain()
        if options["skip_completed"] and first_job == 0:  # of a sweeper's batches, the first
            _say_what_is_not_compared(sweep)
        covered = _covered(sweep, commands, waits) if options["skip_completed"] else {}
        left = [combination for combination in sweep if combination.number not in covered]
        if isinstance(scheduler, LocalScheduler):
            for directives in {one.options.directives for one in left}:
                scheduler.check(directives)
        if covered:
            earlier = run_names(sorted({directory.log_id for directory in covered.values()}))
            print(f"Left out {len(covered)} of {len(sweep)} jobs: {earlier} did the same.", flush=True)
        if options["dry_run"]:
            jobs = _make_jobs(left, commands, config, options, free_directories(commands), typed=typed)
            print_plan(scheduler, chain.of(jobs), grouping)
            if config.hydra.sweeper._target_ != BASIC_SWEEPER:
                raise SystemExit(0)  # which jobs would come next depends on results
            return list(_results(sweep, covered, left, jobs).values())
        ranks = callback_of(config, "mlxp_logger").get("ranks", "auto")
        say_that_ranks_submit(str(ranks))  # YAML reads off as false
        make_sweep_directory(config.hydra.sweep.dir)
        jobs_left: dict[RunDirectory, str] = {}  # in the queue, and not known to have ended
        with signals_break_off(scheduler, jobs_left):
            with new_run_directories(commands.parent_log_dir) as new_directories:
                new = iter(new_directories(len(left)))
                jobs = _make_jobs(left, commands, config, options, new, typed=typed)
                submit_jobs(scheduler, chain.of(jobs), grouping, jobs_left)
            if jobs and not isinstance(scheduler, LocalScheduler):
                print(f"Submitted {count_jobs(jobs)} to the cluster queue!", flush=True)
                print(f"mlxpy: {where_runs_are([job.directory for job in jobs])}", file=sys.stderr)
            results = _results(sweep, covered, left, jobs)
            if waits and jobs:
                running = {
                    job.directory: results[one.number] for one, job in zip(left, jobs, strict=True)
                }
                chain.wait_here(scheduler, list(running), options["poll_interval_s"])
                wait_for_results(scheduler, jobs_left, running, options["poll_interval_s"])
                if isinstance(scheduler, LocalScheduler):
                    names = run_names([directory.log_id for directory in running])
                    print(f"Ran {count_jobs(running)} on this machine: {names}.")
    return list(results.values())


def place_sweep(config: DictConfig, options: Mapping[str, Any]) -> None:
    """Places what the sweeper writes, where no callback has done so.

    Args:
        config: the sweep's config.
        options: the launcher's options.
    """
    with errors_end_the_program():
        if any(option.name not in {"_target_", *options} for option in fields(MlxpLauncherNode)):
            raise MlxpyError(
                "hydra.launcher lacks options of mlxpy's launchers: in its file, write "
                "'defaults: [mlxp_slurm]' in place of _target_"
            )
        # A rerun of a sweep's job leaves alone what the sweep wrote.
        if options["dry_run"] or RERUN_VARIABLE in os.environ:
            set_sweep_directory(config, passing_sweep_directory())
        elif not (has_default_output(config.hydra.sweep) and uses_run_dir(config)):
            return
        elif sweep_job_of_this_process():  # which Hydra runs as a sweep of one job
            write_sweep_among_runs(config, passing_sweep_directory())
        else:
            parent = log_directory(config, options, launch_of_this_process())
            set_sweep_directory(config, new_sweep_directory(parent))


def make_sweep_directory(path: str) -> None:
    """Makes the directory that sweepers write to."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make the sweep's directory {path}", error) from error


@contextmanager
def errors_end_the_program() -> Iterator[None]:
    try:
        end_by_signals()
        yield
    except KeyboardInterrupt as interrupt:
        _end("interrupted: nothing was submitted", exit_code_of(interrupt))
    except MlxpyError as error:
        _end(str(error), error.exit_code)


def _end(message: str, exit_code: int) -> NoReturn:
    with contextlib.suppress(OSError):  # the terminal may be gone
        sys.stdout.flush()
        print(f"mlxpy: {message}", file=sys.stderr)
    raise SystemExit(exit_code) from None


def check_options(hydra: DictConfig) -> None:
    """Rejects options that the command added: Hydra advises so where one is misspelt."""
    node = OmegaConf.get_type(hydra.launcher)
    if not is_dataclass(node):
        return  # a node of the user's own
    for name in hydra.launcher:
        check_option(name, node, hydra.runtime.choices["hydra/launcher"])


def make_scheduler(options: Mapping[str, Any]) -> Scheduler:
    if options["poll_interval_s"] <= 0:
        raise MlxpyError(
            f"poll_interval_s={options['poll_interval_s']} is no time: give seconds above 0"
        )
    if options["scheduler"] == "LocalScheduler":
        # Another launcher's node does not have the option.
        return LocalScheduler(options.get("n_jobs", LocalLauncherNode.n_jobs))
    return find_scheduler(options["scheduler"])


def _check_sweeper(config: DictConfig, options: Mapping[str, Any], waits: bool) -> None:
    if not (waits or options["dry_run"]) and config.hydra.sweeper._target_ != BASIC_SWEEPER:
        raise MlxpyError(
            f"the sweeper {config.hydra.sweeper._target_} needs the jobs' results, which are not there "
            "when this launcher returns: add hydra.launcher.wait=true, or use hydra/sweeper=basic"
        )


def combination_of(
    context: HydraContext,
    config: DictConfig,
    commands: JobCommands,
    script: JobOptions,
    number: int,
    overrides: Sequence[str],
    *,
    compares: bool,
) -> Combination:
    job_config = context.config_loader.load_sweep_config(config, list(overrides))
    job = child_of(child_of(job_config, "hydra"), "job")
    for name in ("num", "id"):
        set_value(child_of(job, name), number)
    with as_current_config(job_config):
        script_options, launcher = script.of(job_config)
        combination = Combination(
            number,
            overrides=typed_overrides(job_config),
            overrides_for_hydra=overrides_for_hydra(job_config),
            task_name=job.name,
            config=plain_config(job_config, leave_out="hydra"),
            of_the_run=frozenset(),
            options=script_options,
            launcher=launcher,
            output=commands.output(job_config),
            tags=_tags(job_config),
        )
        if compares:
            _make_another_run(job_config.hydra)
            other = plain_config_at_another_time(job_config, leave_out="hydra")
            combination = replace(combination, of_the_run=different_fields(combination.config, other))
    return combination


def _tags(config: DictConfig) -> list[str]:
    callback = callback_of(config, "mlxp_logger")
    return checked_tags(list(callback.get("tags") or ()))


def _make_another_run(hydra: DictConfig) -> None:
    """Changes what Hydra says of a job to what no run has."""
    with read_write(hydra), open_dict(hydra):
        hydra.job.num, hydra.job.id = -1, "another"
        hydra.run.dir = hydra.sweep.dir = hydra.sweep.subdir = hydra.runtime.output_dir = "/another"
        hydra.mode = None
        if callback := (hydra.callbacks or {}).get("mlxp_logger"):
            callback.forced_log_id, callback.parent_log_dir = -2, "/another"


def _say_what_is_not_compared(sweep: Sequence[Combination]) -> None:
    fields = sorted(frozenset[str]().union(*(one.of_the_run for one in sweep)))
    if fields:
        names = ", ".join(name.removeprefix("config.") for name in fields)
        print(f"skip_completed does not compare what each run has anew: {names}.", flush=True)


def _covered(
    sweep: Sequence[Combination], commands: JobCommands, waits: bool
) -> dict[int, RunDirectory]:
    """Finds the runs that did the same before; if results are wanted, those that have theirs."""
    parent = commands.parent_log_dir
    complete = {fields: completed_runs(parent, fields) for fields in {one.of_the_run for one in sweep}}
    found = {}
    for combination in sweep:
        fields = combination.of_the_run
        directory = complete[fields].get(config_key(combination.config, fields))
        if directory and not (waits and kept_outcome(directory) is None):
            found[combination.number] = directory
    return found


def free_directories(commands: JobCommands) -> Iterator[RunDirectory]:
    """Yields the directories that new runs would have."""
    for log_id in itertools.count(next_run_directory(commands.parent_log_dir).log_id):
        yield RunDirectory(commands.parent_log_dir / str(log_id))


@dataclass(frozen=True)
class JobWords:
    """The words of the command of all jobs of a sweep, before the overrides of each.

    Attributes:
        words: the command as it was typed, without the overrides.
        program: what `main_program` returns.
        typed: whether the arguments were typed in the command.
    """

    words: Sequence[str]
    program: tuple[str, str]
    typed: bool

    @classmethod
    def of(
        cls,
        config: DictConfig,
        options: Mapping[str, Any],
        commands: JobCommands,
        *,
        typed: bool,
    ) -> "JobWords":
        """Returns those of a sweep, whose config files are copied if they are to be frozen."""
        config_options: list[str] = []
        if options["freeze_config"] and typed:
            config_options = frozen_config_options(
                config, commands.parent_log_dir, copy=not options["dry_run"]
            )
        by_launch = options["settings_overrides"] is not None
        words = program_arguments(config_options, by_launch=by_launch) if typed else sys.orig_argv
        return cls(words, main_program(), typed)


def _make_jobs(
    sweep: Sequence[Combination],
    commands: JobCommands,
    config: DictConfig,
    options: Mapping[str, Any],
    directories: Iterator[RunDirectory],
    *,
    typed: bool,
) -> list[Job]:
    if not sweep:
        return []
    words = JobWords.of(config, options, commands, typed=typed)
    return [job_of(combination, commands, words, next(directories)) for combination in sweep]


def job_of(
    combination: Combination, commands: JobCommands, words: JobWords, directory: RunDirectory
) -> Job:
    """Makes the job of a combination that becomes the run in a directory."""
    # Without commands that set up an environment, this very interpreter: a job may find another.
    interpreter = words.words[0] if combination.options.env_cmd else sys.executable
    if combination.options.container:  # an image has its own
        interpreter = Path(words.words[0]).name
    command = [interpreter, *words.words[1:]]
    job = SweepJob(
        combination.number,
        None if words.typed else combination.overrides_for_hydra,
        commands.keeps_return_value,
    )
    environment = {**job_environment(), **job.environment(words.program)}
    if words.typed:
        own = commands.run_overrides(directory, combination.number, combination.output)
        command += [*commands.hydra_overrides, *combination.overrides, *own]
    else:
        environment[RUN_DIRECTORY_VARIABLE] = str(directory.path)
    return Job(
        directory,
        config=combination.config,
        launch=replace(commands.launch, overrides=combination.overrides, tags=combination.tags),
        command=command,
        options=combination.options,
        environment=environment,
        launcher=combination.launcher,
    )


def check_arguments(config: DictConfig, typed: bool) -> None:
    """Refuses what the jobs of a program whose arguments are set in its code could not find again."""
    global _sweeps
    _sweeps += 1
    if typed:
        return
    if _sweeps > 1:
        raise MlxpyError(
            "the program's code sets the arguments of several sweeps, which a job could not tell apart: "
            "start one program for each sweep, or type the arguments in the command"
        )
    if config.hydra.sweeper._target_ != BASIC_SWEEPER:
        raise MlxpyError(
            f"the program's code sets the arguments of a sweep by {config.hydra.sweeper._target_}, "
            "whose jobs could not find themselves again: type the arguments in the command"
        )


_sweeps = 0  # of this process


def run_own_job(
    context: HydraContext,
    config: DictConfig,
    options: Mapping[str, Any],
    task_function: TaskFunction,
    job: SweepJob,
    overrides: list[str],
) -> list[JobReturn]:
    """Runs the one job of a sweep that this process is, where the program sweeps in each of its jobs."""
    global _sweeps
    _sweeps += 1
    if _sweeps > 1:
        refuse_to_sweep()
    callbacks = callbacks_of(context)
    ours = [callback for callback in callbacks if isinstance(callback, MlxpLogger)]
    if not ours:
        ours = [MlxpLogger(parent_log_dir=options["parent_log_dir"])]
        callbacks += ours
        ours[0].on_multirun_start(config)
    if job.keeps_return_value:
        ours[0].keep_return_value()
    launcher = basic_launcher(context, task_function, config)
    return list(launcher.launch([overrides], initial_job_idx=job.number))


def _results(
    sweep: Sequence[Combination],
    covered: Mapping[int, RunDirectory],
    submitted: Sequence[Combination],
    jobs: Sequence[Job],
) -> dict[int, JobReturn]:
    """Makes the results of all jobs of a sweep, by their numbers."""
    made = {one.number: job.directory for one, job in zip(submitted, jobs, strict=True)}
    directories = {**covered, **made}
    return {one.number: _result(one, directories[one.number]) for one in sweep}


def _result(combination: Combination, directory: RunDirectory) -> JobReturn:
    """Makes the result of a job as it stands before the job has run, or of a run that did the same."""
    result = JobReturn(
        overrides=list(combination.overrides_for_hydra),
        working_dir=str(directory.path),
        task_name=combination.task_name,
        status=JobStatus.COMPLETED,  # with any other status Hydra raises the value
    )
    earlier = kept_outcome(directory)
    result.return_value = earlier.value if earlier else None
    return result
