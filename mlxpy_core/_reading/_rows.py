"""Rows of results: runs of a directory, loaded when they are looked at, or what was made of them."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._flatten import find_field, no_field
from mlxpy_core._io._text import as_unicode
from mlxpy_core._reading._tables._catalog import Catalog
from mlxpy_core._reading._tables._columns import MISSING
from mlxpy_core._reading._tables._metric_columns import MetricColumns, Series
from mlxpy_core._reading._tables._segments import Ints
from mlxpy_core._runs._metrics_files import is_app_log

from ._drawable import Drawable
from ._last_values import LastValues
from ._run_row import RunRow, artifacts_of
from ._shown_columns import IDENTITY

_CHUNK = 500  # runs that an iteration decodes at once


class Rows(Drawable, Protocol):
    """What a `ConfigList` shows; what is here is so of columns that are no metrics."""

    @property
    def aliases(self) -> Mapping[str, str]:
        """The names of the columns by other names that they go by."""
        return {}

    def take(self, places: Sequence[int]) -> "Rows":
        """Returns some of the rows."""

    def select(self, fields: Sequence[str]) -> "Rows":
        """Returns some of the columns."""

    def rows(self) -> Iterator[RunRow]:
        """Returns the rows one by one."""

    @property
    def metric_sources(self) -> Mapping[str, tuple[str, str]]:
        """The log and the key of each metric that is logged in files, by the metric's name."""
        return {}

    def last(self, field: str) -> list[Any]:
        """Returns the last values of a metric; of another column its values, as `column`."""
        return self.column(field)

    def series(self, field: str) -> list[Series] | None:
        """Returns a metric of each row; None for a field that is no metric."""

    def varies(self, field: str) -> bool:
        return len(set(map(identity, self.column(field)))) > 1

    def arrow(self, field: str) -> pa.Array | pa.ChunkedArray:
        """Returns a column for an Arrow table."""
        values = self.column(field)
        return plain_arrow(
            [value.tolist() if isinstance(value, np.ndarray) else value for value in values]
        )


