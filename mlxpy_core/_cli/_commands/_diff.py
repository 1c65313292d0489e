"""``mlxpy diff``."""

from pathlib import Path

import click

from mlxpy_core._cli._arguments import json_option, logs_option, run_argument
from mlxpy_core._cli._json import print_json
from mlxpy_core._cli._selection import choose_run
from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._text import printable

_EQUAL, _DIFFERENT = 0, 1  # as diff(1)


class _Trouble(click.ClickException):
    exit_code = 2


@click.command()
@run_argument("first")
@run_argument("second")
@logs_option
@click.option("--info", is_flag=True, help="Compare the fields of info.yaml, too.")
@json_option
@click.pass_context
def command(ctx: click.Context, first: str, second: str, logs: Path, info: bool, as_json: bool) -> None:
    """Shows the settings in which two runs differ.

    The exit code is 0 if they are equal, 1 if they differ, 2 for errors.

    \b
    Examples:
      mlxpy diff 3 4
      mlxpy diff 3 4 --info
    """
    from mlxpy_core._cli._differences import differences

    try:
        runs = choose_run(logs, first), choose_run(logs, second)
        rows = differences(*runs, ("config.", "info.") if info else ("config.",))
    except MlxpyError as error:
        raise _Trouble(printable(str(error))) from error
    if as_json:
        print_json(rows)
    elif rows:
        from mlxpy_core._cli._table import print_table

        columns = {"field": [row["field"] for row in rows]}
        for key, run in zip(("first", "second"), runs, strict=True):
            # None is a value, too, and shown as YAML has it.
            columns[f"run {run.log_id}"] = [
                "null" if key in row and row[key] is None else row.get(key) for row in rows
            ]
        print_table(columns)
    ctx.exit(_DIFFERENT if rows else _EQUAL)
