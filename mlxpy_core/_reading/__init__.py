"""The reader: all runs of a directory as Arrow tables, a query language, and what a query finds."""

from mlxpy_core._reading._query._predicate import QueryError
from mlxpy_core._reading._query._user_parser import DefaultParser, Parser

from ._config_list import ConfigList, GroupedConfigList
from ._reader import Reader
from ._run_row import Artifact, RunRow

__all__ = [
    "Artifact",
    "ConfigList",
    "DefaultParser",
    "GroupedConfigList",
    "Parser",
    "QueryError",
    "Reader",
    "RunRow",
]
