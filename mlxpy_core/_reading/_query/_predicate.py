"""What a query becomes: a predicate in postfix order, and the errors that show the place."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from mlxpy_core._errors import MlxpyError


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
        operator: ``==``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``in`` or ``not in``; ``holds`` or
            ``holds not`` where the value is what is to be in the field, a list.
        value: a number, string, boolean, None or list; a list for ``in`` and ``not in``.
        position: where the field stands in the query, from 0.
    """

    field: str
    operator: str
    value: Any
    position: int


Predicate = list[Comparison | Connective]
"""A query in postfix order; an empty one matches every run."""
