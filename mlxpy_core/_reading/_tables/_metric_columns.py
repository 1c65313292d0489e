"""The metrics of many runs as Arrow columns; what ended runs logged is parsed once.

A log (one metrics file of each run) is a table with a row a run. The values that a run logged under a
key are one list, in the column of their kind: ``<key>:<kind>``. Where not every row has the key,
``<key>:r`` holds the numbers of those that do.
"""

import contextlib
import json
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from mlxpy_core._io._files import read_bytes, stamp_of
from mlxpy_core._io._flatten import flat_row
from mlxpy_core._io._progress import with_progress
from mlxpy_core._io._retries import Retries
from mlxpy_core._io._text import is_unicode
from mlxpy_core._runs._metrics_files import file_of_log, is_of_other_rank

from ._arrays import arrow_array, arrow_integers, numpy_array
from ._cache_place import CachePlace
from ._catalog import Catalog, UnreadableRunWarning, current_places
from ._columns import ARROW_TYPES
from ._segments import CHANGED, LOG_ID, SIZE, Ints, Segment, SegmentStore

_BATCH_BYTES, _BATCH_RUNS = 2**26, 10_000
_HELD_BYTES = 2**28  # of columns that were read from the cache, for each log
_DEEPEST = 100  # levels
_SETTLES_S = 5  # a network file system may be asked once a second only, by each of its layers
_LARGEST = 2**31  # bytes of a metrics file; a sparse one of another user could exceed memory
_EXACT = 2**53  # integers up to here are floats without rounding
_KINDS = "fibsj"
_PLAIN = ({"b"}, {"s"})  # the kinds besides numbers that Arrow has a type for
ROWS = "r"

Located = tuple[pa.Table, Ints, Ints]
"""Where rows of runs are: a table, the runs' places among those asked for, rows of the table."""
Row = dict[str, Any]
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

    Attributes:
        cache: the same.
    """

    def __init__(self, catalog: Catalog, cache: CachePlace) -> None:
        self._catalog = catalog
        self.cache = cache
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
        if self._log(log).has_at_hand(key, position):
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
            self._logs[log] = _Log(log, self._catalog, self.cache.below(file_name(log)))
        return self._logs[log]

    def _located(self, log: str, key: str, positions: Ints) -> Iterator[Located]:
        return self._log(log).located(key, positions)


class _Log:
    """One log of all runs."""

    def __init__(self, name: str, catalog: Catalog, cache: CachePlace) -> None:
        self._name = name
        self._catalog = catalog
        self._store = SegmentStore(cache)
        self._segments: list[Segment] = []
        self._held: dict[tuple[int, str], pa.Table] = {}  # what was read of them, the last one last
        self._stamps = (catalog.changed, catalog.sizes)
        if is_of_other_rank(name):
            # Other ranks may go on for a while when rank 0 has ended the run.
            self._stamps = stamps_of([self._path(position) for position in range(len(catalog))])
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
        """Returns where a key of some runs is: of ended ones from the cache, which is added to."""
        tables = self._tables(key, positions)
        unread = positions[self._segment_of[positions] < 0]
        ended = self._catalog.ended[unread] & self._has_settled(unread)
        for table in self._read(unread[ended]):
            self._store.add(table)
            tables[len(self._segments)] = table
            self._add(Segment.of(table))
        segment_of = self._segment_of[positions]
        left = np.ones(len(positions), dtype=bool)
        for index, table in tables.items():
            places = np.flatnonzero(segment_of == index)
            left[places] = False
            yield table, places, self._row_of[positions[places]]
        # Runs that go on are read each time.
        for table in self._read(unread[~ended]):
            segment = Segment.of(table)
            log_ids = self._catalog.log_ids[positions]
            order = np.argsort(segment.log_ids)
            places = np.flatnonzero(np.isin(log_ids, segment.log_ids))
            left[places] = False
            yield table, places, order[np.searchsorted(segment.log_ids[order], log_ids[places])]
        if left.any():  # they cannot be read now: without rows, and not in the cache
            batch, places = _Batch(), np.flatnonzero(left)
            for position in positions[places].tolist():
                batch.add(position, [])
            yield batch.table(self._catalog.log_ids, *self._stamps), places, np.arange(len(places))

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
        catalog = self._catalog
        places = current_places(segment, catalog.log_ids, *self._stamps)
        rows = np.flatnonzero(places >= 0)
        rows = rows[catalog.ended[places[rows]] & (self._segment_of[places[rows]] < 0)]
        self._segment_of[places[rows]] = len(self._segments)
        self._row_of[places[rows]] = rows
        self._segments.append(segment)
        return rows

    def _has_settled(self, positions: Ints) -> npt.NDArray[np.bool_]:
        """Returns which runs ended so long ago that no mount has the old length of a file any more."""
        changed = self._stamps[0][positions]
        return np.less(changed, (time.time() - _SETTLES_S) * 1e9)

    def _path(self, position: int) -> Path:
        return file_of_log(self._catalog.run_path(position) / "metrics", self._name)

    def _read(self, positions: Ints) -> Iterator[pa.Table]:
        """Parses the runs' files; in batches, so that memory and what a kill loses are bounded."""
        batch = _Batch()
        damaged: list[str] = []
        retries = Retries()
        for position in with_progress(positions.tolist(), f"reading metrics {self._name}"):
            path = self._path(position)
            try:
                batch.add(position, rows_in(path, damaged, self._catalog.logs, retries))
            except OSError as error:  # the next opening looks again
                damaged.append(f"{path} ({error.strerror})")
            if batch.full:
                yield batch.table(self._catalog.log_ids, *self._stamps)
                batch = _Batch()
        if batch.positions:
            yield batch.table(self._catalog.log_ids, *self._stamps)
        if damaged:
            more = f" and {len(damaged) - 5} more" if len(damaged) > 5 else ""
            warnings.warn(
                f"lines that are no rows are left out: {', '.join(damaged[:5])}{more}",
                UnreadableRunWarning,
                stacklevel=2,
            )


