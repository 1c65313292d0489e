"""``mlxpy top``."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from mlxpy_core._cli._arguments import logs_option, retry_option, runs_argument
from mlxpy_core._cli._numbers import named_numbers
from mlxpy_core._errors import MlxpyError


@click.command(short_help="Watches runs live: status, queue, progress and a metric.")
@runs_argument(required=False)
@logs_option
@click.option("--metric", metavar="FIELD", help="The metric that is shown at first.")
@retry_option
@click.pass_context
def command(
    ctx: click.Context, runs: Sequence[str], logs: Path, metric: str | None, retry: bool
) -> None:
    """Watches runs in the terminal: status, queue, progress and a metric, as they change.

    Enter opens a run: curves, the settings in which it differs, and the end of its output. Keys filter
    the runs, sort and mark them, and cancel, resubmit, tag and archive the marked ones.

    \b
    Examples:
      mlxpy top
      mlxpy top "info.status in ['SUBMITTED', 'RUNNING']" --metric val.loss
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise MlxpyError("mlxpy top needs a terminal: mlxpy ls and mlxpy status print what runs do")
    if os.environ.get("TERM", "dumb") in ("", "dumb", "unknown"):
        raise MlxpyError("mlxpy top cannot draw in this terminal (TERM): mlxpy ls prints a table")
    try:
        from mlxpy_core._top import Runs, TopApp
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] in ("textual", "textual_plotext", "plotext"):
            raise MlxpyError("mlxpy top needs textual: pip install 'mlxpy[top]'") from error
        raise
    numbers = named_numbers(logs, runs)
    query = " ".join(runs) if numbers is None else f"info.log_id in {numbers}"
    app = TopApp(Runs(logs, query, metric, retry=retry))
    fault = app.run()
    if fault:
        raise fault
    ctx.exit(app.return_code or 0)
