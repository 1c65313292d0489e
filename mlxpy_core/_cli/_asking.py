"""Questions before something is lost, and what is left alone."""

import sys
from collections.abc import Sequence

import click

from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._owners import owner_name
from mlxpy_core._io._text import printable
from mlxpy_core._runs._directory import RunDirectory

_SHOWN = 10


def agreed(question: str, *, yes: bool) -> bool:
    """Asks at the terminal whether to go on.

    Args:
        question: what is asked.
        yes: whether it was answered beforehand.

    Raises:
        MlxpyError: nobody is at a terminal.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise MlxpyError("nothing was done: nobody is at the terminal to agree; add --yes")
    return click.confirm(question)


def believed(runs: Sequence[RunDirectory], trusted: Sequence[str], what: str) -> list[RunDirectory]:
    """Returns the runs whose files may say what is done: one's own, and those that are agreed to.

    Each other user whose runs are among them is asked about at the terminal, and named.

    Args:
        runs: the runs.
        trusted: names of users who need not be asked about.
        what: what the files say, for the question.
    """
    from mlxpy_core._operations._foreign import other_owner
    from mlxpy_core._runs._run_names import run_names

    owners = {run: other_owner(run) for run in runs}
    agreed_to: set[int | None] = {None}
    for owner in sorted({one for one in owners.values() if one is not None}):
        name = owner_name(owner)
        names = run_names([run.log_id for run in runs if owners[run] == owner])
        if name.removeprefix("user ") in trusted:
            agreed_to.add(owner)
        elif not sys.stdin.isatty():
            print_left([f"the files of {name} say of {names} {what}: --trust USER does what they say"])
        elif click.confirm(f"The files of {name} say of {names} {what}. Do what they say?"):
            agreed_to.add(owner)
    return [run for run in runs if owners[run] in agreed_to]


def print_left(sentences: Sequence[str]) -> None:
    """Prints which runs are left alone, and why."""
    for sentence in sentences[:_SHOWN]:
        click.echo(f"Left alone: {printable(sentence)}.", err=True)
    if len(sentences) > _SHOWN:
        click.echo(f"Left alone: {len(sentences) - _SHOWN} more.", err=True)