class _Batch:
    """Columns that grow by a run at a time."""

    def __init__(self) -> None:
        self.positions: list[int] = []
        self._cells: dict[str, dict[int, pa.Array]] = {}
        self._bytes = 0

    @property
    def full(self) -> bool:
        return self._bytes >= _BATCH_BYTES or len(self.positions) >= _BATCH_RUNS

    def add(self, position: int, rows: Sequence[Row]) -> None:
        index = len(self.positions)
        self.positions.append(position)
        for key in dict.fromkeys(key for row in rows for key in row):
            if not is_unicode(key):
                continue  # Arrow cannot name a column so, and mlxpy logs no such key
            values = [row[key] for row in rows if key in row]
            kind, cell = _encode_cell(values)
            self._put(f"{key}:{kind}", index, cell)
            if len(values) < len(rows):
                numbers = [number for number, row in enumerate(rows) if key in row]
                self._put(f"{key}:{ROWS}", index, arrow_integers(numbers))

    def table(self, log_ids: Ints, changed: Ints, sizes: Ints) -> pa.Table:
        positions = np.array(self.positions, dtype=np.int64)
        columns = {
            LOG_ID: arrow_integers(log_ids[positions]),
            CHANGED: arrow_integers(changed[positions]),
            SIZE: arrow_integers(sizes[positions]),
        }
        for name, cells in self._cells.items():
            columns[name] = _list_array(cells, len(positions))
        return pa.table(columns)

    def _put(self, column: str, index: int, cell: pa.Array) -> None:
        self._cells.setdefault(column, {})[index] = cell
        self._bytes += cell.nbytes


def stamps_of(paths: Sequence[Path]) -> tuple[Ints, Ints]:
    """Returns the halves of the files' stamps; 0 where there is none."""
    stamps = np.zeros((2, len(paths)), dtype=np.int64)
    for position, path in enumerate(paths):
        with contextlib.suppress(OSError):
            stamps[:, position] = stamp_of(path)
    return stamps[0], stamps[1]


