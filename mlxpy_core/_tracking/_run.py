"""A run in this process: it starts, it is the current one, it ends with its true status."""

import contextlib
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlxpy_core._errors import MlxpyError, StorageError
from mlxpy_core._io._files import Stamp, read_text, write_whole
from mlxpy_core._io._interrupts import signals_held
from mlxpy_core._io._retries import OUTAGE_S, Retries
from mlxpy_core._io._yaml import dump_yaml
from mlxpy_core._plugins._manager import call_plugins
from mlxpy_core._runs._directory import RunDirectory, remove_temporary_files
from mlxpy_core._runs._end_note import EndNote, remove_end_note
from mlxpy_core._runs._info import set_status, set_usage, tags_field
from mlxpy_core._runs._info_file import (
    info_stamp,
    read_info_to_continue,
    read_status,
    touch_info,
    write_info,
)
from mlxpy_core._runs._launch import Launch
from mlxpy_core._runs._metrics_files import keys_of_rank, metrics_of_rank
from mlxpy_core._runs._parent_run import stop_telling_children
from mlxpy_core._runs._prune_request import is_pruning_requested
from mlxpy_core._runs._ranks import processes_of_this_run
from mlxpy_core._runs._status import ENDED, Status, status_of
from mlxpy_core._runs._summary import write_summary
from mlxpy_core._versioning._current_copy import job_environment, missing_in_copy

from ._attempt import Attempt
from ._exit import ExitWatch
from ._held_directory import HeldDirectory
from ._history import History, Positions
from ._metrics import MetricsWriter
from ._progress_writer import ProgressWriter
from ._pruning import Pruning
from ._signals import SignalWatch
from ._stopping import Stopping
from ._streams import StreamCopies
from ._system_metrics import SystemMetrics
from ._usage import UsageMeter

_current: "Run | None" = None


def current_run() -> "Run | None":
    """Returns the run that is active in this process, or None."""
    return _current


