"""The command ``mlxpy``: each subcommand has a module of its own, imported when it is asked for."""

import difflib
import importlib
from typing import Any, NoReturn

import click

from ._ending import errors_end_the_command

# In the order of `mlxpy --help`. The module `_commands/_<name>.py` holds the click command `command`.
_COMMANDS = (
    "ls", "show", "logs", "top", "status", "cancel", "resubmit", "rerun", "diff", "export", "plot",
    "report", "tag", "note", "archive", "rm", "du", "clean",
)  # fmt: skip


class _Commands(click.Group):
    """The subcommands; what a user does wrong ends one in a sentence and exit code 1."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"._commands._{name}", __package__).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in _COMMANDS and not args[0].startswith("-"):
            _unknown(ctx, args[0])
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        with errors_end_the_command():
            return super().invoke(ctx)


def _unknown(ctx: click.Context, name: str) -> NoReturn:
    near = difflib.get_close_matches(name, _COMMANDS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"give {', '.join(_COMMANDS)}"
    raise click.UsageError(f"no command {name!r}: {hint}", ctx)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""mlxpy COMMAND --help tells of its options. The shell completes them after
    eval "$(_MLXPY_COMPLETE=bash_source mlxpy)" (or zsh_source, fish_source).""",
)
@click.version_option(package_name="mlxpy")
def main() -> None:
    """Lists, follows, stops and repeats the runs of a directory.

    RUNS are numbers and spans (3 5-7), or a query such as "info.status == 'FAILED'".
    """
