"""The callback ``mlxp_logger``: a numbered directory for every job of any Hydra app."""

import sys
import traceback
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NoReturn

from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from hydra.types import TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from mlxpy_core import (
    Attempt,
    Logger,
    MlxpyError,
    Outcome,
    Run,
    current_run,
    fix_changing_values,
    keep_outcome,
    launch_of_this_process,
    load_class,
    plain_config,
    rank_of_this_process,
    relative_to_launch,
    take_run,
)

from ._composing._sweep_configs import LAUNCHER, compose_once
from ._hydra import config_of_the_task, register_resolver, report_exits, returned_or_raised
from ._outputs import (
    RUN_DIRECTORY_RESOLVER,
    RUN_SUBDIR,
    has_default_output,
    override_everywhere,
    write_run_where_typed,
    write_sweep_where_typed,
)
from ._override_values import typed_overrides
from ._sweep_job import refuse_to_sweep, sweep_job_of_this_process

BUILT_IN_LOGGERS: dict[str, type[Logger]] = {"DefaultLogger": Logger}


class MlxpLogger(Callback):
    """Starts a run before each job and ends it after.

    One instance serves all jobs of a process; launchers pickle it to others. The options are those of
    `_nodes.MlxpLoggerNode`, and `settings`: what mlxpy.yaml of a run holds besides the logger's.
    """

    def __init__(
        self,
        parent_log_dir: str = "./logs",
        forced_log_id: int = -1,
        log_streams_to_file: bool = False,
        use_run_dir: bool = True,
        name: str = "DefaultLogger",
        keep_return_value: bool = False,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        # Made in the process of the command: a job may run elsewhere, from another directory.
        self._launch = launch_of_this_process()
        self._parent_log_dir = relative_to_launch(parent_log_dir, self._launch)
        self._forced_log_id = forced_log_id
        self._log_streams_to_file = log_streams_to_file
        self._use_run_dir = use_run_dir
        self._logger_name = name
        self._keep_return_value = keep_return_value
        self._settings = plain_config(OmegaConf.create(dict(settings or {})))
        self._taken: Attempt | None = None
        self._attach()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._attach()

    def keep_return_value(self) -> None:
        """Has the jobs keep what the task returns, for the launcher that waits for it."""
        self._keep_return_value = True

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Makes the run directory and, unless the user chose one, has Hydra write to it."""
        self._launch = launch_of_this_process()  # mlxp_git may have said more of it since
        # Before Hydra writes anything: a continuation that is refused leaves the run's files alone.
        self._taken = self._take()
        if self._use_run_dir and has_default_output(config.hydra.run):
            with read_write(config.hydra), open_dict(config.hydra):
                config.hydra.run.dir = str(self._taken.directory.path)
        write_run_where_typed(config, self._launch)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Has each job make its run directory: nobody knows yet how many there will be."""
        self._launch = launch_of_this_process()  # as above
        job = sweep_job_of_this_process()
        if job and (job.overrides is None or config.hydra.launcher._target_ != LAUNCHER):
            refuse_to_sweep()
        if self._forced_log_id != -1:
            stop(
                f"forced_log_id={self._forced_log_id} would put all jobs of a sweep into one run: "
                "leave it out, or run a single job without -m"
            )
        in_run_directories = self._use_run_dir and has_default_output(config.hydra.sweep)
        if in_run_directories:
            override_everywhere(config, f"hydra.sweep.subdir='{RUN_SUBDIR}'")
        write_sweep_where_typed(config, self._launch, in_run_directories=in_run_directories)
        compose_once(GlobalHydra.instance().config_loader(), config)

    def on_job_start(self, config: DictConfig, *, task_function: TaskFunction, **kwargs: Any) -> None:
        """Starts the job's run. Nothing but an exit keeps Hydra from running the job unlogged."""
        try:
            self._start_run(config)
        except MlxpyError as error:
            stop(str(error))
        except Exception:
            traceback.print_exc()
            stop("the run could not be started; this is a fault of mlxpy, please report it")

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Ends the job's run by how the task ended."""
        returned = returned_or_raised(job_return)
        error = returned if isinstance(returned, BaseException) and _failed(job_return) else None
        if self._keep_return_value and rank_of_this_process() == 0:
            _keep_outcome(Outcome.of(error) if error else Outcome(returned))
        _end_run(error)

    def _start_run(self, config: DictConfig) -> None:
        attempt, self._taken = self._taken or self._take(), None
        logger_class = find_logger_class(self._logger_name)
        task = config_of_the_task() or task_config(config)
        fix_changing_values(task)
        run = Run.start(
            attempt,
            launch=replace(self._launch, overrides=typed_overrides(config)),
            config=plain_config(task),
            settings=self._run_settings(),
            log_streams_to_file=self._log_streams_to_file,
        )
        try:
            logger_class(run=run)
        except BaseException as error:
            run.end(error)
            raise

    def _run_settings(self) -> dict[str, Any]:
        logger = {
            "name": self._logger_name,
            "parent_log_dir": str(self._parent_log_dir),
            "forced_log_id": self._forced_log_id,
            "log_streams_to_file": self._log_streams_to_file,
        }
        return {"logger": logger, "use_logger": True, **self._settings}

    def _take(self) -> Attempt:
        try:
            return take_run(self._parent_log_dir, self._forced_log_id)
        except MlxpyError as error:
            stop(str(error))

    def _attach(self) -> None:
        """Connects this process with this instance: a job finds its run directory through it."""
        register_resolver(RUN_DIRECTORY_RESOLVER, self._job_directory)
        report_exits(_end_run)

    def _job_directory(self, *, _root_: DictConfig) -> str:
        """Gives the run directory of the job whose config asks; made when it is asked first."""
        hydra = _root_.hydra
        if not OmegaConf.is_missing(hydra.runtime, "output_dir"):
            return str(hydra.runtime.output_dir)
        if OmegaConf.is_missing(hydra.job, "num"):
            return "???"  # the sweep's own config, of no job
        if self._taken is None:
            self._taken = self._take()
        return str(self._taken.directory.path)


def find_logger_class(name: str) -> type[Logger]:
    """Finds a logger's class by the name of a built-in one or by its dotted path.

    Raises:
        MlxpyError: there is none, or it is no `mlxpy.Logger`.
    """
    if name in BUILT_IN_LOGGERS:
        return BUILT_IN_LOGGERS[name]
    hint = f"give {', '.join(BUILT_IN_LOGGERS)}, or the dotted path of a class of yours"
    return load_class(name, Logger, "logger", hint)


def _end_run(error: BaseException | None) -> None:
    run = current_run()
    if run and not run.standalone:
        run.end(error)


def _keep_outcome(outcome: Outcome) -> None:
    run = current_run()
    if run:
        try:
            keep_outcome(run.directory, outcome)
        except Exception as error:  # pickling runs the code of the user's classes
            what = "raised" if outcome.error else "returned"
            print(f"mlxpy: cannot keep what the task {what}: {error}", file=sys.stderr)


def _failed(job_return: JobReturn) -> bool:
    return job_return.status.name == "FAILED"


def task_config(config: DictConfig) -> DictConfig:
    """Gives a job's config without Hydra's own node."""
    # Hydra's own node is most of a config: it is left out, not copied and deleted.
    names: list[Any] = [key for key in config if key != "hydra"]
    task = OmegaConf.masked_copy(config, names)
    OmegaConf.copy_cache(from_config=config, to_config=task)  # ${now:} stays the same moment
    return task


def stop(sentence: str) -> NoReturn:
    """Ends the command in one sentence."""
    # Hydra turns any other exception of a callback into a warning and goes on.
    sys.stdout.flush()
    raise SystemExit(f"mlxpy: {sentence}")