class CatalogRows(Rows):
    """Some runs of a catalog.

    Args:
        catalog: all runs.
        metrics: their metrics.
        positions: which of them these are.
        chosen: the columns, if not all that the runs have.
    """

    def __init__(
        self,
        catalog: Catalog,
        metrics: MetricColumns,
        positions: Ints,
        chosen: Sequence[str] | None = None,
    ) -> None:
        self._catalog = catalog
        self._metrics = metrics
        self._positions = positions
        self._chosen = chosen
        # No rows have the columns that they could have.
        self._described = positions if len(positions) else np.arange(len(catalog))

    def __len__(self) -> int:
        return len(self._positions)

    @cached_property
    def fields(self) -> list[str]:
        if self._chosen is not None:
            return list(self._chosen)
        return _ordered(self.kinds, self._lazy)

    @cached_property
    def kinds(self) -> dict[str, set[str]]:
        """The fields of config and info, and of which kinds their values are."""
        return self._catalog.kinds(self._described)

    @property
    def lazy_fields(self) -> set[str]:
        return set(self._lazy)

    @property
    def source(self) -> tuple[int, tuple[str, ...] | None]:
        """What rows have in common that can be `joined`."""
        return id(self._catalog), None if self._chosen is None else tuple(self._chosen)

    @property
    def aliases(self) -> Mapping[str, str]:
        return self._catalog.aliases | self._catalog.lazy_aliases

    @property
    def metric_sources(self) -> Mapping[str, tuple[str, str]]:
        return {name: (log, key) for name, (kind, log, key) in self._lazy.items() if kind == "metrics"}

    def take(self, places: Sequence[int]) -> "CatalogRows":
        positions = self._positions[np.asarray(places, dtype=np.int64)]
        return CatalogRows(self._catalog, self._metrics, positions, self._chosen)

    def select(self, fields: Sequence[str]) -> "CatalogRows":
        return CatalogRows(self._catalog, self._metrics, self._positions, fields)

    def rows(self) -> Iterator[RunRow]:
        for start in range(0, len(self), _CHUNK):
            yield from self._decode(self._positions[start : start + _CHUNK])

    def column(self, field: str) -> list[Any]:
        if field not in self._lazy:
            return self._catalog.values(field, self._positions)
        kind, first, second = self._lazy[field]
        places = self._catalog.places_with(kind, first, second, self._positions)
        positions = self._positions[places]
        found: list[Any]
        if kind == "metrics":
            found = self._metrics.values(first, second, positions)
        else:
            runs = [self._catalog.run_path(position) for position in positions.tolist()]
            names = self._catalog.lazy_names(positions)
            found = [
                artifacts_of(run, first, second, listed) for run, listed in zip(runs, names, strict=True)
            ]
        return self._spread(found, places, MISSING)

    def last(self, field: str) -> list[Any]:
        kind, log, key = self._lazy.get(field, ("", "", ""))
        if kind != "metrics":
            return self.column(field)
        places = self._catalog.places_with(kind, log, key, self._positions)
        positions = self._positions[places]
        if is_app_log(log):
            found = self._metrics.apps.last(log, key, positions)
        else:
            found = LastValues(self._catalog, self._metrics.cache, log, key).of(positions)
        return self._spread(found, places, MISSING)

    def series(self, field: str) -> list[Series] | None:
        kind, log, key = self._lazy.get(field, ("", "", ""))
        if kind != "metrics":
            return None
        places = self._catalog.places_with(kind, log, key, self._positions)
        found = self._metrics.series(log, key, self._positions[places])
        return self._spread(found, places, Series(np.zeros(0)))

    def varies(self, field: str) -> bool:
        return field not in self._lazy and self._catalog.varies(field, self._positions)

    def arrow(self, field: str) -> pa.Array | pa.ChunkedArray:
        kind, log, key = self._lazy.get(field, ("", "", ""))
        if kind == "metrics":
            places = self._catalog.places_with(kind, log, key, self._positions)
            column = self._metrics.arrow(log, key, self._positions[places])
            if len(places) == len(self):
                return column
            rows = np.zeros(len(self), dtype=np.int64)
            absent = np.ones(len(self), dtype=bool)
            rows[places], absent[places] = np.arange(len(places)), False
            return column.take(pa.array(rows, mask=absent))
        if kind == "artifacts":
            values = self.column(field)
            return pa.array([None if value is MISSING else list(value) for value in values])
        return super().arrow(field)

    def _spread(self, found: list[Any], places: Ints, absent: Any) -> list[Any]:
        """Puts what some rows have where they are."""
        if len(places) == len(self):
            return found
        values = [absent] * len(self)
        for place, value in zip(places.tolist(), found, strict=True):
            values[place] = value
        return values

    @cached_property
    def _lazy(self) -> dict[str, tuple[str, str, str]]:
        """The lazy fields: the kind, then log and key of a metric, type and folder of an artifact."""
        lazy: dict[str, tuple[str, str, str]] = {}
        for names in self._catalog.distinct_lazy_names(self._described):
            lazy.update(self._catalog.lazy_columns(names))
        if self._chosen is None:
            return lazy
        return {field: lazy[field] for field in self._chosen if field in lazy}

    def _decode(self, positions: Ints) -> Iterator[RunRow]:
        chosen = self._chosen
        fields = [field for field in self.fields if field not in self._lazy]
        columns = [self._catalog.values(field, positions) for field in fields]
        names = self._catalog.lazy_names(positions)
        aliases = self.aliases
        distinct = self._catalog.distinct_lazy_names(positions)
        entries = {id(listed): self._catalog.lazy_columns(listed) for listed in distinct}
        for index, position in enumerate(positions.tolist()):
            values = {
                field: column[index]
                for field, column in zip(fields, columns, strict=True)
                if column[index] is not MISSING
            }
            lazy = {
                field: self._loader(position, entry, names[index])
                for field, entry in entries[id(names[index])].items()
                if chosen is None or field in chosen
            }
            path, app_logs = self._catalog.run_path(position), self._metrics.apps
            yield RunRow(values, lazy, aliases, path, partial(app_logs.readers, position))

    def _loader(
        self, position: int, entry: tuple[str, str, str], names: Mapping[str, Any]
    ) -> Callable[[], Any]:
        kind, first, second = entry
        if kind == "metrics":
            return lambda: self._metrics.one(first, second, position).values.tolist()
        return lambda: artifacts_of(self._catalog.run_path(position), first, second, names)


