"""Rows made of other rows: with columns added to them, or those of several lists one after the other."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from mlxpy_core._reading._tables._columns import MISSING
from mlxpy_core._reading._tables._metric_columns import Series

from ._rows import CatalogRows, Rows, joined, plain_arrow
from ._run_row import RunRow

_Value = TypeVar("_Value")


class ExtendedRows(Rows):
    """Rows to which columns were added.

    Args:
        rows: the rows.
        added: what each row has besides, or instead; it may grow.
    """

    def __init__(self, rows: Rows, added: Sequence[dict[str, Any]]) -> None:
        self._rows = rows
        self.added = added

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def fields(self) -> list[str]:
        return list(dict.fromkeys([*self._rows.fields, *self._new]))

    @property
    def lazy_fields(self) -> set[str]:
        return self._rows.lazy_fields - set(self._new)

    @property
    def aliases(self) -> Mapping[str, str]:
        return self._rows.aliases

    @property
    def _new(self) -> dict[str, None]:
        return dict.fromkeys(field for added in self.added for field in added)

    @property
    def metric_sources(self) -> Mapping[str, tuple[str, str]]:
        return {name: one for name, one in self._rows.metric_sources.items() if name not in self._new}

    def take(self, places: Sequence[int]) -> "ExtendedRows":
        return ExtendedRows(self._rows.take(places), [self.added[place] for place in places])

    def select(self, fields: Sequence[str]) -> "ExtendedRows":
        old = set(self._rows.fields)
        added = [{name: one[name] for name in fields if name in one} for one in self.added]
        return ExtendedRows(self._rows.select([name for name in fields if name in old]), added)

    def rows(self) -> Iterator[RunRow]:
        for row, added in zip(self._rows.rows(), self.added, strict=True):
            row.update(added)
            yield row

    def column(self, field: str) -> list[Any]:
        if field not in self._new:
            return self._rows.column(field)
        values = self._rows.column(field) if field in self._rows.fields else [MISSING] * len(self)
        return [added.get(field, value) for added, value in zip(self.added, values, strict=True)]

    def last(self, field: str) -> list[Any]:
        return self.column(field) if field in self._new else self._rows.last(field)

    def series(self, field: str) -> list[Series] | None:
        return None if field in self._new else self._rows.series(field)

    def varies(self, field: str) -> bool:
        return super().varies(field) if field in self._new else self._rows.varies(field)

    def arrow(self, field: str) -> pa.Array | pa.ChunkedArray:
        return super().arrow(field) if field in self._new else self._rows.arrow(field)


class StackedRows(Rows):
    """Rows of several lists, such as those of two directories.

    Args:
        parts: the lists.
        order: for each row the number of the part whose next row it is; if not given, part by part.
    """

    def __init__(self, parts: Sequence[Rows], order: Sequence[int] | None = None) -> None:
        self._parts = parts
        by_part = [number for number, part in enumerate(parts) for _ in range(len(part))]
        self._order = by_part if order is None else order

    def __len__(self) -> int:
        return len(self._order)

    @property
    def fields(self) -> list[str]:
        return list(dict.fromkeys(field for part in self._parts for field in part.fields))

    @property
    def lazy_fields(self) -> set[str]:
        return set().union(*(part.lazy_fields for part in self._parts))

    @property
    def aliases(self) -> Mapping[str, str]:
        return {name: meant for part in self._parts for name, meant in part.aliases.items()}

    @property
    def metric_sources(self) -> Mapping[str, tuple[str, str]]:
        return {name: one for part in self._parts for name, one in part.metric_sources.items()}

    def take(self, places: Sequence[int]) -> "StackedRows":
        counts, place_in_part = [0] * len(self._parts), []
        for number in self._order:
            place_in_part.append(counts[number])
            counts[number] += 1
        order = [self._order[place] for place in places]
        chosen: list[list[int]] = [[] for _ in self._parts]
        for number, place in zip(order, places, strict=True):
            chosen[number].append(place_in_part[place])
        parts = [part.take(here) for part, here in zip(self._parts, chosen, strict=True)]
        return StackedRows(parts, order)

    def select(self, fields: Sequence[str]) -> "StackedRows":
        parts = [part.select([name for name in fields if name in part.fields]) for part in self._parts]
        return StackedRows(parts, self._order)

    def rows(self) -> Iterator[RunRow]:
        rows = [part.rows() for part in self._parts]
        return (next(rows[number]) for number in self._order)

    def column(self, field: str) -> list[Any]:
        return self._gathered(field, lambda part: part.column(field))

    def last(self, field: str) -> list[Any]:
        return self._gathered(field, lambda part: part.last(field))

    def series(self, field: str) -> list[Series] | None:
        found = [part.series(field) if field in part.fields else None for part in self._parts]
        if all(one is None for one in found):
            return None
        none = Series(np.zeros(0))
        return self._in_order(
            [one or [none] * len(part) for one, part in zip(found, self._parts, strict=True)]
        )

    def varies(self, field: str) -> bool:
        return field not in self.lazy_fields and super().varies(field)

    def arrow(self, field: str) -> pa.Array:
        return plain_arrow(self._gathered(field, lambda part: part.arrow(field).to_pylist()))

    def _gathered(self, field: str, read: Callable[[Rows], list[Any]]) -> list[Any]:
        """Returns what is read of a column, `MISSING` for rows of a part that does not have it."""
        return self._in_order(
            [read(part) if field in part.fields else [MISSING] * len(part) for part in self._parts]
        )

    def _in_order(self, by_part: Sequence[Sequence[_Value]]) -> list[_Value]:
        values = list(map(iter, by_part))
        return [next(values[number]) for number in self._order]


def stacked(parts: Sequence[Rows]) -> Rows:
    """Returns the rows of several lists as one."""
    of_catalogs = [part for part in parts if isinstance(part, CatalogRows)]
    if len(of_catalogs) == len(parts) and len({part.source for part in of_catalogs}) <= 1:
        return joined(of_catalogs)
    return parts[0] if len(parts) == 1 else StackedRows(parts)
