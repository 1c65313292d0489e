"""The metrics of many runs as Arrow columns; what ended runs logged is parsed once.

A log (one metrics file of each run) is a table with a row a run, see `Batch`.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mlxpy_core._io._progress import with_progress
from mlxpy_core._io._retries import Retries
from mlxpy_core._runs._metrics_files import file_of_log, is_app_log, shown_log

from ._app_logs import AppLogs
from ._arrays import arrow_integers, numpy_array
from ._cache_place import CachePlace
from ._catalog import Catalog
from ._columns import ARROW_TYPES
from ._log_source import LogSource, source_of_log
from ._metric_batch import ROWS, Batch, file_name
from ._metric_lines import read_rows
from ._segments import Ints, Segment, SegmentStore
from ._warnings import warn_of_damaged_lines

_HELD_BYTES = 2**28  # of columns that were read from the cache, for each log
_KINDS = "fibsj"
_PLAIN = ({"b"}, {"s"})  # the kinds besides numbers that Arrow has a type for

Located = tuple[pa.Table, Ints, Ints]
"""Where rows of runs are: a table, the runs' places among those asked for, rows of the table."""
Values = npt.NDArray[Any]


@dataclass(frozen=True)
class Series:
    """What one run logged under one key.

    Attributes:
        values: shape (n,): the values, as numbers, booleans or objects.
        rows: shape (n,): the number of the row that each value was logged with, from 0; None if every
            row has one.
    """

    values: Values
    rows: Ints | None = None


class MetricColumns:
    """The metrics of a catalog's runs.

    Args:
        catalog: the runs.
        cache: where the cache of metrics lies.
        apps: the logs that apps wrote by themselves.

    Attributes:
        cache: as above.
        apps: as above.
    """

    def __init__(self, catalog: Catalog, cache: CachePlace, apps: AppLogs) -> None:
        self._catalog = catalog
        self.cache = cache
        self.apps = apps
        self._logs: dict[str, _Log] = {}

    def values(self, log: str, key: str, positions: Ints) -> list[Values]:
        """Returns what each run logged under a key: arrays of shape (n,)."""
        return _values(self._located(log, key, positions), key, len(positions))

    def series(self, log: str, key: str, positions: Ints) -> list[Series]:
        """Returns the same with the numbers of the rows."""
        located = list(self._located(log, key, positions))  # once: a run may go on between two readings
        found = list(map(Series, _values(located, key, len(positions))))
        for table, places, rows in located:
            here, numbers = _lists(table, key, ROWS, rows)
            for place, of_run in zip(places[here].tolist(), numbers, strict=True):
                found[place] = replace(found[place], rows=of_run)
        return found

    def one(self, log: str, key: str, position: int) -> Series:
        """Returns what one run logged under a key, as `series`; keeps nothing for other runs."""
        if is_app_log(log) or self._log(log).has_at_hand(key, position):
            return self.series(log, key, np.array([position]))[0]
        path = file_of_log(self._catalog.run_path(position) / "metrics", log)
        rows = read_rows(path, [], self._catalog.logs)
        numbers = [number for number, row in enumerate(rows) if key in row]
        values = _objects([rows[number][key] for number in numbers])
        return Series(values, np.array(numbers) if len(numbers) < len(rows) else None)

    def arrow(self, log: str, key: str, positions: Ints) -> pa.ChunkedArray:
        """Returns the same as one Arrow column of lists.

        Values that are not all numbers, all strings or all booleans are given as JSON text.
        """
        located = list(self._located(log, key, positions))
        kinds = [
            {kind for kind in _KINDS if f"{key}:{kind}" in table.schema.names} for table, _, _ in located
        ]
        together = set().union(*kinds)
        if any(len(here) != 1 for here in kinds) or not (together <= {"i", "f"} or together in _PLAIN):
            return _from_python([values.tolist() for values in self.values(log, key, positions)])
        value_type = pa.list_(ARROW_TYPES["f" if "f" in together else min(together, default="f")])
        chunks = [
            chunk.cast(value_type)
            for (table, _, rows), (kind,) in zip(located, kinds, strict=True)
            for chunk in _take(table[f"{key}:{kind}"], rows).chunks
        ]
        column = pa.chunked_array(chunks, value_type)
        order = np.concatenate([places for _, places, _ in located]) if located else positions
        in_order = np.array_equal(order, np.arange(len(order)))
        return column if in_order else column.take(arrow_integers(np.argsort(order)))

    def _log(self, log: str) -> "_Log":
        if log not in self._logs:
            own = not is_app_log(log)
            source = source_of_log(self._catalog, log) if own else self.apps.source(log)
            cache = self.cache if own else self.apps.cache
            self._logs[log] = _Log(log, self._catalog, source, cache.below(file_name(log)))
        return self._logs[log]

    def _located(self, log: str, key: str, positions: Ints) -> Iterator[Located]:
        return self._log(log).located(key, positions)


