"""The callback ``mlxp_logger``: a numbered directory for every job of any Hydra app."""

import atexit
import logging
import os
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import TaskFunction
from omegaconf import DictConfig, OmegaConf

from mlxpy_core import (
    RERUN_VARIABLE,
    Attempt,
    Interrupted,
    Interruption,
    Logger,
    MlxpyError,
    Outcome,
    Run,
    check_tags,
    current_run,
    end_by_signals,
    end_by_signals_no_more,
    fix_changing_values,
    keep_outcome,
    launch_of_this_process,
    load_class,
    logs_argument,
    plain_config,
    ranks_set,
    relative_to_launch,
    set_ranks_back,
    signals_held,
    take_run,
    tell_children,
    was_joined_by_children,
    was_started_again,
)

from ._composing._sweep_configs import compose_once
from ._error_messages import errors_stop, refusal_of_file_system, stop
from ._hydra import (
    BASIC_LAUNCHER,
    config_of_the_task,
    register_resolver,
    replace_tracebacks,
    report_exits,
    returned_or_raised,
)
from ._log_file import report_refusals
from ._nodes import MlxpLauncherNode, MlxpLoggerNode
from ._outputs import (
    RUN_DIRECTORY_RESOLVER,
    has_default_output,
    leave_what_is_there,
    new_sweep_directory,
    passing_sweep_directory,
    run_dir_as_written,
    write_run_where_typed,
    write_sweep_among_runs,
    write_sweep_where_typed,
    write_to,
)
from ._override_values import typed_overrides
from ._rank_sweeper import follow_job, job_of_sweep
from ._sweep_job import refuse_to_sweep, sweep_job_of_this_process
from ._typed_arguments import are_of_code

_log = logging.getLogger(__name__)
_NO_MORE_JOBS = "interrupted: no more jobs of the sweep are run"


