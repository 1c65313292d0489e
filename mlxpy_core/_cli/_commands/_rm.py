"""``mlxpy rm``."""

from collections.abc import Sequence
from pathlib import Path

import click

from mlxpy_core._cli._arguments import (
    archived_option,
    logs_option,
    runs_argument,
    trust_option,
    yes_option,
)
from mlxpy_core._cli._asking import agreed, believed, print_left
from mlxpy_core._cli._numbers import named_numbers, numbers_among
from mlxpy_core._cli._selection import runs_to_change
from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._text import printable
from mlxpy_core._runs._directory import RunDirectory, is_run_name

_NAMED = 10
# So long the sizes are looked at before it is asked.
_MEASURE_S = 5.0


@click.command()
@runs_argument(required=False)
@logs_option
@archived_option
@click.option("--restore", is_flag=True, help="Bring runs back from the trash.")
@click.option("--empty-trash", is_flag=True, help="Remove for good what is in the trash.")
@yes_option
@trust_option
def command(
    runs: Sequence[str],
    logs: Path,
    archived: bool,
    restore: bool,
    empty_trash: bool,
    yes: bool,
    trust: Sequence[str],
) -> None:
    """Moves runs to the trash, .trash among the runs.

    It names what goes and its size, and asks. Runs that wait or run are left alone. Their numbers are
    never given again, also when the trash has been emptied. Runs of other users are asked about by
    themselves, which --yes does not answer.

    \b
    Examples:
      mlxpy rm 12 15-20
      mlxpy rm "info.status == 'FAILED'"
      mlxpy rm --restore 12
      mlxpy rm --empty-trash
    """
    named_numbers(logs, ())  # there is such a directory
    if restore and empty_trash:
        raise MlxpyError("--restore and --empty-trash: give one of them")
    if empty_trash:
        if runs:
            raise MlxpyError("--empty-trash removes all that is in the trash: leave the runs out")
        _empty_trash(logs, yes=yes)
    elif restore:
        _restore(logs, runs)
    elif not runs:
        raise MlxpyError("name the runs that are to go: mlxpy rm 12 15-20")
    else:
        _remove(logs, runs, trust, archived=archived, yes=yes)


def _remove(logs: Path, runs: Sequence[str], trust: Sequence[str], *, archived: bool, yes: bool) -> None:
    from mlxpy_core._operations._removing import plan_removal, remove_runs
    from mlxpy_core._runs._run_names import run_command, run_names

    chosen = runs_to_change(logs, runs, archived=archived)
    plan = plan_removal(believed(chosen, trust, "that they have ended"))
    for trouble in plan.troubles:
        click.echo(f"mlxpy: {printable(trouble)}", err=True)
    print_left(plan.left)
    if not plan.runs:
        click.echo("Nothing to remove.")
        return
    total = _print_sizes({run: status.value if status else "-" for run, status in plan.runs.items()})
    count = f"{len(plan.runs)} run{'s' * (len(plan.runs) != 1)}"
    if not agreed(f"Move {count} ({total}) to the trash?", yes=yes):
        return
    plan.left.clear()
    removed = remove_runs(plan)
    print_left(plan.left)
    if removed:
        back = run_command("rm --restore", [RunDirectory(logs / str(number)) for number in removed])
        click.echo(f"Moved {run_names(removed)} to the trash (to bring back: {back}).")
    if plan.left:
        raise click.exceptions.Exit(1)


def _print_sizes(runs: dict[RunDirectory, str]) -> str:
    """Prints the size of each of the first runs; returns that of all."""
    from mlxpy_core._cli._sizes import size_text
    from mlxpy_core._operations._space import Measure

    measure, total = Measure(_MEASURE_S), 0
    for place, (run, what) in enumerate(runs.items()):
        size = measure.of_tree(run.path)
        total += size
        if place < _NAMED:
            link = ", a link, whose target stays" if run.path.is_symlink() else ""
            click.echo(f"Run {run.log_id} ({what}, {size_text(size)}{link})")
    if len(runs) > _NAMED:
        click.echo(f"and {len(runs) - _NAMED} more")
    return f"{'' if measure.whole else 'at least '}{size_text(total)}"


def _restore(logs: Path, runs: Sequence[str]) -> None:
    from mlxpy_core._operations._cleaning import runs_in_trash
    from mlxpy_core._operations._removing import restore_runs
    from mlxpy_core._runs._run_names import run_names

    there = [run.log_id for run in runs_in_trash(logs)]
    wanted = numbers_among(there, runs)
    if wanted is None:
        what = f"give numbers of {run_names(sorted(there))}" if there else "the trash is empty"
        raise MlxpyError(f"--restore takes numbers of runs in the trash: {what}")
    restored, left = restore_runs(logs, wanted)
    if restored:
        click.echo(f"Restored {run_names(restored)}.")
    print_left(left)
    if left:
        raise click.exceptions.Exit(1)


def _empty_trash(logs: Path, *, yes: bool) -> None:
    from mlxpy_core._cli._sizes import size_text
    from mlxpy_core._operations._cleaning import remove, runs_in_trash
    from mlxpy_core._operations._removing import copies_of_trash, empty_trash
    from mlxpy_core._operations._space import Measure
    from mlxpy_core._runs._trash import trash_of

    there = sorted(runs_in_trash(logs), key=lambda run: run.log_id)
    if there:
        _print_sizes(dict.fromkeys(there, "in the trash"))
    others = [RunDirectory(path) for path in logs.iterdir() if is_run_name(path.name)]
    copies = copies_of_trash(logs, others)
    for copy in copies.copies:
        click.echo(f"{printable(str(copy))} (a copy of code of no other run here)")
    measure = Measure(_MEASURE_S)
    size = size_text(measure.of_tree(trash_of(logs)) + sum(map(measure.of_tree, copies.copies)))
    if not there:
        empty_trash(logs)  # what is left of an emptying that was broken off
        click.echo("The trash is empty.")
    elif agreed(f"Remove for good ({'' if measure.whole else 'at least '}{size})?", yes=yes):
        remove(copies)  # first: they can be made again as long as the runs are there
        click.echo(f"Removed {empty_trash(logs)}.")
