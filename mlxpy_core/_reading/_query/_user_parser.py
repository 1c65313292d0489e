"""Query languages of users': what a `Reader` takes as its parser."""

import abc
from collections.abc import Callable, Mapping
from typing import Any

from ._parser import parse_query
from ._predicate import Predicate

Condition = Callable[[Mapping[str, Any]], object]
"""A function that is called with the fields of a run, and says whether the run answers."""


class Parser(abc.ABC):
    """Reads queries."""

    @abc.abstractmethod
    def parse(self, query: str) -> Predicate | Condition:
        """Reads a query that is not empty.

        Returns:
            What `DefaultParser.parse` returns, or a function that is called with the fields of each run,
            such as ``config.optimizer.lr``, and says whether the run answers; a query of TinyDB is one.
        """


class DefaultParser(Parser):
    """Reads the query language of `Reader.search`; a subclass may change the text before."""

    def parse(self, query: str) -> Predicate | Condition:
        """Reads a query.

        Raises:
            QueryError: it does not follow the grammar.
        """
        return parse_query(query)