class _Log:
    """One log of all runs."""

    def __init__(self, name: str, catalog: Catalog, source: LogSource, cache: CachePlace) -> None:
        self._name = name
        self._catalog = catalog
        self._source = source
        self._store = SegmentStore(cache)
        self._segments: list[Segment] = []
        self._held: dict[tuple[int, str], pa.Table] = {}  # what was read of them, the last one last
        # Where the row of each run is, by its position in the catalog; -1 while it has none.
        self._segment_of = np.full(len(catalog), -1)
        self._row_of = np.full(len(catalog), -1)
        segments = self._store.load(columns=())
        valid = [self._add(segment) for segment in segments]
        self._store.tidy(segments, valid)

    def has_at_hand(self, key: str, position: int) -> bool:
        """Returns whether what a run logged under a key is faster to have from the cache than parsed."""
        index = int(self._segment_of[position])
        if index < 0:
            return False
        segment = self._segments[index]
        # Of a file whose columns are not all held together, each run would read a column again.
        return segment.file_size <= _HELD_BYTES or (index, key) in self._held

    def located(self, key: str, positions: Ints) -> Iterator[Located]:
        """Returns where a key of some runs is: of those that are kept from the cache, which grows."""
        tables = self._tables(key, positions)
        unread = positions[self._segment_of[positions] < 0]
        kept = self._source.kept[unread]
        for table in self._read(unread[kept]):
            self._store.add(table)
            tables[len(self._segments)] = table
            self._add(Segment.of(table))
        segment_of = self._segment_of[positions]
        left = np.ones(len(positions), dtype=bool)
        for index, table in tables.items():
            places = np.flatnonzero(segment_of == index)
            left[places] = False
            yield table, places, self._row_of[positions[places]]
        # Other runs are read each time.
        for table in self._read(unread[~kept]):
            here = Segment.of(table).runs.log_ids
            log_ids = self._catalog.runs.log_ids[positions]
            order = np.argsort(here)
            places = np.flatnonzero(np.isin(log_ids, here))
            left[places] = False
            yield table, places, order[np.searchsorted(here[order], log_ids[places])]
        if left.any():  # they cannot be read now: without rows, and not in the cache
            batch, places = Batch(), np.flatnonzero(left)
            for position in positions[places].tolist():
                batch.add(position, [])
            yield batch.table(self._source.runs), places, np.arange(len(places))

    def _tables(self, key: str, positions: Ints) -> dict[int, pa.Table]:
        """Returns the segments of some runs with the columns of a key; a lost one covers no run."""
        tables = {}
        segment_of = self._segment_of[positions]
        for index in np.unique(segment_of[segment_of >= 0]).tolist():
            table = self._table(index, key)
            if table is None:
                self._segment_of[self._segment_of == index] = -1
            else:
                tables[index] = table
        return tables

    def _table(self, index: int, key: str) -> pa.Table | None:
        segment = self._segments[index]
        if segment.path is None:
            return segment.table
        table = self._held.pop((index, key), None)
        if table is None:
            table = self._store.columns(segment, [f"{key}:{kind}" for kind in (*_KINDS, ROWS)])
        if table is None:  # another reader has merged the file, or its file system is away
            return None
        self._held[index, key] = table
        while len(self._held) > 1 and sum(one.nbytes for one in self._held.values()) > _HELD_BYTES:
            del self._held[next(iter(self._held))]
        return table

    def _add(self, segment: Segment) -> Ints:
        rows, positions = self._source.runs.current_rows(segment.runs)
        new = self._source.kept[positions] & (self._segment_of[positions] < 0)
        rows, positions = rows[new], positions[new]
        self._segment_of[positions] = len(self._segments)
        self._row_of[positions] = rows
        self._segments.append(segment)
        return rows

    def _read(self, positions: Ints) -> Iterator[pa.Table]:
        """Parses the runs' files; in batches, so that memory and what a kill loses are bounded."""
        batch = Batch()
        damaged: list[str] = []
        retries = Retries()
        for position in with_progress(positions.tolist(), f"reading metrics {shown_log(self._name)}"):
            try:
                batch.add(position, self._source.rows(position, damaged, retries))
            except OSError as error:  # the next opening looks again
                run = self._catalog.run_path(position)
                damaged.append(f"{error.filename or run} ({error.strerror})")
            if batch.full:
                yield batch.table(self._source.runs)
                batch = Batch()
        if batch.positions:
            yield batch.table(self._source.runs)
        warn_of_damaged_lines(damaged, stacklevel=2)


def _values(located: Iterable[Located], key: str, count: int) -> list[Values]:
    found: list[Values] = [np.zeros(0)] * count
    for table, places, rows in located:
        for kind in _KINDS:
            here, values = _lists(table, key, kind, rows)
            for place, value in zip(places[here].tolist(), values, strict=True):
                found[place] = value
    return found


def _take(column: pa.ChunkedArray, rows: Ints) -> pa.ChunkedArray:
    if len(rows) and np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows))):
        return column.slice(rows[0], len(rows))  # not copied
    return column.take(arrow_integers(rows))


def _lists(table: pa.Table, key: str, kind: str, rows: Ints) -> tuple[Ints, list[Values]]:
    """Returns the lists of a column in some rows: the places of those that have one, and the lists."""
    name = f"{key}:{kind}"
    if name not in table.schema.names:
        return np.zeros(0, dtype=np.int64), []
    lists = _take(table[name], rows).combine_chunks()
    places = np.flatnonzero(numpy_array(lists.is_valid()))
    offsets = numpy_array(lists.offsets)
    bounds = zip(offsets[places].tolist(), offsets[places + 1].tolist(), strict=True)
    values = lists.values
    if kind in "sj" or values.null_count:
        return places, [_decode(values[start:end], kind) for start, end in bounds]
    plain = numpy_array(values)
    return places, [plain[start:end] for start, end in bounds]


def _decode(values: pa.Array, kind: str) -> Values:
    if kind == "j":
        return _objects([json.loads(text) for text in values.to_pylist()])
    if kind == "s" or values.null_count:
        return _objects(values.to_pylist())
    return numpy_array(values)


def _objects(values: list[Any]) -> Values:
    array = np.empty(len(values), dtype=object)
    for index, value in enumerate(values):
        array[index] = value
    return array


def _from_python(lists: list[list[Any]]) -> pa.ChunkedArray:
    try:
        return pa.chunked_array([pa.array(lists)])
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeEncodeError):
        return pa.chunked_array([[[json.dumps(value) for value in values] for values in lists]])
