"""Values of any type in Arrow tables: a field has one column for each type that its values have.

Runs disagree: what is a number in one is a string in another. Each value lies in the column of its own
type, ``<field>:<kind>``, and is null in the others; a row without the field is null in all of them.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

ARROW_TYPES = {
    "i": pa.int64(),
    "f": pa.float64(),
    "b": pa.bool_(),
    "s": pa.string(),
    "n": pa.bool_(),  # true where the value is None
    "j": pa.string(),  # as JSON: lists, empty dicts, integers beyond 64 bits, undecodable text
}
"""Arrow's type for each kind of column."""

PYTHON_TYPES = {"i": "int", "f": "float", "b": "bool", "s": "str", "n": "NoneType", "j": "list"}
"""Python's name for each kind of value; that of ``j`` is its usual one."""

_KINDS_BY_TYPE = {float: "f", bool: "b", type(None): "n", list: "j", dict: "j"}


class Missing:
    """The value of a field that a row does not have."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = Missing()


def kind_of(value: Any) -> str:
    """Gives the kind of column that holds a plain value."""
    kind = _KINDS_BY_TYPE.get(type(value))
    if kind:
        return kind
    if type(value) is str:
        return "s" if value.isascii() or _is_unicode(value) else "j"
    if type(value) is int:
        return "i" if -(2**63) <= value < 2**63 else "j"
    return "j"


def encode_rows(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Makes a table of rows of plain values; the order of the fields is that of their appearance."""
    columns: dict[tuple[str, str], list[Any]] = {}
    for index, row in enumerate(rows):
        for field, value in row.items():
            kind = kind_of(value)
            column = columns.get((field, kind))
            if column is None:
                column = columns[field, kind] = [None] * len(rows)
            column[index] = value if kind in "ifbs" else _encode(value, kind)
    return pa.table(
        {
            f"{field}:{kind}": pa.array(values, ARROW_TYPES[kind])
            for (field, kind), values in columns.items()
        }
    )


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

    def values(self, field: str, rows: Any) -> list[Any]:
        """Gives the field's values in the rows of these indices, `MISSING` where there is none."""
        values: list[Any] = [MISSING] * len(rows)
        for kind, column in self.kinds.get(field, {}).items():
            for index, value in enumerate(column.take(rows).to_pylist()):
                if value is not None:
                    values[index] = _decode(value, kind)
        return values

    def kinds_in(self, field: str, rows: Any) -> set[str]:
        """Tells of which kinds the field's values in these rows are."""
        return {
            kind
            for kind, column in self.kinds.get(field, {}).items()
            if len(rows) and (column.null_count == 0 or column.take(rows).null_count < len(rows))
        }

    def distinct(self, field: str, rows: Any) -> set[tuple[str, Any]]:
        """Gives one of the field's values in these rows, with its kind; more of them if it varies."""
        distinct: set[tuple[str, Any]] = set()
        present = 0
        for kind, column in self.kinds.get(field, {}).items():
            values = column.take(rows).drop_null()
            present += len(values)
            if len(values):
                first = values[0]
                others = values.filter(pc.not_equal(values, first))
                distinct.add((kind, first.as_py()))
                distinct.update((kind, other.as_py()) for other in others[:1])
        return distinct if present == len(rows) else distinct | {("missing", None)}


def flatten(tree: Mapping[Any, Any], prefix: str, leaves: dict[str, Any]) -> None:
    """Adds the leaves of nested dicts under dotted names; an empty dict is a leaf."""
    for key, value in tree.items():
        name = f"{prefix}.{key if type(key) is str else _key_text(key)}"
        if type(value) is dict and value:
            flatten(value, name, leaves)
        else:
            leaves[name] = value


def _key_text(key: Any) -> str:
    try:
        return json.dumps(key)
    except TypeError:  # a date
        return str(key)


def _encode(value: Any, kind: str) -> Any:
    if kind == "j":
        return json.dumps(value, default=str)
    return True  # that it is None


def _decode(value: Any, kind: str) -> Any:
    if kind == "j":
        return json.loads(value)
    return None if kind == "n" else value


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
