"""A run in this process: it starts, it is the current one, it ends with a true word."""

import contextlib
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import yaml

from ._directories import RunDirectory
from ._errors import MlxpyError, StorageError
from ._exit import ExitWatch
from ._files import remove_temporary_files, write_whole
from ._history import History
from ._info import (
    ENDED,
    Launch,
    Status,
    begin_attempt,
    job_of_this_process,
    read_status,
    set_killed,
    set_status,
    status_of,
)
from ._metrics import MetricsWriter, keys_of_rank, metrics_of_rank
from ._plugins import call_plugins
from ._process import died_here, lives_here
from ._ranks import processes_of_this_run, stop_telling_children
from ._signals import SignalWatch
from ._streams import StreamCopies
from ._summary import Stamp, stamp_of, write_summary
from ._versioning import job_environment, missing_in_copy, requirements_of
from ._yaml import dump_yaml, load_yaml

if TYPE_CHECKING:
    from ._logger import Logger

_current: "Run | None" = None


def current_run() -> "Run | None":
    """Gives the run that is active in this process, or None."""
    return _current


class Run:
    """One attempt at a run, from its start to its end in this process.

    Made by `Run.start`. It owns the run's metadata files until it ends.

    Attributes:
        directory: the places of the run's files.
        info: what info.yaml holds.
        config: what config.yaml holds.
        settings: what mlxpy.yaml holds.
        standalone: whether no face ends the run.
        rank: the number of this process among those of the run; only 0 writes metadata.
        started: when this process started it, in seconds since 1970.
        metrics: writes the metrics files.
        history: the metrics files as earlier attempts left them.
        logger: the user's logger of this run, once there is one.
    """

    logger: "Logger | None" = None

    def __init__(
        self,
        directory: RunDirectory,
        info: dict[str, Any],
        config: dict[str, Any],
        settings: dict[str, Any],
        *,
        standalone: bool,
        rank: int = 0,
        contested: bool = False,
    ) -> None:
        self.directory = directory
        self.rank = rank
        self.started = time.time()
        self.info = info
        self.config = config
        self.settings = settings
        self.standalone = standalone
        metrics = metrics_of_rank(directory.metrics, rank)
        self.history = History(metrics, self.attempt, contested=contested)
        self.metrics = MetricsWriter(metrics, keys_of_rank(directory.keys, rank))
        self._process_id = os.getpid()
        self._info_stamp: Stamp | None = None  # of what this process has written
        self._signals = SignalWatch(self, in_job=bool(info["attempts"][-1]["job_id"]))
        self._exit = ExitWatch(self.end, listen=standalone)
        self._streams: StreamCopies | None = None
        self._stop_announced = False
        self._stop_heard = False
        self._listens_for_stop = False
        self._stop_callbacks: list[Callable[[], object]] = []
        self._interrupted = False
        self._signal: str | None = None
        self._ending = False
        self._ended = False

    @classmethod
    def start(
        cls,
        directory: RunDirectory,
        *,
        launch: Launch,
        config: dict[str, Any],
        settings: dict[str, Any],
        log_streams_to_file: bool = False,
        standalone: bool = False,
        rank: int = 0,
    ) -> "Run":
        """Starts a run, or another attempt at one, in its directory and makes it the current run.

        Args:
            directory: the run's directory, which exists.
            launch: how the run was started.
            config: the task's config as plain data.
            settings: the settings of mlxpy as plain data.
            log_streams_to_file: whether log.stdout and log.stderr get a copy of the output.
            standalone: whether no face ends the run: it then lasts as long as the process.
            rank: the number of this process, where several are one run. Only 0 owns the metadata; the
                others' metrics go to ``metrics/.ranks/<rank>/``.

        Raises:
            MlxpyError: the run is still running on this machine, or its info.yaml is damaged.
            StorageError: its files cannot be written.
        """
        global _current
        earlier = _read_info(directory)
        # Who else may still write, only rank 0 can tell.
        contested = rank > 0 or _settle_last_attempt(earlier, directory)
        info = earlier
        if rank == 0 or not _is_begun(earlier):
            info = begin_attempt(earlier, directory, launch)
        try:
            if earlier and rank == 0:
                if processes_of_this_run() == 1:  # others may be writing
                    remove_temporary_files(directory.path)
                _keep_other_config(directory, config, len(info["attempts"]) - 1)
            run = cls(
                directory, info, config, settings, standalone=standalone, rank=rank, contested=contested
            )
        except OSError as error:
            raise StorageError(f"cannot continue the run in {directory.path}", error) from error
        run._signals.start()  # before the word RUNNING, which others wait for to send one
        try:
            if rank == 0:
                write_whole(directory.config, dump_yaml(config))
                write_whole(directory.settings, dump_yaml(settings))
                if environment := job_environment():  # what makes the run again needs them
                    write_whole(directory.environment, dump_yaml(environment))
            run._list_requirements()
            run._write_info()
        except BaseException:
            run._signals.stop()
            raise
        try:
            _current = run
            run._exit.start()
            if log_streams_to_file:
                run._streams = StreamCopies(directory.path / "log.stdout", directory.path / "log.stderr")
                run._streams.start()
            call_plugins("mlxpy_run_started", run=run)
        except BaseException as error:
            run.end(error)
            raise
        return run

    @property
    def attempt(self) -> int:
        """The number of this attempt at the run, from 1."""
        return len(self.info["attempts"])

    @property
    def ended(self) -> bool:
        """Whether the run has ended."""
        return self._ended

    @property
    def belongs_here(self) -> bool:
        """Whether this process started the run; a fork of it did not."""
        return os.getpid() == self._process_id

    @property
    def superseded(self) -> bool:
        """Whether another attempt at the run has begun: the run is that one's, then.

        A scheduler that loses a node starts its jobs again, and the node may live.
        """
        try:
            if self._info_stamp in (None, stamp_of(self.directory.info)):
                return False
            return len(_read_info(self.directory)["attempts"]) > self.attempt
        except (OSError, MlxpyError, KeyError):
            return False

    @property
    def superseded_sentence(self) -> str:
        """Says what `superseded` means for this process."""
        return (
            f"another attempt at run {self.directory.log_id} in {self.directory.path.parent} has begun: "
            "this process writes to it no more"
        )

    def end(self, error: BaseException | None = None) -> None:
        """Ends the run: COMPLETE, or what `error` makes of it. A second call does nothing.

        What cannot be written any more (a full disk, say) is told on standard error: the program's
        own result must not be lost over it.
        """
        global _current
        if self._ended or not self.belongs_here:
            return
        self.metrics.close()
        status = status_of(error)
        ended_by_exception = isinstance(error, Exception)
        if (self._interrupted or self._stop_heard) and not ended_by_exception:
            status = Status.INTERRUPTED
        if isinstance(error, KeyboardInterrupt):
            self._signal = self._signal or "SIGINT"
        set_status(self.info, status, error, self._signal)
        self._list_requirements()
        self._ending = True
        try:
            self._write_info(ended=True)
        except StorageError as refusal:
            print(f"mlxpy: {refusal}; its status there is not {status.value}", file=sys.stderr)
        # Not before: a signal in between still finds a run whose last word it can write.
        self._ended = True
        self._signals.stop()
        self._exit.stop()
        stop_telling_children()
        if error and not self.standalone and (sentence := missing_in_copy(error)):
            print(f"mlxpy: {sentence}", file=sys.stderr)
        call_plugins("mlxpy_run_ended", run=self)
        if self._streams:
            self._streams.stop()
        if _current is self:
            _current = None

    # The program's side of a stop.

    @property
    def should_stop(self) -> bool:
        """Whether a signal has announced the end; asking takes over the duty to stop."""
        self._listens_for_stop = True
        self._stop_heard = self._stop_heard or self._stop_announced
        return self._stop_announced

    def on_stop(self, callback: Callable[[], object]) -> None:
        """Calls `callback` when a signal announces the end; takes over the duty to stop."""
        self._stop_callbacks.append(callback)

    # The signals' side of a stop.

    def announce_stop(self, signal_name: str) -> bool:
        """Tells the program that it is to stop; false if it does not listen."""
        if self._ended or not (self._listens_for_stop or self._stop_callbacks):
            return False
        if self._stop_announced:  # OAR says it again and again
            return True
        self._stop_announced, self._signal = True, signal_name
        for callback in self._stop_callbacks:
            self._stop_heard = True
            callback()
        return True

    def interrupt(self, signal_name: str) -> None:
        """Writes INTERRUPTED: a signal is about to end the process."""
        self._interrupted, self._signal = True, signal_name
        self._try_status(Status.INTERRUPTED)

    def carry_on(self) -> None:
        """Writes RUNNING again: the process went on after the signal."""
        self._interrupted, self._signal = False, None
        self._try_status(Status.RUNNING)

    def _try_status(self, status: Status) -> None:
        if self._ended:
            return
        # While the last word is written a signal does not change it, only sees to it that it is there.
        if not self._ending:
            set_status(self.info, status, signal=self._signal)
        try:
            self._write_info(ended=self._ending)
        except StorageError as refusal:
            print(f"mlxpy: {refusal}", file=sys.stderr)

    def _list_requirements(self) -> None:
        """Notes what the program has imported so far, if the version manager is to say so."""
        version = self.info["version_manager"]
        if version and version.get("requirements") is not None and self.rank == 0:
            version["requirements"] = requirements_of(version)

    def _write_info(self, *, ended: bool = False) -> None:
        if self.rank:
            if ended and read_status(self.directory) in ENDED:
                # Rank 0 was faster: readers that have looked since look again.
                with contextlib.suppress(OSError):
                    os.utime(self.directory.info)
            return
        if self.superseded:
            print(f"mlxpy: {self.superseded_sentence}", file=sys.stderr)
            return
        write_whole(self.directory.info, dump_yaml(self.info))
        self._info_stamp = stamp_of(self.directory.info)
        write_summary(self.directory, self.config, self.info, ended=ended)