class PlainRows(Rows):
    """Rows that were computed, such as the results of an aggregation."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @cached_property
    def fields(self) -> list[str]:
        return list(dict.fromkeys(field for row in self._rows for field in row))

    @property
    def lazy_fields(self) -> set[str]:
        return set()

    def take(self, places: Sequence[int]) -> "PlainRows":
        return PlainRows([self._rows[place] for place in places])

    def select(self, fields: Sequence[str]) -> "PlainRows":
        return PlainRows([{name: row[name] for name in fields if name in row} for row in self._rows])

    def rows(self) -> Iterator[RunRow]:
        for row in self._rows:
            yield RunRow(row, {})

    def column(self, field: str) -> list[Any]:
        return [row.get(field, MISSING) for row in self._rows]

    def series(self, field: str) -> list[Series] | None:
        values = [np.asarray(value) for value in self.column(field) if value is not MISSING]
        if len(values) < len(self) or any(value.ndim != 1 for value in values):
            return None
        return [Series(value) for value in values]


def joined(parts: Sequence[CatalogRows]) -> Rows:
    """Gives rows of one catalog as one."""
    if not parts:
        return PlainRows([])
    first = parts[0]
    positions = np.concatenate([part._positions for part in parts])
    return CatalogRows(first._catalog, first._metrics, positions, first._chosen)


def _ordered(fields: Mapping[str, Any], lazy: Mapping[str, Any]) -> list[str]:
    """Orders columns for people: number and status, config, info, artifacts, metrics."""

    def group(field: str) -> int:
        if field in fields:
            return 0 if field in IDENTITY else 1 if field.startswith("config.") else 2
        return 3 if field.startswith("artifact.") else 4

    return sorted([*fields, *lazy], key=lambda field: (group(field), field))


def identity(value: Any) -> Any:
    """Returns what is equal for values that are the same: 1 and True are not, 1 and 1.0 are."""
    if value is MISSING or value is None or isinstance(value, (bool, str)):
        return (type(value).__name__, value if value is not MISSING else None)
    if isinstance(value, (int, float)):
        return ("number", "nan" if value != value else value)
    return ("json", json.dumps(value, sort_keys=True, default=str))


def plain_arrow(values: Sequence[Any]) -> pa.Array:
    """Makes a column of plain values; of values that have no common type, one of their text."""
    given = missing_as_none(values)
    try:
        if {type(value) for value in given} >= {int, bool}:
            raise pa.ArrowInvalid("Arrow would take them for the same")
        return pa.array(given)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        return pa.array(
            [None if value is None else as_unicode(str(value)) for value in given], pa.string()
        )


def missing_as_none(values: Sequence[Any]) -> list[Any]:
    """Replaces `MISSING` for those who do not know it."""
    return [None if value is MISSING else value for value in values]


def need_fields(fields: str | Iterable[str], rows: Rows) -> list[str]:
    """Returns the names of columns that somebody typed, one or several.

    Raises:
        MlxpyError: for the first of them that is not there.
    """
    known, aliases, found = rows.fields, rows.aliases, []
    for field in [fields] if isinstance(fields, str) else fields:
        name = find_field(field, known, aliases)
        if name is None:
            raise MlxpyError(no_field(field, known))
        found.append(name)
    return found