def read_rows(path: Path, damaged: list[str], logs: Path) -> list[Row]:
    """Reads a metrics file as `rows_in`; one that cannot be read holds no rows."""
    try:
        return rows_in(path, damaged, logs, Retries())
    except OSError as error:
        damaged.append(f"{path} ({error.strerror})")
        return []


def rows_in(path: Path, damaged: list[str], logs: Path, retries: Retries) -> list[Row]:
    """Reads a metrics file; a torn last line is no row yet.

    Rows with nested dicts have the leaves of these besides, see `flat_row`.

    Args:
        path: the file; one that does not exist holds no rows.
        damaged: gets a note on each line that is no row.
        logs: the directory of all runs.
        retries: bounds the time that a file system is waited for.

    Raises:
        OSError: it cannot be read.
    """
    try:
        content = retries(lambda: read_bytes(path, logs, limit=_LARGEST))
    except FileNotFoundError:
        return []
    lines = content.split(b"\n")[:-1]
    rows = _parsed(lines, content, path, damaged)
    # The dicts themselves stay, too: for MLXP they are the column.
    return [row | flat_row(row) for row in rows] if content.count(b"{") > len(lines) else rows


def _parsed(lines: Sequence[bytes], content: bytes, path: Path, damaged: list[str]) -> list[Row]:
    # Rows could nest deeper than anything can read.
    if content.count(b"{") + content.count(b"[") < len(lines) + _DEEPEST:
        with contextlib.suppress(ValueError):
            rows = json.loads(b"[" + b",".join(lines) + b"]")
            if len(rows) == len(lines) and all(type(row) is dict for row in rows):
                return list(rows)
    return [row for number, line in enumerate(lines, 1) for row in _row(line, path, number, damaged)]


def _row(line: bytes, path: Path, number: int, damaged: list[str]) -> list[Row]:
    row = None
    with contextlib.suppress(ValueError, RecursionError):
        row = json.loads(line)
    if isinstance(row, dict) and not _nests(row, _DEEPEST):
        return [row]
    if line.strip():
        damaged.append(f"{path}, line {number}")
    return []


def _nests(value: Any, depth: int) -> bool:
    """Returns whether containers nest deeper than `depth`."""
    if not isinstance(value, (dict, list)):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return depth == 0 or any(_nests(one, depth - 1) for one in inner)


def _encode_cell(values: list[Any]) -> tuple[str, pa.Array]:
    types = set(map(type, values)) - {type(None)}
    kind = "j"
    if types == {float} or (types == {int, float} and _exact(values)):
        kind = "f"
    elif types == {int}:
        kind = "i"
    elif types == {bool}:
        kind = "b"
    elif types == {str}:
        kind = "s"
    if kind != "j":
        try:
            return kind, arrow_array(values, ARROW_TYPES[kind])
        except (OverflowError, UnicodeEncodeError, pa.ArrowInvalid):  # beyond 64 bits, no Unicode
            pass
    return "j", arrow_array([json.dumps(value) for value in values], pa.string())


def _exact(values: list[Any]) -> bool:
    return all(abs(value) <= _EXACT for value in values if type(value) is int)


def _list_array(cells: dict[int, pa.Array], length: int) -> pa.Array:
    lengths = np.zeros(length + 1, dtype=np.int64)
    missing = np.ones(length, dtype=bool)
    for index, cell in cells.items():
        lengths[index + 1] = len(cell)
        missing[index] = False
    offsets = arrow_integers(np.cumsum(lengths)).cast(pa.int32())
    mask = arrow_array(missing.tolist(), pa.bool_())
    return pa.ListArray.from_arrays(offsets, pa.concat_arrays(cells.values()), mask=mask)


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


def file_name(name: str) -> str:
    """Returns a name as that of a file."""
    return quote(name, safe="")
