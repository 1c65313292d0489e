"""The query language: what a query becomes, and the errors that show the place.

A query becomes a predicate in postfix order, so that no depth of parentheses needs recursion.
Nothing of a query is ever evaluated as Python.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from types import MappingProxyType

from mlxpy_core._io._flatten import find_field, near_fields

from ._predicate import Comparison, Predicate, QueryError


def parse_query(query: str) -> Predicate:
    """Reads a query.

    Raises:
        QueryError: it does not follow the grammar.
    """
    if not query.strip():
        return []
    from ._grammar import parse  # lark takes longer to import than a thousand runs to open

    return parse(query)


def check_fields(
    predicate: Predicate,
    query: str,
    known: Collection[str],
    lazy: Collection[str],
    aliases: Mapping[str, str] = MappingProxyType({}),
) -> Predicate:
    """Returns a query with the names that its fields have; refuses one of fields that no run has.

    Args:
        predicate: the query as `parse_query` read it.
        query: the query as it was written.
        known: the fields that can be searched.
        lazy: other columns (metrics, artifacts), which cannot.
        aliases: the names of fields by other names that they go by.

    Raises:
        QueryError: for the first such field, with the nearest names.
    """
    named: Predicate = []
    for step in predicate:
        if isinstance(step, Comparison):
            field = find_field(step.field, known, aliases)
            if field is None:
                raise QueryError(_unknown_field(step.field, known, lazy), query, step.position)
            step = replace(step, field=field)
        named.append(step)
    return named


def _unknown_field(field: str, known: Collection[str], lazy: Collection[str]) -> str:
    if field in lazy:
        return f"{field} is no config or info field: it is shown with the results, not searched"
    below = sorted(name for name in known if name.startswith(field + "."))
    if below:
        more = ", …" if len(below) > 5 else ""
        return f"{field} is a group: choose one of its fields, {', '.join(below[:5])}{more}"
    near = near_fields(field, sorted(known))
    hint = f": did you mean {' or '.join(near)}?" if near else " (reader.searchable lists all)"
    return f"no run has a field {field}{hint}"
