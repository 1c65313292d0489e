"""The query language: what a query becomes, and the errors that show the place.

A query becomes a short program in postfix order, so that no depth of parentheses needs recursion.
Nothing of a query is ever evaluated as Python.
"""

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType
from typing import Any

from mlxpy_core._errors import MlxpyError
from mlxpy_core._flatten import find_field


class QueryError(MlxpyError, ValueError):
    """A query that cannot be answered; the message shows the place."""

    def __init__(self, what: str, query: str, position: int) -> None:
        line_start = query.rfind("\n", 0, position) + 1
        line = query[line_start:].split("\n", 1)[0]
        # Long queries are shown around the place.
        first = max(0, position - line_start - 60)
        excerpt = ("…" if first else "") + line[first : first + 120]
        marker = " " * (position - line_start - first + bool(first)) + "^"
        super().__init__(f"{what} (character {position + 1} of the query)\n  {excerpt}\n  {marker}")


class Connective(Enum):
    """What joins the answers of comparisons."""

    AND = "&"
    OR = "|"
    NOT = "~"


@dataclass(frozen=True)
class Comparison:
    """One comparison of a field with a literal.

    Attributes:
        field: the name of the column, such as ``config.optimizer.lr``.
        operator: ``==``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``in`` or ``not in``.
        value: a number, string, boolean, None or list; a list for ``in`` and ``not in``.
        position: where the field stands in the query, from 0.
    """

    field: str
    operator: str
    value: Any
    position: int


Program = list[Comparison | Connective]
"""A query in postfix order; an empty one matches every run."""


def parse_query(query: str) -> Program:
    """Reads a query.

    Raises:
        QueryError: it does not follow the grammar.
    """
    if not query.strip():
        return []
    from ._grammar import parse  # lark takes longer to import than a thousand runs to open

    return parse(query)


def check_fields(
    program: Program,
    query: str,
    known: Collection[str],
    lazy: Collection[str],
    aliases: Mapping[str, str] = MappingProxyType({}),
) -> Program:
    """Gives a query with the names that its fields have; refuses one of fields that no run has.

    Args:
        program: the query as `parse_query` read it.
        query: the query as it was written.
        known: the fields that can be searched.
        lazy: other columns (metrics, artifacts), which cannot.
        aliases: the names of fields by other names that they go by.

    Raises:
        QueryError: for the first such field, with the nearest names.
    """
    named: Program = []
    for step in program:
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
    # The prefix that all share says nothing about likeness.
    ends = {name.partition(".")[2]: name for name in sorted(known, reverse=True)}
    wanted = field.partition(".")[2].lower()
    same_last = [name for name in sorted(known) if _last(name) == _last(field)]
    close = same_last or [ends[end] for end in difflib.get_close_matches(wanted, ends, n=3)]
    near = f": did you mean {' or '.join(close[:3])}?" if close else " (reader.searchable lists all)"
    return f"no run has a field {field}{near}"


def _last(field: str) -> str:
    return field.rsplit(".", 1)[-1].lower()
