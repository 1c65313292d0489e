"""``mlxpy report``."""

from collections.abc import Sequence
from pathlib import Path

import click

from mlxpy_core._cli._arguments import logs_option, runs_argument
from mlxpy_core._io._files import whole_stream
from mlxpy_core._io._text import printable


@click.command(short_help="Writes one HTML file: table, curves, failures, images.")
@runs_argument(required=False)
@logs_option
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="An .html file.",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="FIELD",
    help="Begin with this metric, and compute how important settings are for it; may be repeated.",
)
def command(runs: Sequence[str], logs: Path, output: Path, metrics: Sequence[str]) -> None:
    """Writes a report: one HTML file with a table of the runs, their curves, failures and images.

    It opens in a browser without a network, from a mail or a shared folder.

    \b
    Examples:
      mlxpy report -o report.html
      mlxpy report "info.status == 'COMPLETE'" --metric test.accuracy -o report.html
    """
    from mlxpy_core._cli._search import need_runs
    from mlxpy_core._report import make_page, report_content

    found = need_runs(logs, runs)
    target = Path.cwd() / output.expanduser()
    page = make_page(report_content(found, target, " ".join(runs), metrics)).encode()
    with whole_stream(target) as file:
        file.write(page)
    noun = "run" if len(found) == 1 else "runs"
    click.echo(f"{printable(str(output))}: {len(found)} {noun}, {len(page) / 1e6:.1f} MB")
