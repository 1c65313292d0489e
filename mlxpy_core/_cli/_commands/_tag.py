"""``mlxpy tag``."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import click

from mlxpy_core._cli._arguments import complete_number, logs_option
from mlxpy_core._cli._asking import print_left
from mlxpy_core._cli._selection import runs_to_change
from mlxpy_core._errors import MlxpyError

_OPTIONS_WITH_VALUES = ("--logs",)


class _Tag(click.Command):
    """Takes -TAG for what it is: click would read it as options of one letter each."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        before = ["", *args]
        changes = [
            argument
            for argument, previous in zip(args, before, strict=False)
            if _is_change(argument) and previous not in _OPTIONS_WITH_VALUES
        ]
        ctx.obj = changes
        return super().parse_args(ctx, [argument for argument in args if argument not in changes])


def _is_change(argument: str) -> bool:
    minus = argument.startswith("-") and not argument.startswith("--") and argument != "-h"
    return minus or argument.startswith("+")


def _complete(ctx: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    if not begun.startswith("+"):
        return complete_number(ctx, parameter, begun)
    from mlxpy_core._reading import Reader

    tags: set[str] = set()
    with contextlib.suppress(MlxpyError):
        found = Reader(ctx.params.get("logs") or Path("logs"), refresh=False).search()
        if "info.tags" in found.keys():  # noqa: SIM118  # not a dict
            tags.update(str(tag) for listed in found["info.tags"] for tag in listed or ())
    return sorted(f"+{tag}" for tag in tags if tag.startswith(begun[1:]))


@click.command(cls=_Tag, options_metavar="[OPTIONS]", no_args_is_help=True)
@click.argument(
    "runs", nargs=-1, required=True, metavar="RUNS... +TAG... -TAG...", shell_complete=_complete
)
@logs_option
@click.pass_obj
def command(changes: Sequence[str], runs: Sequence[str], logs: Path) -> None:
    """Adds tags to runs, and takes tags away.

    A tag is a word without spaces and commas. mlxpy ls shows tags, and queries find them. Runs may be
    waiting, running or over; a run that is submitted again keeps its tags.

    \b
    Examples:
      mlxpy tag 3 5-7 +baseline
      mlxpy tag "info.status == 'FAILED'" +look-at -baseline
      mlxpy ls "'baseline' in info.tags"
    """
    from mlxpy_core._operations._annotating import annotate, tagged
    from mlxpy_core._runs._run_names import run_names

    change = tagged(changes)
    done = annotate(runs_to_change(logs, runs), change)
    if done.runs:
        click.echo(f"Tagged {run_names(done.runs)}.")
    print_left(done.left)
    if done.left:
        raise click.exceptions.Exit(1)