class MlxpLogger(Callback):
    """Starts a run before each job and ends it after.

    One instance serves all jobs of a process; launchers pickle it to others. The options are those of
    `_nodes.MlxpLoggerNode`, `settings`: what a run's mlxpy.yaml holds besides the logger's settings, and
    `doubled_keys`, which `typed_overrides` reads from the config.
    """

    # Of what version 0.1 has pickled for jobs of submitit.
    _ranks: str = MlxpLoggerNode.ranks
    _system_metrics: bool = MlxpLoggerNode.system_metrics
    _system_metrics_interval_s: float = MlxpLoggerNode.system_metrics_interval_s
    # Ends this process by Ctrl-C, if it runs the jobs of a sweep.
    _interruption: Interruption | None = None
    _of_code: str = ""
    _app_metrics: list[str] | None = None
    _tags: Sequence[str] = ()

    def __init__(
        self,
        parent_log_dir: str = MlxpLoggerNode.parent_log_dir,
        forced_log_id: int = MlxpLoggerNode.forced_log_id,
        log_streams_to_file: bool = MlxpLoggerNode.log_streams_to_file,
        system_metrics: bool = MlxpLoggerNode.system_metrics,
        system_metrics_interval_s: float = MlxpLoggerNode.system_metrics_interval_s,
        use_run_dir: bool = MlxpLoggerNode.use_run_dir,
        name: str = MlxpLoggerNode.name,
        ranks: str | bool = MlxpLoggerNode.ranks,
        keep_return_value: bool = MlxpLoggerNode.keep_return_value,
        app_metrics: Sequence[str] | None = None,
        tags: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
        doubled_keys: Sequence[str] = (),
    ) -> None:
        # Made in the process of the command: a job may run elsewhere, from another directory.
        self._launch = launch_of_this_process()
        self._parent_log_dir = relative_to_launch(parent_log_dir, self._launch)
        self._forced_log_id = forced_log_id
        self._log_streams_to_file = log_streams_to_file
        self._system_metrics = system_metrics
        self._system_metrics_interval_s = system_metrics_interval_s
        self._use_run_dir = use_run_dir
        self._logger_name = name
        self._ranks = str(ranks)  # YAML reads off as false
        self._keep_return_value = keep_return_value
        self._app_metrics = None if app_metrics is None else list(app_metrics)
        with errors_stop():
            self._tags = check_tags(tags)
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
        taken = self._take()
        self._of_code = self._look_at_arguments(config, sweeps=False)
        written = run_dir_as_written(config)
        if self._use_run_dir and has_default_output(config.hydra.run):
            write_to(config, taken.directory)
            return
        write_run_where_typed(config, self._launch)
        with errors_stop():
            leave_what_is_there(config, taken, written)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Has each job make its run directory: how many there will be is not known yet."""
        self._launch = launch_of_this_process()  # as above
        if self._forced_log_id != -1:
            stop(
                f"forced_log_id={self._forced_log_id} would put all jobs of a sweep into one run: "
                "leave it out, or run a single job without -m"
            )
        self._of_code = self._look_at_arguments(config, sweeps=True)
        job = sweep_job_of_this_process()
        with errors_stop():
            again = was_started_again(self._ranks)
        if again:
            if again.job is None:
                stop(
                    f"this was started as another rank of {again.directory}, and the overrides of "
                    "that job are too long to be told: put them into a config file"
                )
            follow_job(config, again.job)
        elif job and (
            job.overrides is None or config.hydra.launcher._target_ != MlxpLauncherNode._target_
        ):
            refuse_to_sweep()
        among_runs = self._use_run_dir and has_default_output(config.hydra.sweep)
        old = os.environ.get(RERUN_VARIABLE)
        if old and not among_runs:
            # Where the sweep writes lies what that run has written.
            print(f"mlxpy: this makes {old} again, and writes to its own directory", file=sys.stderr)
        if old or among_runs:
            place = again and again.job and again.job["sweep_dir"]
            if not place and (job or old or config.hydra.launcher.get("dry_run")):
                place = passing_sweep_directory()
            with errors_stop():
                write_sweep_among_runs(config, place or new_sweep_directory(self._parent_log_dir))
        else:
            write_sweep_where_typed(config, self._launch)
        compose_once(GlobalHydra.instance().config_loader(), config)
        if config.hydra.launcher._target_ == BASIC_LAUNCHER and not job:
            self._interruption = Interruption(f"mlxpy: {_NO_MORE_JOBS}")
        if config.hydra.launcher._target_ not in (BASIC_LAUNCHER, MlxpLauncherNode._target_):
            end_by_signals_no_more()  # what the command line has let expect
        self._await_ctrl_c()
        # Our launchers name the runs, too.
        if not (job or again or old or config.hydra.launcher._target_ == MlxpLauncherNode._target_):
            where = self._parent_log_dir
            _log.info("Runs go to %s: mlxpy ls%s lists them", where, logs_argument(where))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Leaves signals to the program again."""
        if self._interruption:
            end_by_signals_no_more()

    def on_job_start(self, config: DictConfig, *, task_function: TaskFunction, **kwargs: Any) -> None:
        """Starts the job's run. Nothing but an exit keeps Hydra from running the job unlogged."""
        self._ranks_before: dict[str, str] = ranks_set()
        if self._interruption:
            self._interruption.await_signals([signal.SIGINT])  # the task may catch it
        try:
            self._start_run(config)
        except (MlxpyError, OSError) as error:
            stop(str(error))
        except Exception:
            traceback.print_exc()
            stop("the run could not be started; this is a fault of mlxpy, please report it")
        if output_dir := _output_dir(config):
            report_refusals(Path(output_dir))

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Ends the job's run by how the task ended."""
        returned = returned_or_raised(job_return)
        failed = job_return.status is JobStatus.FAILED
        error = returned if isinstance(returned, BaseException) and failed else None
        if self._keep_return_value:
            _keep_outcome(Outcome.of(error) if error else Outcome(returned))
        _end_run(error)
        if not OmegaConf.is_missing(config.hydra.job, "num"):
            self._part_from_ranks()
        if self._interruption and not isinstance(error, Interrupted):
            self._interruption.forget()
        self._await_ctrl_c()

    def _await_ctrl_c(self) -> None:
        """Has Ctrl-C end a sweep of this process between two jobs without a traceback."""
        if self._interruption:
            end_by_signals_no_more()
            end_by_signals(f"mlxpy: {_NO_MORE_JOBS}", [signal.SIGINT])

    def _start_run(self, config: DictConfig) -> None:
        attempt, self._taken = self._take(), None
        logger_class = find_logger_class(self._logger_name)
        task = config_of_the_task() or task_config(config)
        fix_changing_values(task)
        run = Run.start(
            attempt,
            launch=replace(
                self._launch,
                overrides=typed_overrides(config),
                of_code="runs" if self._of_code and attempt.number else self._of_code,
                output_dir=_output_elsewhere(config, attempt),
                app_metrics=self._app_metrics,
                tags=list(self._tags),
            ),
            config=plain_config(task),
            settings=self._run_settings(),
            log_streams_to_file=self._log_streams_to_file,
            system_metrics_s=self._system_metrics_interval_s if self._system_metrics else None,
        )
        tell_children(attempt.directory, attempt.rank, attempt.number, job_of_sweep(config))
        try:
            logger_class(run=run)
        except BaseException as error:
            run.end(error)
            raise

    def _look_at_arguments(self, config: DictConfig, *, sweeps: bool) -> str:
        """Returns what the program's code sets the arguments of, as `Launch.of_code`."""
        if not are_of_code(config, sweeps=sweeps, by_launch=bool(self._settings)):
            return ""
        return "runs" if sweeps else "run"

    def _run_settings(self) -> dict[str, Any]:
        logger = {
            "name": self._logger_name,
            "parent_log_dir": str(self._parent_log_dir),
            "forced_log_id": self._forced_log_id,
            "log_streams_to_file": self._log_streams_to_file,
            "system_metrics": self._system_metrics,
            "system_metrics_interval_s": self._system_metrics_interval_s,
            "tags": list(self._tags),
            "app_metrics": self._app_metrics,
        }
        return {"logger": logger, "use_logger": True, **self._settings}

    def _take(self) -> Attempt:
        """Takes the next job's run, unless that has been done already."""
        if self._taken is None:
            with signals_held(until_second=True), errors_stop():  # it may wait for other processes
                self._taken = take_run(self._parent_log_dir, self._forced_log_id, self._ranks)
        return self._taken

    def _part_from_ranks(self) -> None:
        """Has the sweep's next job start ranks of its own: those of this job end with it."""
        if was_joined_by_children(self._parent_log_dir):
            set_ranks_back(self._ranks_before)
            distributed = sys.modules.get("torch.distributed")
            if distributed and distributed.is_available() and distributed.is_initialized():
                distributed.destroy_process_group()

    def _attach(self) -> None:
        """Connects this process with this instance: a job finds its run directory through it."""
        atexit.register(self._leave_no_empty_directory)
        register_resolver(RUN_DIRECTORY_RESOLVER, self._job_directory)
        report_exits(_end_run)
        replace_tracebacks(refusal_of_file_system)

    def _leave_no_empty_directory(self) -> None:
        """Removes the directory of a run that was not started: the program ended before."""
        if self._taken:
            self._taken.discard()
            self._taken = None

    def _job_directory(self, *, _root_: DictConfig) -> str:
        """Returns the run directory of the job whose config this is; made when it is first resolved."""
        hydra = _root_.hydra
        if not OmegaConf.is_missing(hydra.runtime, "output_dir"):
            return str(hydra.runtime.output_dir)
        if OmegaConf.is_missing(hydra.job, "num"):
            return "???"  # this is the sweep's own config, of no job
        return str(self._take().directory.path)


