"""A run in a subprocess of its program, which logs there and leaves the rest to the run's process."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mlxpy_core._errors import RunEndedError, StorageError
from mlxpy_core._io._files import Stamp, read_own
from mlxpy_core._io._retries import OUTAGE_S, Retries
from mlxpy_core._io._yaml import load_yaml
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._info_file import info_stamp, read_info
from mlxpy_core._runs._metrics_files import keys_of_subprocess, metrics_of_rank, metrics_of_subprocess
from mlxpy_core._runs._parent_run import run_of_program
from mlxpy_core._runs._process import is_same_process
from mlxpy_core._runs._status import ENDED, Status
from mlxpy_core._runs._subprocesses import take_number

from ._held_directory import HeldDirectory
from ._meetings import later_run_of
from ._metrics import MetricsWriter
from ._run import Run


class SubprocessRun:
    """An attempt at a run in a process that its program has started.

    Its metrics go to files of its own. The run's metadata and its end are the other process's.

    Args:
        held: the run's directory.
        attempt: the number of the attempt, from 1.
        rank: the rank of the process that has started this one.

    Attributes:
        held: the run's directory, held open.
        attempt: the number of the attempt.
        rank: the rank of the other process.
        logger: the user's logger of this run, once there is one.
    """

    superseded = None  # it has ended, then
    logger: object | None = None

    def __init__(self, held: HeldDirectory, attempt: int, rank: int) -> None:
        self.held = held
        self.attempt = attempt
        self.rank = rank
        self._process_id = os.getpid()
        self._directory = held.directory
        self._number = 0
        self._metrics: MetricsWriter | None = None
        self._seen: Stamp | None = None
        self._ended = False

    @classmethod
    def of_fork(cls, run: "Run | SubprocessRun") -> "SubprocessRun":
        """Makes the run of a fork of a process that has one; files are opened with the first row."""
        return cls(run.held, run.attempt, run.rank)

    @property
    def belongs_here(self) -> bool:
        """Whether it is this process's; a fork of it has its own."""
        return os.getpid() == self._process_id

    @property
    def directory(self) -> RunDirectory:
        """The places of the run's files, as they are now."""
        self.locate()
        return self._directory

    def locate(self) -> None:
        """Looks where the run's directory is; one that was moved is followed."""
        directory = self.held.locate()
        if directory != self._directory:
            self._directory, self._seen = directory, None
            if self._metrics:
                self._metrics.move_to(*self._places())

    @property
    def ended(self) -> bool:
        """Whether the run has ended, or another attempt at it has begun."""
        if self._ended:
            return True
        directory = self.directory
        try:
            stamp = info_stamp(directory)
        except OSError:
            return False  # who knows
        if stamp != self._seen:
            info = read_info(directory)
            if info is not None:
                self._seen, self._ended = stamp, not self._goes_on(info)
        return self._ended

    @property
    def metrics(self) -> MetricsWriter:
        """Writes the metrics files of this process.

        Raises:
            RunEndedError: the run has ended.
            StorageError: the file system refused.
        """
        if self.ended:
            raise RunEndedError(f"cannot log metrics: run {self._directory.log_id} has ended")
        if self._metrics is None:
            directory = self._directory
            try:
                self._number = Retries(OUTAGE_S, announce=True)(
                    lambda: take_number(metrics_of_rank(directory.metrics, self.rank), directory.logs)
                )
            except OSError as error:
                raise StorageError(f"cannot log metrics in {directory.path}", error) from error
            self._metrics = MetricsWriter(*self._places(), locate=self.locate)
        return self._metrics

    def logger_name(self) -> str | None:
        """Returns the name of the class of the logger in the run's own process, if it is known."""
        directory = self.directory
        try:
            # It names code: believed is one's own.
            settings = load_yaml(read_own(directory.settings, directory.logs).decode())
            return str(settings["logger"]["name"])
        except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError):
            return None

    def end(self, error: BaseException | None = None) -> None:
        """Closes the metrics files; the run goes on."""
        if self._metrics:
            self._metrics.release()

    def _places(self) -> tuple[Path, Path]:
        directory = self._directory
        return (
            metrics_of_subprocess(metrics_of_rank(directory.metrics, self.rank), self._number),
            keys_of_subprocess(directory.state, self.rank, self._number),
        )

    def _goes_on(self, info: Mapping[str, Any]) -> bool:
        return (
            info.get("run_id") == self.held.run_id
            and len(info["attempts"]) == self.attempt
            and Status(info["status"]) not in ENDED
        )


def run_of_parent() -> SubprocessRun | None:
    """Returns the run under way whose program has started this process, to run a part of itself.

    That program may have had other runs before, which this process has served, too.
    """
    parent_run = run_of_program()
    if parent_run is None:
        return None
    for path in (parent_run.directory, later_run_of(parent_run)):
        directory = RunDirectory(Path(path)) if path else None
        info = read_info(directory) if directory else None
        if not (directory and info and info["attempts"]) or Status(info["status"]) in ENDED:
            continue
        if parent_run.rank or is_same_process(info["attempts"][-1], parent_run.process):
            held = HeldDirectory(directory, info["run_id"])
            return SubprocessRun(held, len(info["attempts"]), parent_run.rank)
    return None
