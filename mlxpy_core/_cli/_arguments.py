"""The arguments that commands share: which directory, which runs, and whether a program reads."""

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from mlxpy_core._directories import RunDirectory
from mlxpy_core._errors import MlxpyError

Command = TypeVar("Command", bound=Callable[..., Any])

_SPAN = re.compile(r"([1-9]\d{0,17})(?:-([1-9]\d{0,17}))?")


def _absolute(ctx: click.Context, parameter: click.Parameter, value: Path) -> Path:
    return Path.cwd() / value.expanduser()


def logs_option(command: Command) -> Command:
    """Adds ``--logs DIR``, given to the command as `logs`, absolute."""
    return click.option(
        "--logs",
        type=click.Path(path_type=Path),
        default="./logs",
        envvar="MLXPY_LOGS",
        show_default=True,
        show_envvar=True,
        callback=_absolute,
        metavar="DIR",
        help="The directory of runs.",
    )(command)


def json_option(command: Command) -> Command:
    """Adds ``--json``, given to the command as `as_json`."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print a JSON array of objects, for programs."
    )(command)


def yes_option(command: Command) -> Command:
    """Adds ``--yes``, given to the command as `yes`: a question is answered before it is asked."""
    return click.option("-y", "--yes", is_flag=True, help="Do not ask.")(command)


def runs_argument(*, required: bool) -> Callable[[Command], Command]:
    """Adds ``RUNS...``, given to the command as `runs`, words for `choose_runs`."""
    return click.argument("runs", nargs=-1, required=required, metavar="RUNS...")


def choose_runs(logs: Path, words: Sequence[str]) -> list[RunDirectory]:
    """Finds the runs that the words of a command name, by number ascending.

    Args:
        logs: the directory of runs.
        words: numbers and spans such as ``3``, ``5-7`` and ``1,4``; or the words of one query; none for
            all runs.

    Raises:
        MlxpyError: there is no such directory or no run of a number that is given by itself.
        QueryError: the query is malformed, or names a field that no run has.
    """
    if not logs.is_dir():
        raise MlxpyError(f"no directory {str(logs)!r}: give --logs DIR, the parent_log_dir of your runs")
    spans = [_SPAN.fullmatch(part) for word in words for part in word.split(",")]
    if words and all(spans):
        numbers = {number for span in spans if span for number in _numbers(logs, span)}
        return [RunDirectory(logs / str(number)) for number in sorted(numbers)]
    from mlxpy_core._reading import Reader  # numbers do without it

    found = Reader(logs).search(" ".join(words))
    return [RunDirectory(logs / str(log_id)) for log_id in found["info.log_id"]]


def choose_run(logs: Path, word: str) -> RunDirectory:
    """Finds the one run that a word names.

    Raises:
        MlxpyError: there is none, or there are several.
    """
    runs = choose_runs(logs, [word])
    if len(runs) != 1:
        raise MlxpyError(f"{word!r} names {len(runs)} runs: give the number of one")
    return runs[0]


def _numbers(logs: Path, span: "re.Match[str]") -> Iterator[int]:
    first, last = int(span[1]), int(span[2] or span[1])
    if span[2] is None and not (logs / span[1]).is_dir():
        raise MlxpyError(f"no run {first} in {str(logs)!r}")
    # A span may have gaps.
    for number in range(first, last + 1):
        if (logs / str(number)).is_dir():
            yield number


def print_json(rows: Sequence[Any]) -> None:
    """Prints an array for programs; what is no number in JSON (NaN, infinities) is null."""
    click.echo(json.dumps([_strict(row) for row in rows], indent=2, default=str))


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
