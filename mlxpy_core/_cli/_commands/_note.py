"""``mlxpy note``."""

from pathlib import Path

import click

from mlxpy_core._cli._arguments import logs_option, run_argument
from mlxpy_core._cli._selection import choose_run
from mlxpy_core._errors import MlxpyError
from mlxpy_core._runs._annotations import check_note


@click.command(short_help="Writes a note to a run; an empty text takes it away.")
@run_argument()
@click.argument("text")
@logs_option
def command(run: str, text: str, logs: Path) -> None:
    """Writes a note to a run, in the place of an earlier one; an empty text takes it away.

    mlxpy ls and show show it. A run that is made again (mlxpy rerun) does not get it.

    \b
    Examples:
      mlxpy note 3 "diverged: the schedule was off by one"
      mlxpy note 3 ""
    """
    from mlxpy_core._operations._annotating import annotate, noted

    note = check_note(text)
    directory = choose_run(logs, run)
    done = annotate([directory], noted(note))
    if done.left:
        raise MlxpyError(done.left[0])
    click.echo(f"Run {directory.log_id} has {'a note' if note else 'no note'} now.")
