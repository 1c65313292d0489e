"""The user's logger: metrics, artifacts and checkpoints of one run."""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from mlxpy_core._errors import MlxpyError, RunEndedError
from mlxpy_core._plugins._artifact_type import Load, Save
from mlxpy_core._runs._annotations import check_tags
from mlxpy_core._runs._directory import RunDirectory

from ._artifacts import ArtifactStore
from ._checkpoint_store import CheckpointStore
from ._checkpoints import TYPE_NAME
from ._kept_checkpoints import keep_rule
from ._run import Run, current_run
from ._standalone import start_standalone_run
from ._subprocess import SubprocessRun, run_of_parent


class Logger:
    """Logs what a run produces into the run's directory.

    Programs started through Hydra or ``mlxpy.launch`` are handed theirs. A script or a notebook
    makes one itself, and with it a new run that lasts until `close`, the end of a ``with`` block,
    the next `Logger`, or the end of the process:

        with mlxpy.Logger(parent_log_dir="./logs", config={"lr": 0.1}) as logger:
            logger.log_metrics({"loss": 0.5}, log_name="train")

    Args:
        parent_log_dir: the directory of all runs; relative to the working directory.
        forced_log_id: the number of the run to continue (made if there is none); -1 takes a new one.
        log_streams_to_file: whether log.stdout and log.stderr get a copy of the output.
        config: what config.yaml is to hold.
        system_metrics: whether what the machine does is logged, too, as metrics of the log ``system``.
        system_metrics_interval_s: how often, in seconds.
        tags: the run's tags, see `add_tags`.
        run: the run to log to; only the faces of mlxpy pass it, and the rest is then unused.

    Raises:
        MlxpyError: the run's directory cannot be had, or a run that Hydra started is active.
    """

    def __init__(
        self,
        parent_log_dir: str | Path = "./logs",
        forced_log_id: int = -1,
        log_streams_to_file: bool = False,
        config: Mapping[str, Any] | None = None,
        *,
        system_metrics: bool = False,
        system_metrics_interval_s: float = 10,
        tags: Iterable[str] = (),
        run: Run | SubprocessRun | None = None,
    ) -> None:
        if run is None:
            settings = {
                "name": _name(type(self)),
                "parent_log_dir": parent_log_dir,
                "forced_log_id": forced_log_id,
                "log_streams_to_file": log_streams_to_file,
                "system_metrics": system_metrics,
                "system_metrics_interval_s": system_metrics_interval_s,
                "tags": check_tags(tags),
            }
            run = start_standalone_run(settings, config or {})
        self._run: Run | SubprocessRun = run
        self._artifacts = ArtifactStore(lambda: self._run.directory)
        self._checkpoints = CheckpointStore(self._artifacts)
        run.logger = self

    def __enter__(self) -> "Logger":
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._run.end(error)

    def __reduce__(self) -> tuple[Callable[[], "Logger | None"], tuple[()]]:
        # In a checkpoint it stands for the logger of whoever loads that: a trainer may hold one.
        return get_logger, ()

    @property
    def log_id(self) -> int:
        """The run's number."""
        return self._run.directory.log_id

    @property
    def log_dir(self) -> str:
        """The run's directory, absolute."""
        return str(self._run.directory.path)

    @property
    def parent_log_dir(self) -> str:
        """The directory of all runs, absolute."""
        return str(self._run.directory.path.parent)

    @property
    def metadata_dir(self) -> str:
        """The run's directory of metadata, absolute."""
        return str(self._run.directory.metadata)

    @property
    def metrics_dir(self) -> str:
        """The run's directory of metrics, absolute."""
        return str(self._run.directory.metrics)

    @property
    def artifacts_dir(self) -> str:
        """The run's directory of artifacts, absolute."""
        return str(self._run.directory.artifacts)

    def get_info(self) -> dict[str, Any]:
        """Returns the run's number and its directories."""
        names = ("log_id", "log_dir", "metrics_dir", "metadata_dir", "artifacts_dir")
        return {name: getattr(self, name) for name in names}

    @property
    def should_stop(self) -> bool:
        """Whether a signal has announced the end of the job.

        A program that asks is no longer ended by the signal (SIGTERM): it is left to write a
        checkpoint and to return.
        """
        return self._own_run("ask whether to stop").stopping.should_stop

    @property
    def should_prune(self) -> bool:
        """Whether the search that the run belongs to gives it up: ``if logger.should_prune: break``.

        A run that ends then is COMPLETE, and its info says ``pruned``. In a run of no search it is
        always False. Asking is cheap: a file is looked for, at most twice a second. Of several processes
        of one run each sees it at a moment of its own: have one ask and tell the others.
        """
        return self._own_run("ask whether to prune").pruning.should_prune

    def on_stop(self, callback: Callable[[], object]) -> None:
        """Registers a function to be called when a signal announces the end of the job.

        Like reading `should_stop`, this leaves it to the program to end.
        """
        self._own_run("ask when to stop").stopping.on_stop(callback)

    def close(self) -> None:
        """Ends a run that this logger started itself, as COMPLETE."""
        self._run.end()

    def add_tags(self, *tags: str) -> None:
        """Adds tags to the run, which ``mlxpy ls`` shows and queries find: ``'pilot' in info.tags``.

        Of several processes of one run, rank 0's count. What a user takes away (``mlxpy tag 3 -pilot``)
        stays away.

        Args:
            *tags: words without spaces and commas that do not begin with ``+`` or ``-``.

        Raises:
            MlxpyError: one is no such word; none is added then.
            RunEndedError: the run has ended.
            StorageError: the file system refused.
        """
        names = check_tags(tags)
        self._check_running("tags")
        self._own_run("add tags").add_tags(names)

    def progress(self, done: float, total: float) -> None:
        """Says how much of its work the program has done, as in ``logger.progress(step, steps)``.

        ``mlxpy top`` shows it, and the reader has it as ``info.progress.done`` and
        ``info.progress.total``. A call takes microseconds, so each batch may make one: it is written at
        most once a second, and when all is done or the run ends. Of several processes of one run, rank
        0's counts.

        Args:
            done: how much is done, in any unit.
            total: of how much.

        Raises:
            MlxpyError: one of the two is no number, or a negative or infinite one.
            RunEndedError: the run has ended.
        """
        run = self._own_run("say how far it is")
        if run.ended:
            raise RunEndedError(f"cannot say how far run {self.log_id} is: it has ended")
        run.progress.report(done, total)

    def log_metrics(self, metrics_dict: Mapping[str, Any], log_name: str) -> None:
        """Appends one row to ``metrics/<log_name>.json``.

        When it returns the row has been handed to the operating system: killing the process does
        not lose it.

        Args:
            metrics_dict: names and values: numbers (NaN and infinities too), strings, booleans, None,
                lists and dicts of these, and arrays of NumPy, torch or JAX of at most 10,000 elements;
                one of a single element is a number.
            log_name: which log the row belongs to, such as ``train``.

        Raises:
            UnstorableValueError: a value or a key is none of these; no part of the row is written.
            InvalidNameError: `log_name` is reserved or cannot be a file's name.
            StorageError: the file system refused; no part of the row is written.
        """
        self._run.metrics.write(metrics_dict, log_name)

    def log_artifact(self, artifact: Any, artifact_name: str, artifact_type: str) -> None:
        """Stores an object at ``artifacts/<artifact_type>/<artifact_name>``, whole or not at all.

        Args:
            artifact: what to store.
            artifact_name: its name; folders are allowed, as in ``models/best``.
            artifact_type: ``Checkpoint``, ``pickle``, ``numpy`` (an array, or
                a dict of arrays), ``torch``, ``image`` (a
                Pillow image, a matplotlib figure, or an array of height by width (by 3 or 4) of
                bytes or of floats from 0 to 1), ``json``, ``text``, or a registered type.

        Raises:
            UnstorableValueError: the type cannot store the object.
            MlxpyError: there is no such type, or the name cannot be a file's.
            StorageError: the file system refused.
        """
        self._check_running(artifact_name)
        if artifact_type == TYPE_NAME:
            self.log_checkpoint(artifact, artifact_name)
        else:
            self._artifacts.save(artifact, artifact_name, artifact_type)

    log_artifacts = log_artifact

    def load_artifact(
        self, artifact_name: str, artifact_type: str | None = None, root: str | Path | None = None
    ) -> Any:
        """Loads what `log_artifact` stored.

        Args:
            artifact_name: the name it was stored by.
            artifact_type: its type; may be left out where only one type has the name.
            root: the directory of another run that stored it.

        Raises:
            FileNotFoundError: there is none of this name (and type).
            MlxpyError: several types have the name, or the type is not known here.
        """
        store = self._artifacts
        if root is not None:
            other = RunDirectory(Path(root))
            store = ArtifactStore(lambda: other)
        return store.load(artifact_name, artifact_type)

    load_artifacts = load_artifact

    def register_artifact_type(self, name: str, save: Save, load: Load) -> None:
        """Adds a type of artifact.

        The run's directory records the import paths of the two functions, so that artifacts can be
        loaded later wherever these can be imported.

        Args:
            name: the type's name.
            save: called as ``save(obj, path)``; writes one file at ``path`` (a `pathlib.Path`).
            load: called as ``load(path)``; returns the object.

        Raises:
            MlxpyError: the name is a built-in type's or cannot be a folder's, or no functions are given.
        """
        self._artifacts.register(name, save, load)

    def log_checkpoint(
        self,
        checkpoint: Any,
        log_name: str = "checkpoint",
        *,
        keep_last: int | None = None,
        keep_best: tuple[str, str] | None = None,
    ) -> None:
        """Stores the program's state at ``artifacts/Checkpoint/<log_name>.pkl``, whole or not at all.

        It takes the place of an earlier checkpoint of the same name and remembers which metrics had
        been logged before it.

        Of several processes of one run, rank 0's checkpoint is the run's: it remembers the metrics of
        all ranks, as they are at that moment, and each rank's `load_checkpoint` finds it. Have the ranks
        wait for each other first (a barrier), so that each has logged the same steps. A checkpoint of
        another rank is that rank's own: it lies at ``artifacts/Checkpoint/.ranks/<rank>/``, remembers
        that rank's metrics, and only that rank finds it.

        With `keep_last` or `keep_best`, earlier checkpoints that were stored so are removed, whatever
        their names and attempts, once this one is there: all but the newest `keep_last`, and the best.
        An earlier one of the same name is then not replaced, but goes on as ``<log_name>-1``, and so on.
        Checkpoints that are stored without the two are never removed.

        Args:
            checkpoint: any object that pickles.
            log_name: the checkpoint's name.
            keep_last: how many of the newest stay; 1 if only `keep_best` is given.
            keep_best: a metric and ``min`` or ``max``, as in ``("val.loss", "min")``: the checkpoint
                with the best value, logged last before it, stays, too; `best_checkpoint` is its name.

        Raises:
            MlxpyError: `keep_last` or `keep_best` is no rule.
            UnstorableValueError: the object does not pickle.
            StorageError: the file system refused.
        """
        self._check_running(log_name)
        rule = keep_rule(keep_last, keep_best)
        run = self._own_run(f"store checkpoint {log_name!r}")
        self._checkpoints.save(run, checkpoint, log_name, rule)

    @property
    def best_checkpoint(self) -> str | None:
        """The name of the best checkpoint that `log_checkpoint` keeps by `keep_best`."""
        return self._checkpoints.best(self._own_run("ask for the best checkpoint"))

    def load_checkpoint(self, log_name: str | None = None, root: str | Path | None = None) -> Any:
        """Loads a checkpoint of this run and continues the run's history from it.

        Rows that earlier attempts logged after the checkpoint are moved to ``metrics/.aside``, so that
        the metrics read as if the run had never been interrupted. Once this attempt has resumed and
        logged a row, loading another checkpoint moves nothing.

        Of several processes of one run each moves its own rows, so each is to call it. Another rank than
        0 gets its own checkpoint if it has written one (of this name), otherwise rank 0's.

        Args:
            log_name: the checkpoint's name; None for the one that was written last.
            root: the directory of another run, or of checkpoints; this run's history is then left alone.

        Raises:
            FileNotFoundError: there is none (of this name). In a run without any checkpoint all rows
                of earlier attempts are moved aside: it starts anew.
            MlxpyError: the file cannot be loaded.
        """
        return self._checkpoints.load(self._run, log_name, root)

    def resume_at_step(self, step: float, key: str = "step") -> None:
        """Continues the run's history at a step, for programs whose checkpoints are another library's.

        Rows that earlier attempts logged at this step or later are moved to ``metrics/.aside``, as
        `load_checkpoint` does with those after its checkpoint: of each log, from the first row that
        has such a step. Logs whose rows have no step are left alone. Once this attempt has resumed
        and logged a row, nothing is moved.

        Args:
            step: the first step that this attempt logs (again).
            key: the name by which rows hold their step.
        """
        run = self._own_run("resume")
        run.resume_at(run.history.positions_of(step, key))

    def _own_run(self, action: str) -> Run:
        """Returns the run if it is this process's.

        Raises:
            MlxpyError: it is that of the program which has started this process.
        """
        if isinstance(self._run, SubprocessRun):
            raise MlxpyError(
                f"a subprocess of run {self.log_id} cannot {action}: do so in the process that runs it"
            )
        return self._run

    def _check_running(self, name: str) -> None:
        if self._run.ended:
            raise RunEndedError(f"cannot log {name!r}: run {self.log_id} has ended")
        if sentence := self._run.superseded:
            raise RunEndedError(f"cannot log {name!r}: {sentence}")


