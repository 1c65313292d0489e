"""Functions of the user's that are applied to columns, as MLXP's users write them.

A map is ``(function, columns)`` or ``(function, columns, output names)``, where columns and names are
one string or a tuple of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mlxpy_core._errors import MlxpyError

Map = tuple[Callable[..., Any], str | tuple[str, ...]] | tuple[
    Callable[..., Any], str | tuple[str, ...], str | tuple[str, ...]
]  # fmt: skip
"""A function, the columns that it is applied to and, optionally, the names of what it gives."""


@dataclass(frozen=True)
class ColumnMap:
    """A map that was checked.

    Attributes:
        function: what is called.
        columns: the columns that it is called with.
        outputs: the names of its results.
    """

    function: Callable[..., Any]
    columns: tuple[str, ...]
    outputs: tuple[str, ...]


def aggregation(given: Map) -> ColumnMap:
    """Checks a map that is called with each of its columns and gives one value for each.

    Results are named ``f<function>.<column>`` where no names are given.
    """
    function, columns = _function_and_columns(given)
    outputs = tuple(f"f{_name(function)}.{column}" for column in columns)
    if len(given) == 3:
        outputs = _names(given[2])
        if len(outputs) != len(columns):
            raise MlxpyError(
                f"a map of {len(columns)} columns needs {len(columns)} output names, not {len(outputs)}"
            )
    return ColumnMap(function, columns, outputs)


def aggregations(given: Map | Sequence[Map]) -> list[ColumnMap]:
    """Checks one map or a list of them."""
    maps: Sequence[Any] = given if isinstance(given, list) else [given]
    return [aggregation(one) for one in maps]


def condition(given: Map) -> ColumnMap:
    """Checks a map that is called once with all its columns and gives a boolean for each row."""
    function, columns = _function_and_columns(given)
    return ColumnMap(function, columns, ())


def _function_and_columns(given: Any) -> tuple[Callable[..., Any], tuple[str, ...]]:
    if not (isinstance(given, tuple) and len(given) in (2, 3) and callable(given[0])):
        raise MlxpyError(f"a map is (function, columns), as in (mean, 'train.loss'), not {given!r}")
    return given[0], _names(given[1])


def _names(given: Any) -> tuple[str, ...]:
    names = given if isinstance(given, tuple) else (given,)
    if not names or not all(isinstance(name, str) for name in names):
        raise MlxpyError(f"columns are a name or a tuple of names, not {given!r}")
    return names


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)
