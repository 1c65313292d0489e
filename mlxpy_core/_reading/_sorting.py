"""How rows are ordered and grouped by the values of columns."""

import json
from collections.abc import Sequence
from typing import Any

from mlxpy_core._errors import MlxpyError
from mlxpy_core._reading._tables._columns import MISSING

from ._moments import MOMENTS, microseconds
from ._rows import Rows, identity

GroupKey = tuple[Any, ...]
"""The values that the rows of a group have in common."""


def sort_values(rows: Rows, field: str) -> list[Any]:
    """Returns what a column is ordered by: its values, or the moments that its dates or times say."""
    if field in MOMENTS:
        moments = microseconds(*map(rows.column, MOMENTS[field]))
        if any(one is not None for one in moments):
            return moments
    return rows.column(field)


def sorted_places(
    order: Sequence[int], values: Sequence[Any], name: str, ascending: bool = True
) -> list[int]:
    """Orders places by the values there: numbers before texts, no value last.

    Raises:
        MlxpyError: a value has no order.
    """
    ranks = {place: _rank(values[place]) for place in order}
    if any(rank is _NO_ORDER for rank in ranks.values()):
        raise MlxpyError(f"column {name!r} has no order: sort by a field of config or info")
    present = [place for place in order if ranks[place] is not None]
    absent = [place for place in order if ranks[place] is None]
    return sorted(present, key=lambda place: ranks[place] or (), reverse=not ascending) + absent


def grouped_places(columns: Sequence[Sequence[Any]]) -> dict[GroupKey, list[int]]:
    """Returns the places of rows with equal values in some columns, by these values in their order."""
    places: dict[Any, list[int]] = {}
    keys: dict[Any, GroupKey] = {}
    for place, key in enumerate(zip(*columns, strict=True)):
        group = tuple(map(identity, key))
        places.setdefault(group, []).append(place)
        keys.setdefault(group, tuple(map(_hashable, key)))
    ordered = sorted(keys, key=lambda one: [_rank(value) or _NO_ORDER for value in keys[one]])
    return {keys[one]: places[one] for one in ordered}


def _hashable(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (list, dict)) else value


_NO_ORDER = (9,)


def _rank(value: Any) -> tuple[Any, ...] | None:
    """Returns what orders a value: numbers, then texts, then lists; None for no value."""
    if value is MISSING or value is None or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, (int, float)):
        return (0, value)
    if isinstance(value, str):
        return (1, value)
    return (2, json.dumps(value)) if isinstance(value, (list, dict)) else _NO_ORDER
