"""The arguments that commands share: which directory, which runs, and whether a program reads."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from mlxpy_core._runs._directory import is_run_name

Command = TypeVar("Command", bound=Callable[..., Any])


def _absolute(ctx: click.Context, parameter: click.Parameter, value: Path) -> Path:
    return Path.cwd() / value.expanduser()


logs_option = click.option(
    "--logs",
    type=click.Path(path_type=Path),
    default="./logs",
    envvar="MLXPY_LOGS",
    show_default=True,
    show_envvar=True,
    callback=_absolute,
    metavar="DIR",
    help="The directory of runs.",
)
"""Adds ``--logs DIR``, given to the command as `logs`, absolute."""

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print a JSON array of objects, for programs."
)
"""Adds ``--json``, given to the command as `as_json`."""

archived_option = click.option("--archived", is_flag=True, help="Archived runs, too.")

yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask.")
"""Adds ``--yes``: a question is answered before it is asked."""

trust_option = click.option(
    "--trust",
    multiple=True,
    metavar="USER",
    help="Do what the files of this user say without asking; may be repeated.",
)

retry_option = click.option(
    "--retry", is_flag=True, help="Submit runs again that have tries left (hydra.launcher.retries)."
)


def runs_argument(*, required: bool, more: str = "") -> Callable[[Command], Command]:
    """Adds ``RUNS...``, given to the command as `runs`, arguments for `choose_runs`.

    Args:
        required: whether there must be any.
        more: what else stands among them, as the help shows it.
    """
    metavar = " ".join(filter(None, ["RUNS..." if required else "[RUNS...]", more]))
    return click.argument(
        "runs", nargs=-1, required=required, metavar=metavar, shell_complete=complete_number
    )


def run_argument(name: str = "run") -> Callable[[Command], Command]:
    """Adds ``RUN``, given to the command as `name`, an argument for `choose_run`."""
    return click.argument(name, metavar="RUN", shell_complete=complete_number)


def complete_number(ctx: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """Completes the number of a run."""
    logs = ctx.params.get("logs") or Path("logs")
    try:
        names = [name for name in os.listdir(logs) if is_run_name(name) and name.startswith(begun)]
    except OSError:
        return []
    return sorted(names, key=int)
