"""``mlxpy clean``."""

from pathlib import Path

import click

from mlxpy_core._cli._arguments import logs_option, yes_option
from mlxpy_core._cli._asking import agreed
from mlxpy_core._io._text import printable


@click.command(short_help="Removes copies of code and directories that no run needs.")
@logs_option
@yes_option
def command(logs: Path, yes: bool) -> None:
    """Removes what no run needs: copies of code, frozen configs, directories of arrays and of no runs.

    It shows what it will remove, and asks. A copy goes when its runs have all ended, if it holds nothing
    but its commit; mlxpy rerun and resubmit make it again. Runs in other directories are not looked at.

    \b
    Examples:
      mlxpy clean
      mlxpy clean --logs /scratch/logs --yes
    """
    from mlxpy_core._cli._search import find_runs
    from mlxpy_core._operations._cleaning import find_leftovers, remove

    find_runs(logs, ())  # reconciles the runs
    found = find_leftovers(logs)
    for sentence in found.kept:
        click.echo(f"Kept: {printable(sentence)}.", err=True)
    if not found:
        click.echo("Nothing to remove.")
        return
    kinds = (
        ("a copy of code", found.copies),
        ("a frozen config", found.configs),
        ("the links of an array that has ended", found.arrays),
        ("a directory of no run", found.empty),
    )
    for what, paths in kinds:
        for path in paths:
            click.echo(f"{printable(str(path))} ({what})")
    if agreed("Remove?", yes=yes):
        click.echo(f"Removed {remove(found)}.")
