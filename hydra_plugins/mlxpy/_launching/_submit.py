"""Submits the jobs of a sweep: each becomes a run directory with a script that runs it as one job."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.mlxpy._error_messages import errors_end_the_program
from hydra_plugins.mlxpy._hydra import BASIC_SWEEPER, callback_of
from hydra_plugins.mlxpy._nodes import LocalLauncherNode
from mlxpy_core import (
    Grouping,
    Job,
    LocalScheduler,
    MlxpyError,
    RunDirectory,
    Scheduler,
    completed_runs,
    config_key,
    find_scheduler,
    kept_outcome,
    new_run_directories,
    print_plan,
    run_names,
    say_that_ranks_submit,
    signals_break_off,
    submit_jobs,
    where_runs_are,
)

from ._chain import Chain, chain_of
from ._job_results import count_jobs, wait_for_results
from ._new_options import check_retries
from ._places import make_sweep_directory
from ._recorded_options import check_options
from ._sweep_jobs import Combination, SweepJobs


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
        of_sweep = SweepJobs(context, config, options, waits=waits)
        logs = of_sweep.parent_log_dir
        skips = options["skip_completed"]
        sweep = [
            of_sweep.combination(*job, compares=skips) for job in enumerate(job_overrides, first_job)
        ]
        chain = chain_of(scheduler, options, logs) if first_job == 0 else Chain()
        if skips and first_job == 0:  # of a sweeper's batches, the first
            _say_what_is_not_compared(sweep)
        covered = _covered(sweep, logs, waits) if skips else {}
        left = [combination for combination in sweep if combination.number not in covered]
        if isinstance(scheduler, LocalScheduler):
            for directives in {one.options.directives for one in left}:
                scheduler.check(directives)
        if covered:
            earlier = run_names(sorted({directory.log_id for directory in covered.values()}))
            print(f"Left out {len(covered)} of {len(sweep)} jobs: {earlier} did the same.", flush=True)
        if options["dry_run"]:
            jobs = of_sweep.jobs(left, of_sweep.free_directories())
            print_plan(scheduler, chain.of(jobs), grouping)
            if config.hydra.sweeper._target_ != BASIC_SWEEPER:
                raise SystemExit(0)  # which jobs would come next depends on results
            return list(_results(sweep, left, jobs, covered).values())
        ranks = callback_of(config, "mlxp_logger").get("ranks", "auto")
        say_that_ranks_submit(str(ranks))  # YAML reads off as false
        make_sweep_directory(config.hydra.sweep.dir)
        jobs_left: dict[RunDirectory, str] = {}  # in the queue, and not known to have ended
        with signals_break_off(scheduler, jobs_left):
            with new_run_directories(logs) as new_directories:
                jobs = of_sweep.jobs(left, new_directories(len(left)))
                submit_jobs(scheduler, chain.of(jobs), grouping, jobs_left)
            if jobs and not isinstance(scheduler, LocalScheduler):
                print(f"Submitted {count_jobs(jobs)} to the cluster queue!", flush=True)
                print(f"mlxpy: {where_runs_are([job.directory for job in jobs])}", file=sys.stderr)
            results = _results(sweep, left, jobs, covered)
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


def make_scheduler(options: Mapping[str, Any]) -> Scheduler:
    """Makes the scheduler that a launcher's options name.

    Raises:
        MlxpyError: there is none, or an option of it is wrong.
    """
    interval = options["poll_interval_s"]
    if interval <= 0:
        raise MlxpyError(f"poll_interval_s={interval} is no time: give seconds above 0")
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


def _say_what_is_not_compared(sweep: Sequence[Combination]) -> None:
    fields = sorted(frozenset[str]().union(*(one.of_the_run for one in sweep)))
    if fields:
        names = ", ".join(name.removeprefix("config.") for name in fields)
        print(f"skip_completed does not compare what each run has anew: {names}.", flush=True)


def _covered(sweep: Sequence[Combination], logs: Path, waits: bool) -> dict[int, RunDirectory]:
    """Finds the runs that did the same before; if results are wanted, those that have theirs."""
    complete = {fields: completed_runs(logs, fields) for fields in {one.of_the_run for one in sweep}}
    found = {}
    for combination in sweep:
        fields = combination.of_the_run
        directory = complete[fields].get(config_key(combination.config, fields))
        if directory and not (waits and kept_outcome(directory) is None):
            found[combination.number] = directory
    return found


def _results(
    sweep: Sequence[Combination],
    submitted: Sequence[Combination],
    jobs: Sequence[Job],
    covered: Mapping[int, RunDirectory],
) -> dict[int, JobReturn]:
    """Makes the results of all jobs of a sweep, by their numbers."""
    directories = dict(covered)
    for one, job in zip(submitted, jobs, strict=True):
        directories[one.number] = job.directory
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
