"""``mlxpy export``."""

import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlxpy_core._cli._arguments import archived_option, logs_option, runs_argument
from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._files import whole_file
from mlxpy_core._io._text import printable

if TYPE_CHECKING:
    import pyarrow as pa

    from mlxpy_core._reading import ConfigList


@click.command()
@runs_argument(required=False)
@logs_option
@archived_option
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="A .csv, .parquet, .arrow, .json or .jsonl file; - for CSV on standard output.",
)
@click.option("--metrics", is_flag=True, help="Add the metrics, a list for each run.")
@click.option(
    "--spreadsheet/--no-spreadsheet",
    default=None,
    help="Whether texts in CSV that begin as formulas do get an apostrophe; by default in files only.",
)
def command(
    runs: Sequence[str],
    logs: Path,
    archived: bool,
    output: Path,
    metrics: bool,
    spreadsheet: bool | None,
) -> None:
    """Writes a table with a row for each run: its config and info.

    \b
    Examples:
      mlxpy export -o runs.csv
      mlxpy export "info.status == 'COMPLETE'" --metrics -o runs.parquet
    """  # noqa: D301  # click's mark of a paragraph that is not to be wrapped
    from mlxpy_core._cli._formats import WRITERS, csv_text, write_csv
    from mlxpy_core._cli._search import need_runs

    write = WRITERS.get(output.suffix)
    if str(output) != "-" and write is None:
        raise MlxpyError(f"-o {str(output)!r}: give a file that ends in {', '.join(WRITERS)}, or -")
    table = _table(need_runs(logs, runs, archived=archived), metrics)
    if write is None:
        text = csv_text(table, spreadsheet=bool(spreadsheet))
        click.echo(printable(text) if sys.stdout.isatty() else text, nl=False)
        return
    if output.suffix == ".csv" and spreadsheet is not None:
        write = functools.partial(write_csv, spreadsheet=spreadsheet)
    with whole_file(output) as path:
        write(table, path)


def _table(found: "ConfigList", metrics: bool) -> "pa.Table":
    known = found.keys()
    fields = [
        field
        for field in known
        if field.startswith(("config.", "info.")) or (metrics and not field.startswith("artifact."))
    ]
    return found.select(fields).toArrow()