def find_logger_class(name: str) -> type[Logger]:
    """Returns a logger's class by the name of a built-in one or by its dotted path.

    Raises:
        MlxpyError: there is none, or it is not a subclass of `mlxpy.Logger`.
    """
    if name == MlxpLoggerNode.name:
        return Logger
    hint = f"give {MlxpLoggerNode.name}, or the dotted path of a class of yours"
    return load_class(name, Logger, "logger", hint)


def _end_run(error: BaseException | None) -> None:
    run = current_run()
    if run and not run.standalone:
        run.end(error)


def _output_elsewhere(config: DictConfig, attempt: Attempt) -> str:
    """Returns Hydra's output directory of a job where it is not the run's."""
    output_dir = _output_dir(config)
    return "" if output_dir == str(attempt.directory.path) else output_dir


def _output_dir(config: DictConfig) -> str:
    """Returns Hydra's output directory of a job; empty where there is none, as in a composed config."""
    runtime = config.hydra.runtime
    return "" if OmegaConf.is_missing(runtime, "output_dir") else os.path.abspath(runtime.output_dir)


def _keep_outcome(outcome: Outcome) -> None:
    run = current_run()
    if run and run.rank == 0:
        try:
            keep_outcome(run.directory, outcome)
        except Exception as error:  # pickling runs the code of the user's classes
            what = "raised" if outcome.error else "returned"
            print(f"mlxpy: cannot keep what the task {what}: {error}", file=sys.stderr)


def task_config(config: DictConfig) -> DictConfig:
    """Returns a job's config without Hydra's own node."""
    # That node is most of a config: it is left out, not copied and deleted.
    names: list[Any] = [key for key in config if key != "hydra"]
    task = OmegaConf.masked_copy(config, names)
    OmegaConf.copy_cache(from_config=config, to_config=task)  # ${now:} stays the same moment
    return task
