"""``mlxpy archive``."""

from collections.abc import Sequence
from pathlib import Path

import click

from mlxpy_core._cli._arguments import logs_option, runs_argument
from mlxpy_core._cli._asking import print_left
from mlxpy_core._cli._selection import runs_to_change


@click.command()
@runs_argument(required=True)
@logs_option
@click.option("--undo", is_flag=True, help="Have listings show the runs again.")
def command(runs: Sequence[str], logs: Path, undo: bool) -> None:
    """Has listings leave runs out; no file is moved.

    --archived has mlxpy ls, status, export and plot look at them all the same, Reader(archived=True) a
    program. A run that waits or runs is listed until it has ended.

    \b
    Examples:
      mlxpy archive 1-40
      mlxpy archive "info.start_date < '2026-01-01'"
      mlxpy archive --undo 12
    """
    from mlxpy_core._operations._annotating import annotate, archived
    from mlxpy_core._runs._run_names import run_names

    # There is no --archived here that the message could name.
    chosen = runs_to_change(logs, runs, archived=True if undo else None)
    done = annotate(chosen, archived(not undo))
    if done.runs:
        click.echo(f"{'Listed again' if undo else 'Archived'}: {run_names(done.runs)}.")
    print_left(done.left)
    if done.left:
        raise click.exceptions.Exit(1)