# The run whose program has started this process, once it was asked for.
_of_parent: SubprocessRun | None = None


def get_logger() -> Logger | None:
    """Returns the logger of the run that is active in this process, or None.

    In a process that the run's program has started to run a part of itself (by multiprocessing,
    which data loaders use, by joblib, or by submitit on this machine) it logs to the same run: metrics
    to files of that process, which the reader has as ``subprocess<n>/<log_name>``, artifacts as
    everywhere.
    """
    global _of_parent
    run: Run | SubprocessRun | None = current_run()
    if run is None or not run.belongs_here:
        if _of_parent is None or not _of_parent.belongs_here or _of_parent.ended:
            _of_parent = run_of_parent()
            if _of_parent:
                _logger_class(_of_parent)(run=_of_parent)
        run = _of_parent
    logger = run.logger if run else None
    return logger if isinstance(logger, Logger) else None


def _follow_fork() -> None:
    """Has the logger of a run log as that of a subprocess, in a fork of the run's process."""
    global _of_parent
    run = current_run() or _of_parent
    if run and isinstance(logger := run.logger, Logger):
        _of_parent = SubprocessRun.of_fork(run)
        _of_parent.logger = logger
        logger._run = _of_parent


os.register_at_fork(after_in_child=_follow_fork)


def _logger_class(run: SubprocessRun) -> type[Logger]:
    """Returns the class of the logger that the run's own process has."""
    from mlxpy_core._plugins._dotted import load_class

    name = run.logger_name()
    if name in (None, _name(Logger)):
        return Logger
    return load_class(name, Logger, "logger", "its class must be importable in subprocesses")


def _name(logger_class: type[Logger]) -> str:
    """Returns the name by which settings choose a logger's class."""
    if logger_class is Logger:
        return "DefaultLogger"
    return f"{logger_class.__module__}.{logger_class.__qualname__}"
