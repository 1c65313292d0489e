"""Submits the jobs of a sweep: each becomes a run directory with a script that runs it as one job."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict

from mlxpy_core import Launch, MlxpyError, RunDirectory, plain_config, take_run_directory
from mlxpy_core._scheduling import BUILT_IN_SCHEDULERS, Job, Scheduler, ScriptOptions, submit_jobs

from ._callback import task_config
from ._job_command import face_of, job_command

_BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
_SCRIPT_OPTIONS = ("option_cmd", "shell_path", "shell_config_cmd", "env_cmd", "cleanup_cmd")


def submit_sweep(
    context: HydraContext,
    config: DictConfig,
    options: Mapping[str, Any],
    job_overrides: Sequence[Sequence[str]],
    first_job: int,
) -> list[JobReturn]:
    """Submits jobs and gives what stands for their results; a refusal ends the program in one sentence.

    Args:
        context: Hydra's context of the sweep.
        config: the sweep's config.
        options: the launcher's options.
        job_overrides: the overrides of each job.
        first_job: the number of the first job.
    """
    setup_globals()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    try:
        return _submit(context, config, options, job_overrides, first_job)
    except MlxpyError as error:
        sys.stdout.flush()
        raise SystemExit(f"mlxpy: {error}") from None


def _submit(
    context: HydraContext,
    config: DictConfig,
    options: Mapping[str, Any],
    job_overrides: Sequence[Sequence[str]],
    first_job: int,
) -> list[JobReturn]:
    if config.hydra.sweeper._target_ != _BASIC_SWEEPER:
        raise MlxpyError(
            f"the sweeper {config.hydra.sweeper._target_} needs the jobs' results, "
            "which are not there when this launcher returns: use hydra/sweeper=basic"
        )
    launch = Launch.of_this_process()
    scheduler = find_scheduler(options["scheduler"])
    script_options = ScriptOptions(**{name: options[name] for name in _SCRIPT_OPTIONS})
    face = face_of(config, options, launch)
    jobs, returns = [], []
    for number, overrides in enumerate(job_overrides, first_job):
        job_config = context.config_loader.load_sweep_config(config, list(overrides))
        with open_dict(job_config):
            job_config.hydra.job.id = job_config.hydra.job.num = number
        directory = take_run_directory(face.parent_log_dir)
        task_overrides = list(job_config.hydra.overrides.task)
        jobs.append(
            Job(
                directory,
                config=plain_config(task_config(job_config)),
                settings=face.settings(directory),
                launch=replace(launch, overrides=task_overrides),
                command=job_command(
                    [*face.hydra_overrides, *task_overrides, *face.run_overrides(directory, number)],
                    keep_interpreter=not script_options.env_cmd,
                ),
            )
        )
        returns.append(_stand_in(overrides, job_config, directory))
    submit_jobs(
        scheduler,
        jobs,
        script_options,
        array=options["array"],
        array_parallelism=options["array_parallelism"],
    )
    print(f"Submitted {len(jobs)} job{'s' * (len(jobs) != 1)} to the cluster queue!", flush=True)
    return returns


def find_scheduler(name: str) -> Scheduler:
    """Finds a scheduler by the name of its class.

    Raises:
        MlxpyError: there is none of this name.
    """
    if name not in BUILT_IN_SCHEDULERS:
        raise MlxpyError(f"no scheduler {name!r}: give {' or '.join(sorted(BUILT_IN_SCHEDULERS))}")
    return BUILT_IN_SCHEDULERS[name]()


def _stand_in(overrides: Sequence[str], config: DictConfig, directory: RunDirectory) -> JobReturn:
    # Hydra wants a result of each job; there is none yet.
    stand_in = JobReturn(
        overrides=list(overrides),
        cfg=task_config(config),
        working_dir=str(directory.path),
        task_name=config.hydra.job.name,
        status=JobStatus.COMPLETED,
    )
    stand_in.return_value = None
    return stand_in
