"""Which rows of a table answer a query; each value compares by its own type.

Numbers compare with numbers, exactly, strings with strings, booleans with booleans, None with None.
Values of different types are never equal and have no order. A comparison with a missing field is false;
but a list that is not there holds nothing, so that ``not in`` it is true.
Dates and times of info compare as texts, and as moments with a text that is a date and a time.
"""

import json
import math
import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mlxpy_core._io._text import is_unicode
from mlxpy_core._reading._moments import MOMENTS, microseconds, moment_of_text, since_epoch
from mlxpy_core._reading._query._predicate import Comparison, Connective, Predicate

from ._arrays import arrow_array, arrow_scalar, numpy_array
from ._columns import JSON_KINDS, MISSING, TypedColumns

Mask = npt.NDArray[np.bool_]

_ORDERINGS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARROW_ORDERINGS = {
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
_NEGATIONS = {"!=": "==", "not in": "in"}
_FALSE = arrow_scalar(False, pa.bool_())


def matching_rows(predicate: Predicate, columns: TypedColumns) -> Mask:
    """Marks the rows that answer a query."""
    answers: list[Mask] = []
    for step in predicate:
        if isinstance(step, Comparison):
            answers.append(_compare(step, columns))
        elif step is Connective.NOT:
            answers.append(~answers.pop())
        else:
            right, left = answers.pop(), answers.pop()
            answers.append(left & right if step is Connective.AND else left | right)
    return answers.pop() if answers else np.ones(columns.num_rows, dtype=bool)


def _compare(comparison: Comparison, columns: TypedColumns) -> Mask:
    if comparison.operator == "holds not":
        return ~_compare(replace(comparison, operator="holds"), columns)
    if comparison.operator == "holds":
        column = columns.kinds.get(comparison.field, {}).get("j")
        if column is None:  # lists are of this kind
            return np.zeros(columns.num_rows, dtype=bool)
        return _each(column, lambda text: _answers(json.loads(text), "holds", comparison.value))
    if comparison.field in MOMENTS and (asked := moment_of_text(comparison.value)):
        return _compare_moments(comparison, since_epoch(asked), columns)
    answer = np.zeros(columns.num_rows, dtype=bool)
    for kind, column in columns.kinds.get(comparison.field, {}).items():
        answer |= _compare_column(column, kind, comparison.operator, comparison.value)
    return answer


def _compare_moments(comparison: Comparison, asked: int, columns: TypedColumns) -> Mask:
    """Compares by the moment, whatever its zone."""
    every = np.arange(columns.num_rows)
    moments = microseconds(*(columns.values(field, every) for field in MOMENTS[comparison.field]))
    if comparison.operator == "!=":
        values = columns.values(comparison.field, every)
        pairs = zip(values, moments, strict=True)
        holds = [value is not MISSING and one != asked for value, one in pairs]
    else:
        compare: Callable[[Any, Any], Any] = _ORDERINGS.get(comparison.operator, operator.eq)
        holds = [one is not None and bool(compare(one, asked)) for one in moments]
    return np.array(holds, dtype=np.bool_)


def _compare_column(column: pa.ChunkedArray, kind: str, symbol: str, value: Any) -> Mask:
    if symbol in _NEGATIONS:
        present = _as_mask(column.is_valid())
        return present & ~_compare_column(column, kind, _NEGATIONS[symbol], value)
    if kind in JSON_KINDS:
        return _each(column, lambda text: _answers(json.loads(text), symbol, value))
    if symbol in _ORDERINGS:
        return _ordered(column, kind, symbol, value)
    return _equal_to_any(column, kind, value if symbol == "in" else [value])


def _equal_to_any(column: pa.ChunkedArray, kind: str, values: list[Any]) -> Mask:
    candidates: list[Any]
    if kind == "e":
        candidates = []  # a query has no dicts
    elif kind == "n":
        candidates = [True] if None in values else []
    elif kind == "b":
        candidates = [value for value in values if isinstance(value, bool)]
    elif kind == "s":
        candidates = [value for value in values if isinstance(value, str) and is_unicode(value)]
    elif kind == "i":
        numbers = filter(_is_number, values)
        candidates = [int(value) for value in numbers if _fits(value) and int(value) == value]
    else:
        numbers = filter(_is_number, values)
        candidates = [exact for value in numbers if (exact := _nearest_float(value)) == value]
        if 0.0 in candidates:
            candidates += [0.0, -0.0]  # equal, but of different bits
    if not candidates:
        return np.zeros(len(column), dtype=bool)
    if len(candidates) == 1:
        return _as_mask(pc.equal(column, arrow_scalar(candidates[0], column.type)))
    return _as_mask(pc.is_in(column, value_set=arrow_array(candidates, column.type)))


def _ordered(column: pa.ChunkedArray, kind: str, symbol: str, value: Any) -> Mask:
    comparable = isinstance(value, str) if kind == "s" else kind in "if" and _is_number(value)
    if not comparable or value != value:  # nothing is less or greater than nan
        return np.zeros(len(column), dtype=bool)
    if kind == "s":
        if not is_unicode(value):
            return _each(column, lambda text: _answers(text, symbol, value))
    elif kind == "i":
        symbol, value = _integer_bound(symbol, value)
    else:
        symbol, value = _float_bound(symbol, value)
    if value is None:
        return _as_mask(column.is_valid()) if symbol == "all" else np.zeros(len(column), dtype=bool)
    return _as_mask(_ARROW_ORDERINGS[symbol](column, arrow_scalar(value, column.type)))


def _integer_bound(symbol: str, value: float | int) -> tuple[str, int | None]:
    """Turns a comparison of integers with any number into one with a 64-bit integer."""
    below = symbol in ("<", "<=")
    if not _fits(value):
        return ("all" if (value > 0) == below else "none"), None
    whole = math.floor(value)
    if whole != value:  # between two integers, so that < and <= mean the same
        return ("<=", whole) if below else (">=", whole + 1)
    return symbol, whole


def _float_bound(symbol: str, value: float | int) -> tuple[str, float]:
    """Turns a comparison of floats with any number into one with a float, without rounding."""
    nearest = _nearest_float(value)
    if nearest == value:
        return symbol, nearest
    # No float lies between the value and its nearest float.
    if symbol in ("<", "<="):
        return ("<" if nearest > value else "<="), nearest
    return (">=" if nearest > value else ">"), nearest


def _each(column: pa.ChunkedArray, test: Callable[[str], bool]) -> Mask:
    return np.array([text is not None and test(text) for text in column.to_pylist()], dtype=bool)


def _answers(stored: Any, symbol: str, value: Any) -> bool:
    if symbol == "==":
        return _same(stored, value)
    if symbol == "in":
        return any(_same(stored, item) for item in value)
    if symbol == "holds":
        return isinstance(stored, list) and any(_same(item, value) for item in stored)
    comparable = (isinstance(stored, str) and isinstance(value, str)) or (
        _is_number(stored) and _is_number(value)
    )
    return comparable and bool(_ORDERINGS[symbol](stored, value))


def _same(stored: Any, value: Any) -> bool:
    if isinstance(stored, list) and isinstance(value, list):
        return len(stored) == len(value) and all(map(_same, stored, value))
    if isinstance(stored, bool) or isinstance(value, bool):
        return stored is value
    return bool(stored == value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _fits(value: float | int) -> bool:
    """Returns whether a number is among those that a column of integers can hold."""
    return -(2**63) <= value < 2**63


def _nearest_float(value: float | int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _as_mask(answers: Any) -> Mask:
    return numpy_array(pc.fill_null(answers, _FALSE))
