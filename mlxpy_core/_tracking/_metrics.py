"""Metrics: one file a log, one JSON object a line, on its way to disk when `write` returns."""

import contextlib
import json
import math
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlxpy_core._errors import InvalidNameError, RunEndedError, StorageError, UnstorableValueError
from mlxpy_core._io._files import open_in_place, write_whole
from mlxpy_core._io._flatten import flat_row
from mlxpy_core._io._retries import OUTAGE_S, Retries
from mlxpy_core._io._text import is_unicode
from mlxpy_core._io._yaml import dump_yaml
from mlxpy_core._runs._metrics_files import _SUFFIX, listed_keys
from mlxpy_core._runs._names import check_name, check_unlinked
from mlxpy_core._runs._row_times import times_file

from ._appended_file import AppendedFile
from ._row_times import RowTimes

# The reader's columns ``config.*``, ``info.*`` and the like would clash with a log of the same name.
RESERVED_LOG_NAMES = frozenset({"artifact", "config", "info", "mlxpy"})

_PLAIN = frozenset({bool, float, int, str, type(None)})
_BYTES = (bytes, bytearray, memoryview)
_LARGEST_ARRAY = 10_000  # elements; larger ones would make rows slow to read
_DEEPEST = 50  # levels; the reader takes rows of 100 for an attack
_OPEN_FILES = 64
_LOOK_S = 1.0


@dataclass
class _Log:
    """One open metrics file, the keys that its rows are known to hold, and how many these are."""

    file: AppendedFile
    keys: set[str]
    rows: int
    next_note: float = 0.0  # when a row's time is to be noted, by time.monotonic


class MetricsWriter:
    """Appends rows to the metrics files of one run.

    Each row is one ``write(2)`` of a whole line to a file opened with O_APPEND: what was written is
    the kernel's, and no death of this process loses it. A file system that goes away for a while is
    waited for.

    Args:
        directory: the run's ``metrics`` directory; made with the first row.
        keys_file: where the keys of each log are listed for the reader.
        locate: called now and then, and before a file is opened; it calls `move_to` where the directory
            is another one by now.

    Attributes:
        lock: held by who writes a row; whoever holds it may move or change the files of other threads.
        released: whether the program has logged no row since `release`.
    """

    def __init__(
        self, directory: Path, keys_file: Path, *, locate: Callable[[], object] = lambda: None
    ) -> None:
        self._locate = locate
        self._next_look = 0.0
        self._directory = directory
        self._keys_file = keys_file
        self._keys = listed_keys(directory, keys_file)
        self._logs: dict[str, _Log] = {}
        self._rows_of_closed: dict[str, int] = {}
        self._times = RowTimes(self._open_times)
        self._closed = False
        self.released = True
        # Reentrant: a signal handler may log while the main thread is logging.
        self.lock = threading.RLock()

    def write(self, row: Mapping[str, Any], log_name: str) -> None:
        """Appends one row to the log `log_name`; see `Logger.log_metrics`."""
        if type(row) is not dict:
            row = _as_dict(row, log_name)
        with self.lock:
            try:
                self._write(row, log_name)
            except OSError as error:
                raise _refusal(error, log_name) from error
            self.released = False

    def write_beside(self, row: dict[str, Any], log_name: str) -> None:
        """Appends a row that the program has not logged: it may still resume an earlier attempt."""
        with self.lock:
            self._write(row, log_name)

    def _write(self, row: dict[str, Any], log_name: str) -> None:
        log = self._logs.get(log_name)
        now = time.monotonic()
        if log is None or now > self._next_look or not log.keys.issuperset(row):
            self._look()
            log = self._logs.get(log_name) or self._open(log_name)
        # Keys that were seen before are strings, and listed in the keys file.
        if not log.keys.issuperset(row):
            _check_keys(row, log_name)
        columns = row
        for value in row.values():
            if type(value) not in _PLAIN:
                row = {key: _plain(value, key, log_name) for key, value in row.items()}
                columns = flat_row(row)
                break
        if not log.keys.issuperset(columns):
            self._list_keys(log, columns, log_name)
        log.file.append((json.dumps(row) + "\n").encode())
        log.rows += 1
        if now > log.next_note:
            log.next_note = self._times.note(log_name, log.rows - 1, now)

    def move_to(self, directory: Path, keys_file: Path) -> None:
        """Writes to another directory from now on; files that are open there are opened again."""
        with self.lock:
            self._directory, self._keys_file = directory, keys_file
            for log in self._logs.values():
                log.file.detach()
            self._times.detach()

    def release(self, retries: Retries | None = None) -> None:
        """Closes the files; the next row opens its file again.

        Args:
            retries: bounds the time that a file system is waited for.

        Raises:
            StorageError: rows that were logged are not there.
        """
        retries = retries or Retries(OUTAGE_S, announce=True)
        refusals = []
        with self.lock:
            self.released = True
            self._rows_of_closed.clear()  # who has them closed may take rows away
            while self._logs:
                log_name, log = self._logs.popitem()
                try:
                    log.file.close(retries)
                except OSError as error:
                    refusals.append(_refusal(error, log_name))
            self._times.close(retries)
        if refusals:
            raise refusals[0]

    def close(self, retries: Retries | None = None) -> None:
        """Closes the files for good; see `release`."""
        with self.lock:
            self._closed = True
            self.release(retries)

    def after_fork_in_child(self) -> None:
        """Forgets who held the lock: of the threads, only the one that forked is here."""
        self.lock = threading.RLock()

    def _look(self) -> None:
        """Looks where the files are now, and whether they have what was appended."""
        Retries(OUTAGE_S, announce=True)(self._locate)
        for log in self._logs.values():
            log.file.look()
        self._times.look()
        self._next_look = time.monotonic() + _LOOK_S

    def _open(self, log_name: str) -> _Log:
        if self._closed:
            raise RunEndedError(f"cannot log metrics {log_name!r}: the run has ended")
        check_name(log_name, "log_name")
        if log_name.split("/")[0] in RESERVED_LOG_NAMES:
            raise InvalidNameError(
                f"log_name {log_name!r} is reserved: choose one that does not begin with "
                f"{', '.join(sorted(RESERVED_LOG_NAMES))}"
            )
        if re.match(r"(rank|subprocess)\d+/", log_name):
            raise InvalidNameError(
                f"log_name {log_name!r} is reserved for the logs of rank 1, 2, … and of subprocess "
                "1, 2, …: choose another name"
            )
        check_unlinked(self._path(log_name), self._run, f"log_name {log_name!r}")
        if len(self._logs) >= _OPEN_FILES:
            oldest = next(iter(self._logs))
            self._logs[oldest].file.close(Retries(OUTAGE_S, announce=True))
            self._rows_of_closed[oldest] = self._logs.pop(oldest).rows

        def open_file() -> int:
            return open_in_place(self._path(log_name), self._run.parent, os.O_RDWR | os.O_APPEND)

        file = AppendedFile(open_file, _refused(log_name))
        Retries(OUTAGE_S, announce=True)(file.open)
        rows = self._rows_of_closed.pop(log_name, None)
        rows = file.count_lines() if rows is None else rows
        log = _Log(file, self._keys.setdefault(log_name, set()), rows)
        self._logs[log_name] = log
        return log

    def _open_times(self) -> int:
        self._locate()
        path = times_file(self._keys_file)
        return open_in_place(path, self._run.parent, os.O_RDWR | os.O_APPEND)

    def _path(self, log_name: str) -> Path:
        self._locate()
        return self._directory / (log_name + _SUFFIX)

    @property
    def _run(self) -> Path:
        return self._keys_file.parent.parent

    def _list_keys(self, log: _Log, columns: Iterable[str], log_name: str) -> None:
        # Listed before the row is written: the list may name a key too many, never one too few.
        new = [key for key in columns if key not in log.keys]
        listed = {**self._keys, log_name: log.keys.union(new)}
        content = {name: sorted(keys) for name, keys in listed.items() if keys}
        retries = Retries(OUTAGE_S, announce=True)
        write_whole(self._keys_file, dump_yaml(content), self._run.parent, retries)
        log.keys.update(new)