class Run:
    """One attempt at a run, from its start to its end in this process.

    Made by `Run.start`. It owns the run's metadata files until it ends.

    Attributes:
        info: what info.yaml holds.
        config: what config.yaml holds.
        settings: what mlxpy.yaml holds.
        standalone: whether no face ends the run.
        held: the run's directory, held open.
        rank: the number of this process among those of the run; only 0 writes metadata.
        started: when this process started it, in seconds since 1970.
        ended: whether it has ended.
        metrics: writes the metrics files.
        progress: writes how far the program says that it is.
        history: the metrics files as earlier attempts left them.
        stopping: how the program is asked to stop.
        pruning: how it is told that a search gives the run up.
        logger: the user's logger of this run, once there is one.
    """

    logger: object | None = None

    def __init__(
        self,
        attempt: Attempt,
        info: dict[str, Any],
        config: dict[str, Any],
        settings: dict[str, Any],
        *,
        standalone: bool,
    ) -> None:
        directory, rank = attempt.directory, attempt.rank
        self.held = HeldDirectory(directory, info["run_id"])
        self._directory = directory
        self.rank = rank
        self.started = time.time()
        self._usage = UsageMeter()
        self.info = info
        self.config = config
        self.settings = settings
        self.standalone = standalone
        metrics = metrics_of_rank(directory.metrics, rank)
        self.history = History(metrics, directory.logs, self.attempt, contested=attempt.contested)
        self.metrics = MetricsWriter(metrics, keys_of_rank(directory.state, rank), locate=self.locate)
        self.progress = ProgressWriter(self._place_of_progress)
        self._since_ns = attempt.claim.since_ns if attempt.claim else 0
        self._process_id = os.getpid()
        self._info_stamp: Stamp | None = None  # of what this process has written
        self._end_note = EndNote()
        self._noted = False
        self.stopping = Stopping(self._try_status)
        self.pruning = Pruning(lambda: is_pruning_requested(self.directory))
        self._signals = SignalWatch(self.stopping, in_job=attempt.job is not None)
        self._exit = ExitWatch(self.end, listen=standalone)
        self._streams: StreamCopies | None = None
        self._system: SystemMetrics | None = None
        self._ending = False
        self.ended = False

    @classmethod
    def start(
        cls,
        attempt: Attempt,
        *,
        launch: Launch,
        config: dict[str, Any],
        settings: dict[str, Any],
        log_streams_to_file: bool = False,
        system_metrics_s: float | None = None,
        standalone: bool = False,
    ) -> "Run":
        """Starts an attempt at a run, the first or another, and makes it the current run.

        Args:
            attempt: what `take_run` has taken; of several ranks only 0 owns the metadata, the others'
                metrics go to ``metrics/.ranks/<rank>/``.
            launch: how the run was started.
            config: the task's config as plain data.
            settings: the settings of mlxpy as plain data.
            log_streams_to_file: whether log.stdout and log.stderr get a copy of the output.
            system_metrics_s: how often what the machine does is logged, in seconds; None for never.
            standalone: whether no face ends the run: it then lasts as long as the process.

        Raises:
            StorageError: its files cannot be written.
        """
        global _current
        run = None
        try:
            with signals_held(), attempt.taken_up():  # or there would be half a run
                begun = cls(attempt, attempt.begin(launch), config, settings, standalone=standalone)
                begun._begin(attempt)
                run = begun
            _current = run
            run._exit.start()
            if log_streams_to_file:
                run._streams = StreamCopies(run.directory)
                run._streams.start()
            if system_metrics_s is not None:
                run._system = SystemMetrics(run.metrics, lambda: run.directory.path, system_metrics_s)
                run._system.start()
            call_plugins("mlxpy_run_started", run=run)
        except BaseException as error:
            if run:
                run.end(error)
            raise
        return run

    def _begin(self, attempt: Attempt) -> None:
        """Writes the metadata of the attempt."""
        self._signals.start()  # before the status RUNNING, which others wait for to send one
        try:
            if self.rank == 0:
                if attempt.info and processes_of_this_run() == 1:  # others may be writing
                    remove_temporary_files(self._directory)
                if self.attempt > 1:  # else it was submitted: its ${now:} was another moment
                    _keep_other_config(self._directory, self.config, self.attempt - 1)
                logs = self._directory.logs
                write_whole(self._directory.config, dump_yaml(self.config), logs)
                write_whole(self._directory.settings, dump_yaml(self.settings), logs)
                if environment := job_environment():  # what makes the run again needs them
                    write_whole(self._directory.environment, dump_yaml(environment), logs)
                Retries()(lambda: self._end_note.make_room(self._directory, self.attempt))
            self._list_requirements()
            self._write_info()
        except BaseException:
            self._signals.stop()
            self._end_note.remove(self._directory, self.attempt)
            self.held.close()
            raise
        if self.rank == 0:  # what it says is in info.yaml now
            remove_end_note(self._directory, self.attempt - 1)

    @property
    def directory(self) -> RunDirectory:
        """The places of the run's files, as they are now: somebody may have moved the directory."""
        self.locate()
        return self._directory

    def locate(self) -> None:
        """Looks where the run's directory is; one that was moved is followed."""
        with self.metrics.lock:  # two threads would each follow it
            directory = self.held.locate()
            if directory == self._directory:
                return
            self._directory = directory
            self._info_stamp = None
            self.info["log_dir"] = str(directory.path)
            metrics = metrics_of_rank(directory.metrics, self.rank)
            self.history.move_to(metrics, directory.logs)
            self.metrics.move_to(metrics, keys_of_rank(directory.state, self.rank))

    def resume_at(self, positions: Positions) -> None:
        """Moves aside what earlier attempts logged after `positions`, but not under rows of this one."""
        if self.history.resumed and not self.metrics.released:
            return
        with self.metrics.lock:  # another thread would open files that are replaced
            self.metrics.release()
            self.history.resume_at(positions)

    def add_to_config(self, values: Mapping[str, Any]) -> None:
        """Adds to the config of a run that a program without Hydra has started; its own values stay.

        Raises:
            StorageError: config.yaml cannot be written.
        """
        self.config = {**values, **self.config}
        if self.rank == 0:
            directory = self.directory
            write_whole(directory.config, dump_yaml(self.config), directory.logs)
            write_summary(directory, self.config, self.info, ended=False)

    @property
    def attempt(self) -> int:
        """The number of this attempt at the run, from 1."""
        return len(self.info["attempts"])

    @property
    def belongs_here(self) -> bool:
        """Whether this process started the run; a fork of it did not."""
        return os.getpid() == self._process_id

    @property
    def superseded(self) -> str | None:
        """Says so if another attempt at the run has begun: the run is that one's, then.

        A scheduler that loses a node starts its jobs again, and the node may live.
        """
        try:
            directory = self.directory
            if self._info_stamp in (None, info_stamp(directory)):
                return None
            if len(read_info_to_continue(directory)["attempts"]) <= self.attempt:
                return None
        except (OSError, MlxpyError, KeyError):
            return None
        return (
            f"another attempt at run {directory.log_id} in {directory.path.parent} has begun: "
            "this process writes to it no more"
        )

    def _place_of_progress(self) -> Path | None:
        # That of rank 0 is the run's.
        return None if self.rank or self.superseded else self.directory.path

    def add_tags(self, tags: Sequence[str]) -> None:
        """Adds tags to the run's info; of several ranks 0 does so.

        Raises:
            StorageError: the file system refused; the tags are written with the next status.
        """
        if self.rank:
            return
        with signals_held():  # or the status of one that comes in between would be overwritten
            self.info.update(tags_field(self.info, tags))
            self._write_info()

    def end(self, error: BaseException | None = None) -> None:
        """Ends the run: COMPLETE, or what `error` makes of it. A second call does nothing.

        A file system that is away is waited for, at most for `OUTAGE_S` seconds. What cannot be written
        any more (a full disk, say) is told on standard error: the program's own result must not be lost
        over it. The status is then noted where that takes no space.
        """
        global _current
        if self.ended or not self.belongs_here:
            return
        if self._system:
            self._system.stop()
        retries = Retries(OUTAGE_S, announce=True)
        try:
            self.metrics.close(retries)
        except StorageError as refusal:
            print(f"mlxpy: {refusal}; its last rows are lost", file=sys.stderr)
        self.progress.flush()  # before info.yaml, by which the reader tells whether to look again
        signal = self.stopping.signal_that_ended(error)
        status = Status.INTERRUPTED if signal else status_of(error)
        set_status(self.info, status, error, signal)
        if self.pruning.heard and status is Status.COMPLETE:
            self.info["pruned"] = True
        set_usage(self.info, self._usage.usage())
        self._list_requirements()
        self._ending = True
        try:
            retries(lambda: self._write_info(ended=True))
        except StorageError as refusal:
            noted = (
                f"{status.value} is noted beside it"
                if self._noted
                else f"it is not {status.value} there"
            )
            print(f"mlxpy: {refusal}; {noted}", file=sys.stderr)
        # Not before: a signal in between still finds a run whose last status it can write.
        self.ended = True
        self._signals.stop()
        self._exit.stop()
        stop_telling_children()
        if error and not self.standalone and (sentence := missing_in_copy(error)):
            print(f"mlxpy: {sentence}", file=sys.stderr)
        self._tell_what_lies_in_copy()
        call_plugins("mlxpy_run_ended", run=self)
        if self._streams:
            self._streams.stop()
        self._end_note.close()
        self.held.close()
        if _current is self:
            _current = None

    def _tell_what_lies_in_copy(self) -> None:
        if self.rank or not self.info["version_manager"]:
            return
        from mlxpy_core._versioning._left_in_copy import new_in_copy  # most programs do not need it

        if sentence := new_in_copy(self._since_ns):
            print(f"mlxpy: {sentence}", file=sys.stderr)

    def _try_status(self, status: Status) -> None:
        if self.ended:
            return
        # While the last status is written a signal does not change it, only sees to it that it is there.
        if not self._ending:
            set_status(self.info, status, signal=self.stopping.signal)
            if status in ENDED:  # the signal may end the process as soon as this is written
                set_usage(self.info, self._usage.usage())
        try:
            self._write_info(ended=self._ending)
        except StorageError as refusal:
            print(f"mlxpy: {refusal}", file=sys.stderr)

    def _list_requirements(self) -> None:
        """Notes what the program has imported so far, if the version manager is to say so."""
        version = self.info["version_manager"]
        if version and version.get("requirements") is not None and self.rank == 0:
            with contextlib.suppress(OSError):  # no more files can be opened, say
                from mlxpy_core._versioning._requirements import requirements_of  # as above

                version["requirements"] = requirements_of(version)
                version["python"] = ".".join(map(str, sys.version_info[:3]))

    def _write_info(self, *, ended: bool = False) -> None:
        if self.rank:
            if ended and read_status(self.directory) in ENDED:
                touch_info(self.directory)  # rank 0 was faster: readers that have looked look again
            return
        if sentence := self.superseded:
            print(f"mlxpy: {sentence}", file=sys.stderr)
            return
        directory = self.directory
        try:
            self._info_stamp = write_info(directory, self.info)
        except StorageError:
            self._noted = self._end_note.write(self.info)
            raise
        if self.info["status"] in ENDED:
            self._end_note.remove(directory, self.attempt)
        else:  # a signal may have ended the run for a moment
            self._end_note.make_room(directory, self.attempt)
        write_summary(directory, self.config, self.info, ended=ended)


def _before_fork() -> None:
    if _current:
        _current._signals.before_fork()


def _after_fork_in_parent() -> None:
    if _current:
        _current._signals.after_fork_in_parent()


def _after_fork_in_child() -> None:
    if _current:
        _current.metrics.after_fork_in_child()
        _current._signals.after_fork_in_child()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_after_fork_in_child,
)


def _keep_other_config(directory: RunDirectory, config: dict[str, Any], attempt: int) -> None:
    try:
        text = read_text(directory.config, directory.logs)
    except FileNotFoundError:
        return
    if text != dump_yaml(config):
        write_whole(directory.metadata / f"config.{attempt}.yaml", text, directory.logs)
