"""Columns of plain values as pandas has them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas


def data_frame(columns: Mapping[Any, Sequence[Any]], length: int) -> "pandas.DataFrame":
    """Makes a DataFrame of `length` rows."""
    import pandas  # it takes half a second, and listing runs does without it

    table: pandas.DataFrame
    try:
        table = pandas.DataFrame(dict(columns), index=range(length))
    except UnicodeEncodeError:  # the type that pandas has for texts takes Unicode only
        objects = {name: pandas.Series(list(values), dtype=object) for name, values in columns.items()}
        table = pandas.DataFrame(objects, index=range(length))
    return table


def nullable(values: Sequence[Any]) -> Any:
    """Returns values, some of which are missing, with a type that has nulls if there is one."""
    types = set(map(type, values))
    if type(None) not in types or len(types) != 2:
        return values
    import pandas

    if bool in types:
        return pandas.array(values, dtype="boolean")
    if int in types and all(value is None or -(2**63) <= value < 2**63 for value in values):
        return pandas.array(values, dtype="Int64")
    return values
