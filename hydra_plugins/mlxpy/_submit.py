"""Submits the jobs of a sweep: each becomes a run directory with a script that runs it as one job."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict

from mlxpy_core import Launch, MlxpyError, RunDirectory, plain_config, take_run_directory
from mlxpy_core._scheduling import BUILT_IN_SCHEDULERS, Job, Scheduler, ScriptOptions, submit_jobs

from ._callback import task_config
from ._job_command import Face, face_of, job_command

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
    with _told_in_one_sentence():
        if config.hydra.sweeper._target_ != _BASIC_SWEEPER:
            raise MlxpyError(
                f"the sweeper {config.hydra.sweeper._target_} needs the jobs' results, "
                "which are not there when this launcher returns: use hydra/sweeper=basic"
            )
        launch = Launch.of_this_process()
        scheduler = find_scheduler(options["scheduler"])
        script_options = ScriptOptions(**{name: options[name] for name in _SCRIPT_OPTIONS})
        face = face_of(config, options, launch)
        jobs, stand_ins = [], []
        for number, overrides in enumerate(job_overrides, first_job):
            job_config = context.config_loader.load_sweep_config(config, list(overrides))
            with open_dict(job_config):
                job_config.hydra.job.id = job_config.hydra.job.num = number
            task = task_config(job_config)
            job = _job(
                face, job_config, task, launch, number, own_interpreter=not script_options.env_cmd
            )
            jobs.append(job)
            stand_ins.append(_stand_in(overrides, job_config, task, job.directory))
        submit_jobs(
            scheduler,
            jobs,
            script_options,
            array=options["array"],
            array_parallelism=options["array_parallelism"],
        )
    print(f"Submitted {len(jobs)} job{'s' * (len(jobs) != 1)} to the cluster queue!", flush=True)
    return stand_ins


@contextmanager
def _told_in_one_sentence() -> Iterator[None]:
    try:
        yield
    except MlxpyError as error:
        sys.stdout.flush()
        raise SystemExit(f"mlxpy: {error}") from None


def _job(
    face: Face,
    config: DictConfig,
    task: DictConfig,
    launch: Launch,
    number: int,
    *,
    own_interpreter: bool,
) -> Job:
    """Makes a job of the sweep with its run directory."""
    directory = take_run_directory(face.parent_log_dir)
    overrides = list(config.hydra.overrides.task)
    words = [*face.hydra_overrides, *overrides, *face.run_overrides(directory, number)]
    return Job(
        directory,
        config=plain_config(task),
        settings=face.settings(directory),
        launch=replace(launch, overrides=overrides),
        command=job_command(words, own_interpreter=own_interpreter),
    )


def find_scheduler(name: str) -> Scheduler:
    """Finds a scheduler by the name of its class.

    Raises:
        MlxpyError: there is none of this name.
    """
    if name not in BUILT_IN_SCHEDULERS:
        raise MlxpyError(f"no scheduler {name!r}: give {' or '.join(sorted(BUILT_IN_SCHEDULERS))}")
    return BUILT_IN_SCHEDULERS[name]()


def _stand_in(
    overrides: Sequence[str], config: DictConfig, task: DictConfig, directory: RunDirectory
) -> JobReturn:
    # Hydra wants a result of each job; there is none yet.
    stand_in = JobReturn(
        overrides=list(overrides),
        cfg=task,
        working_dir=str(directory.path),
        task_name=config.hydra.job.name,
        status=JobStatus.COMPLETED,
    )
    stand_in.return_value = None
    return stand_in
