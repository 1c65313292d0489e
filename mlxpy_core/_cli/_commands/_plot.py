"""``mlxpy plot``."""

import os
from collections.abc import Sequence
from pathlib import Path

import click

from mlxpy_core._cli._arguments import archived_option, logs_option, runs_argument
from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._files import whole_file


@click.command(short_help="Plots one field over another, a line for each setting.")
@click.argument("x")
@click.argument("y")
@runs_argument(required=False)
@logs_option
@archived_option
@click.option("--hue", metavar="FIELD", help="The field that colours tell apart.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A picture (.png, .pdf, .svg, …); otherwise a window opens.",
)
def command(
    x: str,
    y: str,
    runs: Sequence[str],
    logs: Path,
    archived: bool,
    hue: str | None,
    output: Path | None,
) -> None:
    """Plots one field over another, a line for the runs that differ only in their seed.

    \b
    Examples:
      mlxpy plot train.epoch train.loss -o loss.png
      mlxpy plot train.epoch train.loss "config.seed == 1" --hue config.optimizer.lr -o loss.pdf
      mlxpy plot config.optimizer.lr train.loss
    """
    from mlxpy_core._cli._search import need_runs

    found = need_runs(logs, runs, archived=archived)
    if output:
        os.environ["MPLBACKEND"] = "agg"  # it needs no display
    found.plot(x, y, hue, backend="matplotlib")
    from matplotlib import pyplot

    if output:
        formats = pyplot.gcf().canvas.get_supported_filetypes()
        if output.suffix[1:] not in formats:
            raise MlxpyError(f"-o {str(output)!r}: give a file that ends in .{', .'.join(formats)}")
        with whole_file(output) as path:
            pyplot.savefig(path)
    elif pyplot.get_backend().lower() == "agg":
        raise MlxpyError("there is no display to show the plot on: give -o FILE")
    else:
        pyplot.show()