def _refusal(error: OSError, log_name: str) -> StorageError:
    if isinstance(error, StorageError):
        return error
    return StorageError(_refused(log_name), error)


def _refused(log_name: str) -> str:
    return f"cannot log metrics {log_name!r}"


def _as_dict(row: Any, log_name: str) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        raise UnstorableValueError(
            f"metrics of {log_name!r} must be a dict of names and numbers, not {type(row).__name__}: "
            "give one such as {'loss': 0.3}"
        )
    return dict(row)


def _check_keys(keys: Iterable[Any], log_name: str) -> None:
    for key in keys:
        if not isinstance(key, str):
            raise UnstorableValueError(
                f"metrics of {log_name!r} have the key {key!r}: give keys that are strings"
            )
        if not is_unicode(key):
            raise UnstorableValueError(
                f"metrics of {log_name!r} have the key {key!r}, which is no text: "
                "give one that UTF-8 can hold"
            )


def _plain(value: Any, key: str, log_name: str, depth: int = 0) -> Any:
    """Turns a value of any library into what JSON holds."""
    if isinstance(value, Mapping):
        return _plain_dict(value, key, log_name, depth)
    if not isinstance(value, (bool, float, int, str)) and hasattr(value, "item"):
        with contextlib.suppress(TypeError, ValueError, RuntimeError):  # several elements
            value = value.item()
    # Subclasses (np.float64, IntEnum) are stored as the plain value that they are.
    for plain_type in (bool, int, float, str):
        if isinstance(value, plain_type):
            return plain_type(value) if plain_type is not str else str.__str__(value)
    if value is None:
        return None
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and hasattr(value, "tolist") and math.prod(shape) <= _LARGEST_ARRAY:
        value = value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, _BYTES):
        _check_depth(depth, key, log_name)
        return [
            item if type(item) in _PLAIN else _plain(item, key, log_name, depth + 1) for item in value
        ]
    kind = type(value).__name__ + (f" of shape {tuple(shape)}" if shape is not None else "")
    raise UnstorableValueError(
        f"metrics of {log_name!r}: the value of {key!r} has the type {kind}, which is no metric; log "
        "numbers, strings, booleans, None, lists and dicts of them, or arrays of at most "
        f"{_LARGEST_ARRAY:,} elements (anything else goes to log_artifact)"
    )


def _plain_dict(value: Mapping[Any, Any], key: str, log_name: str, depth: int) -> dict[str, Any]:
    _check_depth(depth, key, log_name)
    # As JSON has them: a number that counts classes, say, becomes its text.
    texts = [str(name) if type(name) is int else name for name in value]
    _check_keys(texts, log_name)
    if len(set(texts)) < len(texts):
        raise UnstorableValueError(
            f"metrics of {log_name!r}: {key!r} has a key as text and as number: keep one"
        )
    return {
        name: _plain(item, f"{key}.{name}", log_name, depth + 1)
        for name, item in zip(texts, value.values(), strict=True)
    }


def _check_depth(depth: int, key: str, log_name: str) -> None:
    if depth == _DEEPEST:
        raise UnstorableValueError(
            f"metrics of {log_name!r}: the value of {key[:100]!r} nests deeper than {_DEEPEST} levels: "
            "log_artifact takes it"
        )
