"""Questions before something is lost, and what is left alone."""

import sys
from collections.abc import Sequence

import click

from mlxpy_core._errors import MlxpyError

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


def print_left(sentences: Sequence[str]) -> None:
    """Prints which runs are left alone, and why."""
    for sentence in sentences[:_SHOWN]:
        click.echo(f"Left alone: {sentence}.", err=True)
    if len(sentences) > _SHOWN:
        click.echo(f"Left alone: {len(sentences) - _SHOWN} more.", err=True)
