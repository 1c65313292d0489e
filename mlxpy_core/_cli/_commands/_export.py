"""``mlxpy export``."""

import functools
import sys
from collections.abc import Callable, Sequence
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

# The trackers that runs are exported to, and what says where.
_PLACES = {"tensorboard": "DIR", "mlflow": "URI", "wandb": ""}


class _Export(click.Command):
    """Has ``--to`` take two arguments as one where the tracker needs a place."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = args.index("--to") + 1 if "--to" in args else len(args)
        if _PLACES.get("".join(args[at : at + 1])) and not "".join(args[at + 1 : at + 2]).startswith(
            "-"
        ):
            args = [*args[:at], " ".join(args[at : at + 2]), *args[at + 2 :]]
        return super().parse_args(ctx, args)


@click.command(cls=_Export, short_help="Writes a table of runs, or hands them to another tracker.")
@runs_argument(required=False)
@logs_option
@archived_option
@click.option(
    "-o",
    "--output",
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
@click.option(
    "--to",
    "tracker",
    metavar="TRACKER [PLACE]",
    help="Hand the runs to another tracker: tensorboard DIR, mlflow URI, or wandb.",
)
def command(
    runs: Sequence[str],
    logs: Path,
    archived: bool,
    output: Path | None,
    metrics: bool,
    spreadsheet: bool | None,
    tracker: str | None,
) -> None:
    """Writes a table with a row for each run, its config and info; or the runs for another tracker.

    \b
    Examples:
      mlxpy export -o runs.csv
      mlxpy export "info.status == 'COMPLETE'" --metrics -o runs.parquet
      mlxpy export 1-20 --to tensorboard events
      mlxpy export --to mlflow sqlite:///mlflow.db
    """

    def found() -> "ConfigList":
        from mlxpy_core._cli._search import need_runs

        return need_runs(logs, runs, archived=archived)

    if tracker and not output:
        _export_to(*tracker.partition(" ")[::2], found)
    elif output and not tracker:
        _export_table(output, found, metrics, spreadsheet)
    else:
        raise MlxpyError("give -o and a file, or --to and a tracker")


def _export_to(tracker: str, place: str, find: Callable[[], "ConfigList"]) -> None:
    from mlxpy_core._cli._exports._exported_run import ExportedRun
    from mlxpy_core._cli._exports._mlflow import export_to_mlflow
    from mlxpy_core._cli._exports._tensorboard import export_to_tensorboard
    from mlxpy_core._cli._exports._wandb import export_to_wandb

    exporters = {
        "tensorboard": export_to_tensorboard,
        "mlflow": export_to_mlflow,
        "wandb": export_to_wandb,
    }

    if tracker not in _PLACES:
        raise MlxpyError(f"--to {tracker!r}: give {', '.join(_PLACES)}")
    if bool(place) != bool(_PLACES[tracker]):
        raise MlxpyError(f"--to {tracker}: give --to {tracker} {_PLACES[tracker]}".rstrip())
    found = find()
    try:
        count = exporters[tracker](map(ExportedRun, found), place)
    except ImportError as error:
        raise MlxpyError(f"--to {tracker}: {error}: pip install 'mlxpy[{tracker}]'") from error
    same = f", {len(found) - count} were there" if count < len(found) else ""
    click.echo(f"Exported {count} run{'s' if count != 1 else ''}{same}.")


def _export_table(
    output: Path, find: Callable[[], "ConfigList"], metrics: bool, spreadsheet: bool | None
) -> None:
    from mlxpy_core._cli._formats import WRITERS, csv_text, write_csv

    write = WRITERS.get(output.suffix)
    if str(output) != "-" and write is None:
        raise MlxpyError(f"-o {str(output)!r}: give a file that ends in {', '.join(WRITERS)}, or -")
    table = _table(find(), metrics)
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
