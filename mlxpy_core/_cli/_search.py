"""The runs that the arguments of a command name, as the reader's rows."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._text import printable
from mlxpy_core._reading import ConfigList, Reader

from ._json import print_json
from ._numbers import named_numbers

_ARCHIVED = "info.archived == true"


def find_runs(logs: Path, arguments: Sequence[str], *, archived: bool | None = None) -> ConfigList:
    """Finds the runs that the arguments of a command name, see `choose_runs`.

    What the reader warns of, until the command ends, is a line each on standard error.

    Args:
        logs: the directory of runs.
        arguments: as for `choose_runs`.
        archived: whether archived runs are among them; None: those that are named by number.

    Raises:
        MlxpyError: there is no such directory or no run of a number that is given by itself.
        QueryError: the query is malformed, or names a field that no run has.
    """
    numbers = named_numbers(logs, arguments)
    click.get_current_context().with_resource(_warnings_as_lines())
    reader = Reader(logs, archived=numbers is not None if archived is None else archived)
    for trouble in reader.troubles:
        click.echo(f"mlxpy: {printable(trouble)}", err=True)
    found = reader.search(" ".join(arguments) if numbers is None else "")
    if numbers is None or not len(found):
        return found
    wanted = set(numbers)
    return found.filter((lambda ids: [log_id in wanted for log_id in ids], "info.log_id"))


def need_runs(logs: Path, arguments: Sequence[str], *, archived: bool | None = None) -> ConfigList:
    """Finds runs as `find_runs` does.

    Raises:
        MlxpyError: as there, and where there is none.
    """
    found = find_runs(logs, arguments, archived=archived)
    if not len(found):
        raise MlxpyError(_no_runs(logs, arguments, archived=archived))
    return found


def runs_to_list(
    logs: Path, arguments: Sequence[str], *, as_json: bool, archived: bool
) -> ConfigList | None:
    """Finds runs as `find_runs` does; None where there is none, which has been reported then."""
    found = find_runs(logs, arguments, archived=archived)
    if len(found):
        return found
    if as_json:
        print_json([])
    report_no_runs(logs, arguments, archived=archived)
    return None


def report_no_runs(logs: Path, arguments: Sequence[str], *, archived: bool | None = None) -> None:
    """Prints that there is none, see `_no_runs`."""
    click.echo(f"mlxpy: {_no_runs(logs, arguments, archived=archived)}", err=True)


def _no_runs(logs: Path, arguments: Sequence[str], *, archived: bool | None) -> str:
    """Returns the message that there is none.

    Args:
        logs: the directory of runs.
        arguments: what the runs should have answered.
        archived: whether archived runs would have been found; if not, the message says where some are.
    """
    what = f"no run in {str(logs)!r} answers {' '.join(arguments)!r}"
    if not arguments:
        what = f"no runs in {str(logs)!r}"
    if archived is False and len(Reader(logs, refresh=False, archived=True).search(_ARCHIVED)):
        what += " (--archived has archived runs answer, too)"
    return what


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    def show(message: Warning | str, *place: Any, **more: Any) -> None:
        click.echo(f"mlxpy: {printable(str(message))}", err=True)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
