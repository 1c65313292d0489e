"""Values of any type in Arrow tables: a field has one column for each type that its values have.

Runs disagree: what is a number in one is a string in another. Each value lies in the column of its own
type, ``<field>:<kind>``, and is null in the others; a row without the field is null in all of them.
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from mlxpy_core._io._text import is_unicode

from ._arrays import arrow_array, arrow_integers

ARROW_TYPES = {
    "i": pa.int64(),
    "f": pa.float64(),
    "b": pa.bool_(),
    "s": pa.string(),
    "n": pa.bool_(),  # true where the value is None
    "e": pa.bool_(),  # true where the value is {}
    "u": pa.string(),  # as JSON: text that is not Unicode
    "j": pa.string(),  # as JSON: lists, integers beyond 64 bits
}
"""Arrow's type for each kind of column."""

PYTHON_TYPES = {
    "i": "int",
    "f": "float",
    "b": "bool",
    "s": "str",
    "n": "NoneType",
    "e": "dict",
    "u": "str",
    "j": "list",
}
"""Python's name for each kind of value; that of ``j`` is its usual one."""

JSON_KINDS = "uj"
"""The kinds of columns that hold JSON."""

KIND_BY_TYPE = {int: "i", float: "f", bool: "b", str: "s"}
"""The kinds of columns whose values lie there as they are."""

_to_json = json.JSONEncoder(default=str).encode


class Missing:
    """The value of a field that a row does not have."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = Missing()


def _kind_of(value: Any) -> str:
    if value is None:
        return "n"
    if value == {}:
        return "e"
    kind = KIND_BY_TYPE.get(type(value), "j")
    if kind == "s" and not is_unicode(value):
        return "u"
    return "j" if kind == "i" and not -(2**63) <= value < 2**63 else kind


def encode_rows(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Makes a table of rows of plain values; the order of the fields is that of their appearance."""
    columns: dict[str, pa.Array] = {}
    for field in dict.fromkeys(field for row in rows for field in row):
        values = [row.get(field, MISSING) for row in rows]
        for kind, column in _encode_column(values).items():
            columns[f"{field}:{kind}"] = column
    return pa.table(columns)


def _encode_column(values: list[Any]) -> dict[str, pa.Array]:
    """Makes the columns that hold a field's values, by kind."""
    types = set(map(type, values))
    if len(types) == 1 and (kind := KIND_BY_TYPE.get(types.pop())):
        with contextlib.suppress(OverflowError, UnicodeEncodeError, pa.ArrowInvalid):
            return {kind: arrow_array(values, ARROW_TYPES[kind])}
    columns: dict[str, list[Any]] = {}
    for index, value in enumerate(values):
        if value is not MISSING:
            kind = _kind_of(value)
            if kind in JSON_KINDS:
                value = _to_json(value)
            elif kind in "ne":
                value = True
            columns.setdefault(kind, [None] * len(values))[index] = value
    return {kind: arrow_array(column, ARROW_TYPES[kind]) for kind, column in columns.items()}


class TypedColumns:
    """The fields of a table that `encode_rows` made.

    Attributes:
        kinds: for each field, its columns by kind.
    """

    def __init__(self, table: pa.Table) -> None:
        self.num_rows: int = table.num_rows
        self.kinds: dict[str, dict[str, pa.ChunkedArray]] = {}
        for name, column in zip(table.column_names, table.columns, strict=True):
            field, separator, kind = name.rpartition(":")
            if separator:
                self.kinds.setdefault(field, {})[kind] = column

    def rename(self, names: Mapping[str, str]) -> None:
        """Gives fields other names."""
        self.kinds = {names.get(field, field): columns for field, columns in self.kinds.items()}

    def values(self, field: str, rows: Any) -> list[Any]:
        """Returns the field's values in the rows of these indices, `MISSING` where there is none."""
        values: list[Any] = [MISSING] * len(rows)
        rows = arrow_integers(rows)
        for kind, column in self.kinds.get(field, {}).items():
            here = column.take(rows)
            if here.null_count == 0 and kind in KIND_BY_TYPE.values():
                return list(here.to_pylist())
            for index, value in enumerate(here.to_pylist()):
                if value is not None:
                    values[index] = _decode(value, kind)
        return values

    def kinds_in(self, field: str, rows: Any) -> set[str]:
        """Tells of which kinds the field's values in these rows are."""
        rows = arrow_integers(rows)
        return {
            kind
            for kind, column in self.kinds.get(field, {}).items()
            if len(rows) and (column.null_count == 0 or column.take(rows).null_count < len(rows))
        }

    def distinct(self, field: str, rows: Any) -> set[tuple[str, Any]]:
        """Returns one of the field's values in these rows, with its kind; more of them if it varies."""
        distinct: set[tuple[str, Any]] = set()
        present = 0
        rows = arrow_integers(rows)
        for kind, column in self.kinds.get(field, {}).items():
            values = column.take(rows).drop_null()
            present += len(values)
            if len(values):
                first = values[0]
                other = pc.not_equal(values, first)
                if first.as_py() != first.as_py():  # NaN, which is the same value in all runs
                    other = pc.invert(pc.is_nan(values))
                for value in (first, *values.filter(other)[:1]):
                    plain = value.as_py()
                    distinct.add((kind, plain if plain == plain else "nan"))
        return distinct if present == len(rows) else distinct | {("missing", None)}


def _decode(value: Any, kind: str) -> Any:
    if kind in JSON_KINDS:
        return json.loads(value)
    if kind == "e":
        return {}
    return None if kind == "n" else value
