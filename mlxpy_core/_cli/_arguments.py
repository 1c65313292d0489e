"""The arguments that commands share: which directory, which runs, and whether a program reads."""

import json
import math
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from mlxpy_core._directories import RunDirectory, is_run_name
from mlxpy_core._errors import MlxpyError, StorageError
from mlxpy_core._flatten import with_text_keys

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
    metavar = "RUNS..." if required else "[RUNS...]"
    return click.argument(
        "runs", nargs=-1, required=required, metavar=metavar, shell_complete=_complete_number
    )


def run_argument(name: str = "run") -> Callable[[Command], Command]:
    """Adds ``RUN``, given to the command as `name`, a word for `choose_run`."""
    return click.argument(name, metavar="RUN", shell_complete=_complete_number)


def _complete_number(ctx: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    logs = ctx.params.get("logs") or Path("logs")
    try:
        names = [name for name in os.listdir(logs) if is_run_name(name) and name.startswith(begun)]
    except OSError:
        return []
    return sorted(names, key=int)


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
    numbers = named_numbers(logs, words)
    if numbers is None:
        from ._find import find_runs  # numbers do without the reader

        found = find_runs(logs, words)
        numbers = found["info.log_id"] if len(found) else []
    return [RunDirectory(logs / str(number)) for number in numbers]


def named_numbers(logs: Path, words: Sequence[str]) -> list[int] | None:
    """Finds the numbers of the runs that words name by number, ascending; None if they do not.

    Raises:
        MlxpyError: there is no such directory or no run of a number that is given by itself.
    """
    if not logs.is_dir():
        raise MlxpyError(f"no directory {str(logs)!r}: give --logs DIR, the parent_log_dir of your runs")
    spans = [_SPAN.fullmatch(part) for word in words for part in word.split(",")]
    if not words or not all(spans):
        return None
    return sorted({number for span in spans if span for number in _numbers(logs, span)})


def choose_run(logs: Path, word: str) -> RunDirectory:
    """Finds the one run that a word names.

    Raises:
        MlxpyError: there is none, or there are several.
    """
    runs = choose_runs(logs, [word])
    if len(runs) != 1:
        raise MlxpyError(f"{word!r} names {len(runs)} runs: give the number of one")
    return runs[0]


def _numbers(logs: Path, span: "re.Match[str]") -> list[int]:
    first, last = int(span[1]), int(span[2] or span[1])
    if span[2] is None:
        if not (logs / span[1]).is_dir():
            raise MlxpyError(f"no run {first} in {str(logs)!r}")
        return [first]
    try:
        names = os.listdir(logs)
    except OSError as error:
        raise StorageError(f"cannot read {logs}", error) from error
    # A span may have gaps, and end far beyond the last run.
    within = (int(name) for name in names if is_run_name(name) and first <= int(name) <= last)
    return [number for number in within if (logs / str(number)).is_dir()]


def print_json(rows: Sequence[Any]) -> None:
    """Prints an array for programs; what is no number in JSON (NaN, infinities) is null."""
    click.echo(json.dumps([strict_json(row) for row in rows], indent=2, default=str))


def strict_json(value: Any) -> Any:
    """Gives plain data without what JSON has no number for: NaN and infinities become null."""
    if isinstance(value, dict):
        return {key: strict_json(item) for key, item in with_text_keys(value).items()}
    if isinstance(value, (list, tuple)):
        return [strict_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
