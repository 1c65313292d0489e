"""The runs that arguments of a command name, by number or by a query."""

from collections.abc import Sequence
from pathlib import Path

from mlxpy_core._errors import MlxpyError
from mlxpy_core._runs._directory import RunDirectory

from ._numbers import named_numbers


def choose_runs(
    logs: Path, arguments: Sequence[str], *, archived: bool | None = None, reconciled: bool = False
) -> list[RunDirectory]:
    """Finds the runs that the arguments of a command name, by number ascending.

    Args:
        logs: the directory of runs.
        arguments: numbers and spans such as ``3``, ``5-7`` and ``1,4``; or the parts of one query; none
            for all runs.
        archived: whether a query finds archived runs, too; those that are named by number are found.
        reconciled: whether their status is to be that of now, which reads all runs.

    Raises:
        MlxpyError: there is no such directory or no run of a number that is given by itself.
        QueryError: the query is malformed, or names a field that no run has.
    """
    numbers = None if reconciled else named_numbers(logs, arguments)
    if numbers is None:
        from ._search import find_runs  # numbers do without the reader

        found = find_runs(logs, arguments, archived=archived)
        numbers = found["info.log_id"] if len(found) else []
    return [RunDirectory(logs / str(number)) for number in numbers]


def runs_to_change(
    logs: Path, arguments: Sequence[str], *, archived: bool | None = None, reconciled: bool = False
) -> list[RunDirectory]:
    """Finds runs as `choose_runs` does, for a command that has nothing to do where there is none."""
    runs = choose_runs(logs, arguments, archived=archived, reconciled=reconciled)
    if not runs:
        from ._search import report_no_runs

        report_no_runs(logs, arguments, archived=archived)
    return runs


def choose_run(logs: Path, argument: str) -> RunDirectory:
    """Finds the one run that an argument names.

    Raises:
        MlxpyError: there is none, or there are several.
    """
    runs = choose_runs(logs, [argument])
    if len(runs) != 1:
        raise MlxpyError(f"{argument!r} names {len(runs)} runs: give the number of one")
    return runs[0]
