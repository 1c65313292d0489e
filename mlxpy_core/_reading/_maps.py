"""Functions of the user's that are applied to columns, as MLXP's users write them.

A map is ``(function, columns)`` or ``(function, columns, output names)``, where columns and names are
one string or a tuple of them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mlxpy_core._errors import MlxpyError

Map = tuple[Callable[..., Any], str | tuple[str, ...]] | tuple[
    Callable[..., Any], str | tuple[str, ...], str | tuple[str, ...]
]  # fmt: skip
"""A function, the columns that it is applied to and, optionally, the names of what it gives."""
Maps = Map | list[Map]


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


MAP_TYPES = ("Generic", "Columnwise", "Rowwise", "Pointwise")


def apply_maps(
    given: Maps, map_type: str, read: Callable[[tuple[str, ...]], Iterable[list[Any]]]
) -> dict[str, Any]:
    """Calls functions with columns, and returns what they make of them by the names of their results.

    Args:
        given: a map or a list of them.
        map_type: with what a function is called: ``Generic``, once with all its columns; ``Columnwise``,
            with one column after the other; ``Rowwise``, with the values of one row after the other;
            ``Pointwise``, with one value after the other.
        read: returns the values of columns.

    Raises:
        MlxpyError: a map is none, or a function returned not as many results as it has names.
    """
    if map_type not in MAP_TYPES:
        raise MlxpyError(f"map_type={map_type!r}: give one of {', '.join(MAP_TYPES)}")
    results: dict[str, Any] = {}
    by_column = map_type in ("Columnwise", "Pointwise")
    for one in given if isinstance(given, list) else [given]:
        checked = _of_each_column(one) if by_column else _of_all_columns(one)
        columns = read(checked.columns)
        if map_type == "Columnwise":
            made = list(map(checked.function, columns))
        elif map_type == "Pointwise":
            made = [list(map(checked.function, column)) for column in columns]
        elif map_type == "Rowwise":
            made = _separate([checked.function(*row) for row in zip(*columns, strict=True)], checked)
        else:
            made = _of_each_name(checked.function(*columns), checked)
        results.update(zip(checked.outputs, made, strict=True))
    return results


def _of_each_column(given: Map) -> ColumnMap:
    """Checks a map that is called with each of its columns."""
    function, columns = function_and_columns(given)
    outputs = tuple(f"f{_name(function)}.{column}" for column in columns)
    if len(given) == 3:
        outputs = _names(given[2])
        if len(outputs) != len(columns):
            raise MlxpyError(
                f"a map of {len(columns)} columns has {len(outputs)} output names: "
                "give one for each column"
            )
    return ColumnMap(function, columns, outputs)


def _of_all_columns(given: Map) -> ColumnMap:
    """Checks a map that is called with all its columns at once."""
    function, columns = function_and_columns(given)
    outputs = _names(given[2]) if len(given) == 3 else (f"f{_name(function)}.{'_'.join(columns)}",)
    return ColumnMap(function, columns, outputs)


def _of_each_name(result: Any, called: ColumnMap) -> list[Any]:
    """Returns the results of a call, of which a function gives several as a tuple."""
    names = called.outputs
    if len(names) == 1 and not (isinstance(result, tuple) and len(result) == 1):
        return [result]
    if not isinstance(result, tuple) or len(result) != len(names):
        raise MlxpyError(f"{_name(called.function)} is to return a tuple, of {', '.join(names)}")
    return list(result)


def _separate(results: list[Any], called: ColumnMap) -> list[list[Any]]:
    rows = [_of_each_name(result, called) for result in results]
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in called.outputs]


def rows_of(results: Mapping[str, Any], count: int) -> list[dict[str, Any]] | None:
    """Returns results as rows where each has a value for each of `count` rows; None where none has.

    Raises:
        MlxpyError: some have, and some have not.
    """
    whole = {name for name, values in results.items() if _is_list_of(values, count)}
    if not whole:
        return None
    if len(whole) < len(results):
        others = ", ".join(sorted(results.keys() - whole))
        raise MlxpyError(
            f"{others} came as another number of values than the {count} rows: return one for each"
        )
    return [{name: results[name][place] for name in results} for place in range(count)]


def _is_list_of(values: Any, count: int) -> bool:
    shape = getattr(values, "shape", None)  # of NumPy, pandas, Arrow, torch
    if isinstance(values, (list, tuple)):
        return len(values) == count
    return isinstance(shape, tuple) and len(shape) > 0 and shape[0] == count


def function_and_columns(given: Any) -> tuple[Callable[..., Any], tuple[str, ...]]:
    """Checks a map, and returns what is called and the columns that it is called with.

    Raises:
        MlxpyError: it is none.
    """
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
