"""``mlxpy cancel``."""

from collections.abc import Sequence
from pathlib import Path

import click

from mlxpy_core._cli._arguments import logs_option, runs_argument, trust_option, yes_option
from mlxpy_core._cli._asking import agreed, believed, print_left
from mlxpy_core._cli._selection import runs_to_change


@click.command()
@runs_argument(required=True)
@logs_option
@yes_option
@trust_option
def command(runs: Sequence[str], logs: Path, yes: bool, trust: Sequence[str]) -> None:
    """Stops runs that wait in a queue or are running.

    It shows what it will do, and asks. A run that is stopped while it waits is INTERRUPTED; one that
    runs has the time that its scheduler gives it to write that status itself. Runs of other users are
    asked about by themselves, which --yes does not answer.

    \b
    Examples:
      mlxpy cancel 12
      mlxpy cancel 12-20 --yes
      mlxpy cancel "info.status == 'SUBMITTED' & config.optimizer.lr > 0.1"
    """
    from mlxpy_core._operations._cancelling import cancel, plan_cancellation
    from mlxpy_core._reading import Reader
    from mlxpy_core._reading._shared_jobs import runs_sharing_jobs
    from mlxpy_core._runs._run_names import run_names

    chosen = runs_to_change(logs, runs, reconciled=True)
    chosen = believed(chosen, trust, "which jobs they are")
    plan = plan_cancellation(chosen)
    print_left(plan.left)
    if not plan.runs:
        click.echo("Nothing to cancel.")
        return
    for sentence in plan.sentences():
        click.echo(sentence)
    others = runs_sharing_jobs(Reader(logs, refresh=False), plan, chosen)
    if others:
        click.echo(f"{run_names(others).capitalize()} will end, too: they share these jobs.")
    if agreed("Cancel?", yes=yes):
        done = cancel(plan)
        print_left(done.left)
        if done.runs:
            click.echo(f"Cancelled {run_names(sorted(run.log_id for run in done.runs))}.")
