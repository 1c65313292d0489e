"""A cache of rows in Arrow files, each written whole and never changed; the listing is the index.

Every row names its run by number and by the stamp of its info.yaml, and counts only while the run has
that stamp. So the files need no order and no lock: two processes that add the same rows at once do no
harm. Deleting files loses nothing. Only files that this user has written are read.

They are read and not mapped into memory: on a network file system a mapped file that another host has
removed, or whose server is away, kills the process that looks at it (SIGBUS).
"""

import contextlib
import os
import secrets
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mlxpy_core._errors import StorageError
from mlxpy_core._io._files import whole_file
from mlxpy_core._io._owners import foreign_owner
from mlxpy_core._io._temporary import TEMPORARY_PATTERN, remove_leftover

from ._arrays import arrow_integers, numpy_array
from ._cache_place import CachePlace

LOG_ID, CHANGED, SIZE = "#log_id", "#changed", "#size"
"""The columns that name a row's run: its number, and the stamp of its info.yaml."""

_FORMAT = {b"mlxpy": b"1"}
_LARGE_ROWS, _LARGE_BYTES = 10_000, 2**26  # a file of this size is not merged any more
_MANY = 12  # files
_LEFTOVER_AGE_S = 3600

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class StampedRuns:
    """Runs as they were at some time.

    Attributes:
        log_ids: their numbers.
        changed: the first halves of their stamps: when info.yaml was changed, in nanoseconds.
        sizes: the second halves: the lengths of info.yaml, in bytes.
    """

    log_ids: Ints
    changed: Ints
    sizes: Ints

    def columns(self, positions: Ints) -> dict[str, pa.Array]:
        """Returns the columns of a table that name some of the runs."""
        columns = {LOG_ID: self.log_ids, CHANGED: self.changed, SIZE: self.sizes}
        return {name: arrow_integers(column[positions]) for name, column in columns.items()}

    def current_rows(self, others: "StampedRuns") -> tuple[Ints, Ints]:
        """Returns at which places others are a run as it is here, and the positions of these runs.

        The numbers here ascend; those of the others, the runs of a segment's rows, need not.
        """
        if not len(self.log_ids):
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        positions = np.searchsorted(self.log_ids, others.log_ids)
        positions[positions == len(self.log_ids)] = 0
        rows = np.flatnonzero(
            (self.log_ids[positions] == others.log_ids)
            & (self.changed[positions] == others.changed)
            & (self.sizes[positions] == others.sizes)
        )
        return rows, positions[rows]


@dataclass(frozen=True)
class Segment:
    """The rows of one file.

    Attributes:
        table: the rows, with the columns that were asked for.
        runs: the run of each row, as it was then.
        path: the file; None for rows that are kept nowhere.
        file_size: its length in bytes.
    """

    table: pa.Table
    runs: StampedRuns
    path: Path | None = None
    file_size: int = 0

    @classmethod
    def of(cls, table: pa.Table, path: Path | None = None, file_size: int = 0) -> "Segment":
        """Takes a table with the three columns that name its runs."""
        runs = StampedRuns(*(numpy_array(table[name]) for name in (LOG_ID, CHANGED, SIZE)))
        return cls(table, runs, path, file_size)

    @property
    def large(self) -> bool:
        """Whether the file is best left as it is."""
        return self.table.num_rows >= _LARGE_ROWS or self.file_size >= _LARGE_BYTES


class SegmentStore:
    """The files of one cache.

    Args:
        place: where they lie.
    """

    def __init__(self, place: CachePlace) -> None:
        self._readable = place.readable
        self._writable = place.writable
        self._within = place.within

    def load(self, columns: Collection[str] | None = None) -> list[Segment]:
        """Reads all files; a damaged one, or one of another format, is as good as none.

        Args:
            columns: what is read of them besides the columns that name the runs; None for all.
        """
        segments = [
            segment
            for directory in self._readable
            for path in _arrow_files(directory)
            if (segment := self._read(path, columns))
        ]
        self._remove_leftovers()
        return segments

    def columns(self, segment: Segment, columns: Collection[str] | None) -> pa.Table | None:
        """Reads some columns, or all, of a segment that `load` returned; None if its file is gone."""
        assert segment.path
        again = self._read(segment.path, columns)
        return again.table if again else None

    def add(self, table: pa.Table) -> None:
        """Keeps a table; where that is not possible, it will be made again."""
        if self._writable is None or not table.num_rows:
            return
        with (
            contextlib.suppress(StorageError, OSError),
            whole_file(self._writable / f"{secrets.token_hex(8)}.arrow", self._within) as path,
        ):
            table = table.combine_chunks().replace_schema_metadata(_FORMAT)
            with (
                pa.OSFile(os.fsencode(path), "wb") as file,
                pa.ipc.new_file(file, table.schema) as writer,
            ):
                writer.write_table(table)
            if not _is_mine(path):  # a file system that gives all files to one user
                raise OSError("what is kept here would not be read")

    def tidy(self, segments: Sequence[Segment], valid: Sequence[Ints]) -> None:
        """Merges what has become too many files, or files of mostly stale rows.

        Args:
            segments: what `load` gave.
            valid: the indices of the rows of each that still count.
        """
        ours = [
            (segment, rows)
            for segment, rows in zip(segments, valid, strict=True)
            if segment.path and segment.path.parent == self._writable
        ]
        too_many = sum(not segment.large for segment, _ in ours) > _MANY
        merged = [
            (segment, rows)
            for segment, rows in ours
            if (too_many and not segment.large) or len(rows) < segment.table.num_rows / 2
        ]
        tables = [
            table.take(arrow_integers(rows))
            for segment, rows in merged
            if len(rows) and (table := self.columns(segment, None))
        ]
        if tables:
            self.add(pa.concat_tables(tables, promote_options="default"))
        for segment, _ in merged:
            _remove(segment.path)

    def _read(self, path: Path, columns: Collection[str] | None) -> Segment | None:
        try:
            if not _is_mine(path):
                return None
            with pa.OSFile(os.fsencode(path)) as source:
                schema = pa.ipc.open_file(source).schema
                if schema.metadata == _FORMAT:
                    return Segment.of(_table_of(source, schema, columns), path, source.size())
        except OSError as error:
            if error.errno is not None:  # merged by another process, or a bad moment of the file system
                return None
        except (pa.ArrowException, KeyError):
            pass
        if path.parent == self._writable:
            _remove(path)
        return None

    def _remove_leftovers(self) -> None:
        """Removes what killed processes left half written."""
        if self._writable is None:
            return
        for leftover in self._writable.glob(TEMPORARY_PATTERN):
            with contextlib.suppress(OSError):
                if time.time() - leftover.stat().st_mtime > _LEFTOVER_AGE_S:
                    remove_leftover(leftover)


def _table_of(source: pa.NativeFile, schema: pa.Schema, columns: Collection[str] | None) -> pa.Table:
    options = pa.ipc.IpcReadOptions()
    if columns is not None:
        chosen = {LOG_ID, CHANGED, SIZE, *columns}
        options.included_fields = [i for i, name in enumerate(schema.names) if name in chosen]
    return pa.ipc.open_file(source, options=options).read_all()


def _is_mine(path: Path) -> bool:
    # Another's may say anything of the runs, and offsets that point nowhere crash whoever follows them.
    return foreign_owner(path) is None


def _arrow_files(directory: Path) -> list[Path]:
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []
    return [directory / name for name in names if name.endswith(".arrow") and name[0] != "."]


def _remove(path: Path | None) -> None:
    if path:
        with contextlib.suppress(OSError):
            path.unlink()