def _at_fork(moment: str) -> Callable[[], None]:
    def tell() -> None:
        if _current:
            getattr(_current._signals, moment)()

    return tell


os.register_at_fork(
    before=_at_fork("before_fork"),
    after_in_parent=_at_fork("after_fork_in_parent"),
    after_in_child=_at_fork("after_fork_in_child"),
)


def _read_info(directory: RunDirectory) -> dict[str, Any]:
    try:
        info = load_yaml(directory.info.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StorageError(f"cannot read {directory.info}", error) from error
    except (ValueError, yaml.YAMLError):
        info = None
    if not isinstance(info, dict) or not isinstance(info.get("attempts"), list):
        raise MlxpyError(
            f"{directory.info} is not what mlxpy wrote, so the run cannot be continued: "
            "mend it or move it away"
        )
    return info


def _is_begun(info: dict[str, Any]) -> bool:
    """Tells whether rank 0 has begun its attempt already, for all that can be seen from here."""
    last = info["attempts"][-1] if info.get("attempts") else {}
    return last.get("status") == Status.RUNNING.value and not died_here(last)


def _settle_last_attempt(info: dict[str, Any], directory: RunDirectory) -> bool:
    """Says KILLED of an attempt that has left no word; refuses beside one that lives.

    Returns:
        Whether its process may live all the same, where it cannot be seen from here.
    """
    if not info.get("attempts") or info["attempts"][-1]["status"] != Status.RUNNING.value:
        return False
    last = info["attempts"][-1]
    put_back = last["job_id"] is not None and last["job_id"] == job_of_this_process()[0]
    if lives_here(last) and not put_back:
        raise MlxpyError(
            f"run {directory.log_id} in {directory.path.parent} is still running on this machine "
            f"(process {last['process_id']}): wait for its end or stop it before continuing it"
        )
    set_killed(info, directory)
    return not died_here(last)


def _keep_other_config(directory: RunDirectory, config: dict[str, Any], attempt: int) -> None:
    if not attempt:
        return  # what was submitted; its ${now:} was another moment
    try:
        text = directory.config.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    if text != dump_yaml(config):
        write_whole(directory.metadata / f"config.{attempt}.yaml", text)
