"""The last value of a metric of many runs, without parsing all that was logged.

Only the end of a file is read. What ended runs logged last is cached: a table of a row a run, with the
value in the column of its kind.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mlxpy_core._io._files import open_regular
from mlxpy_core._io._flatten import flat_row
from mlxpy_core._io._retries import Retries
from mlxpy_core._reading._tables._cache_place import CachePlace
from mlxpy_core._reading._tables._catalog import Catalog
from mlxpy_core._reading._tables._columns import MISSING, TypedColumns, encode_rows
from mlxpy_core._reading._tables._log_source import source_of_log
from mlxpy_core._reading._tables._metric_batch import file_name
from mlxpy_core._reading._tables._segments import Ints, SegmentStore
from mlxpy_core._runs._metrics_files import file_of_log

_VALUE = "value"
_TAIL = 2**14  # bytes
_MOST_BRACKETS = 100


class LastValues:
    """The last values of one metric.

    Args:
        catalog: all runs.
        cache: where the cache of metrics lies.
        log: the log that the metric is of.
        key: its key.
    """

    def __init__(self, catalog: Catalog, cache: CachePlace, log: str, key: str) -> None:
        self._catalog = catalog
        self._log = log
        self._key = key
        # No log's name begins with a dot, and no key may name another directory.
        place = cache.below(".last").below(file_name(log)).below(f"key-{file_name(key)}")
        self._store = SegmentStore(place)
        self._source = source_of_log(catalog, log)

    def of(self, positions: Ints) -> list[Any]:
        """Returns the last value that each of some runs logged, `MISSING` where there is none."""
        values: list[Any] = [MISSING] * len(positions)
        unread = np.ones(len(positions), dtype=bool)
        for places, found in self._cached(positions):
            unread[places] = False
            for place, value in zip(places.tolist(), found, strict=True):
                values[place] = value
        retries = Retries()
        read = []
        for place in np.flatnonzero(unread).tolist():
            with contextlib.suppress(OSError):  # the next time looks again
                values[place] = self._read(int(positions[place]), retries)
                read.append(place)
        self._keep(positions[read], [values[place] for place in read])
        return values

    def _cached(self, positions: Ints) -> Iterator[tuple[Ints, list[Any]]]:
        """Returns places among `positions`, and the values there."""
        catalog = self._catalog
        place_of = np.full(len(catalog), -1)
        place_of[positions] = np.arange(len(positions))
        covered = np.zeros(len(catalog), dtype=bool)
        segments, valid = self._store.load(), []
        for segment in segments:
            rows, runs = self._source.runs.current_rows(segment.runs)
            new = catalog.ended[runs] & ~covered[runs]
            rows, places = rows[new], place_of[runs[new]]
            covered[runs[new]] = True
            valid.append(rows)
            asked = places >= 0
            yield places[asked], TypedColumns(segment.table).values(_VALUE, rows[asked])
        self._store.tidy(segments, valid)

    def _keep(self, positions: Ints, values: Sequence[Any]) -> None:
        kept = np.flatnonzero(self._catalog.ended[positions])
        if not len(kept):
            return
        rows = [
            {} if (value := values[index]) is MISSING else {_VALUE: value} for index in kept.tolist()
        ]
        table = encode_rows(rows)
        columns = dict(zip(table.column_names, table.columns, strict=True))
        self._store.add(pa.table({**self._source.runs.columns(positions[kept]), **columns}))

    def _read(self, position: int, retries: Retries) -> Any:
        path = file_of_log(self._catalog.run_path(position) / "metrics", self._log)
        value = _in_tail(path, self._key, self._catalog.logs)
        if value is not MISSING:
            return value
        rows = self._source.rows(position, [], retries)
        return next((row[self._key] for row in reversed(rows) if self._key in row), MISSING)


def _in_tail(path: Path, key: str, logs: Path) -> Any:
    """Looks for a key in the last whole rows of a file; `MISSING` does not mean that no row has it."""
    try:
        with os.fdopen(open_regular(path, logs), "rb") as file:
            start = max(0, os.fstat(file.fileno()).st_size - _TAIL)
            file.seek(start)
            lines = file.read().split(b"\n")[1 if start else 0 : -1]
    except OSError:
        return MISSING
    try:
        for line in reversed(lines):
            if line.count(b"{") + line.count(b"[") > _MOST_BRACKETS:
                break
            row = json.loads(line)
            if isinstance(row, dict) and key in (row := row | flat_row(row)):
                return row[key]
    except ValueError:
        pass
    return MISSING  # also for what is no row, or nests too deep: `read_rows` knows how to leave it out
