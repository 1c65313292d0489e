"""``mlxpy cancel``."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from mlxpy_core._cli._arguments import logs_option, runs_argument, trust_option, yes_option
from mlxpy_core._cli._asking import agreed, believed, print_left
from mlxpy_core._io._text import printable
from mlxpy_core._runs._directory import RunDirectory


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
    """  # noqa: D301  # click's mark of a paragraph that is not to be wrapped
    from mlxpy_core._cli._search import need_runs
    from mlxpy_core._operations import cancel, plan_cancellation
    from mlxpy_core._scheduling._submission import run_names

    found = need_runs(logs, runs)
    chosen = [RunDirectory(logs / str(log_id)) for log_id in found["info.log_id"]]
    chosen = believed(chosen, trust, "which jobs they are")
    plan = plan_cancellation(chosen)
    print_left(plan.left)
    if not plan.runs:
        click.echo("Nothing to cancel.")
        return
    for name, jobs in plan.jobs.items():
        ids = sorted(run.log_id for runs in jobs.values() for run in runs)
        count = f"{len(jobs)} job{'s' * (len(jobs) != 1)}"
        click.echo(f"{run_names(ids).capitalize()}: {count} of {printable(name)}.")
    for run, process_id in (*plan.processes.items(), *plan.scripts.items()):
        click.echo(f"Run {run.log_id}: process {process_id} of this machine.")
    if plan.waiting:
        ids = [run.log_id for run in plan.waiting]
        click.echo(f"{run_names(ids).capitalize()}: not started yet, on this machine.")
    others = [other for name, jobs in plan.jobs.items() for other in _others(logs, name, jobs, chosen)]
    if others:
        click.echo(f"{run_names(others).capitalize()} will end, too: they share these jobs.")
    if agreed("Cancel?", yes=yes):
        done = cancel(plan)
        print_left(done.left)
        if done.runs:
            click.echo(f"Cancelled {run_names(sorted(run.log_id for run in done.runs))}.")


def _others(
    logs: Path, scheduler: str, job_ids: Iterable[str], chosen: Sequence[RunDirectory]
) -> list[int]:
    """Finds the runs that share jobs of a scheduler with the chosen ones."""
    from mlxpy_core._cli._search import find_runs

    numbers = {run.log_id for run in chosen}
    listed = ", ".join(f"'{job_id}'" for job_id in job_ids)
    sharing = find_runs(
        logs,
        [
            f"info.scheduler.name == '{scheduler}' & info.scheduler.scheduler_job_id in [{listed}]",
            "& info.status in ['SUBMITTED', 'RUNNING']",
        ],
    )
    return [log_id for log_id in sharing["info.log_id"] if log_id not in numbers] if len(sharing) else []
