"""``mlxpy resubmit``."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from mlxpy_core._cli._arguments import logs_option, runs_argument, trust_option
from mlxpy_core._cli._asking import believed, print_left
from mlxpy_core._cli._selection import runs_to_change
from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._interrupts import end_by_signals


@click.command(short_help="Has runs that have ended go on from their checkpoints.")
@runs_argument(required=True, more="[hydra.launcher.OPTION=VALUE...]")
@logs_option
@click.option("--complete", is_flag=True, help="Submit runs that are COMPLETE, too.")
@trust_option
def command(runs: Sequence[str], logs: Path, complete: bool, trust: Sequence[str]) -> None:
    """Has runs that have ended go on, under their numbers, from their checkpoints.

    What was submitted to a scheduler is submitted to it again, with the same script; what was started on
    this machine is started here again, one run after the other. Before it does what the files of another
    user say, it asks.

    hydra.launcher.OPTION=VALUE changes an option of the launcher; *2 multiplies what the run had.

    \b
    Examples:
      mlxpy resubmit 12 15-20
      mlxpy resubmit "info.status in ['KILLED', 'INTERRUPTED']"
      mlxpy resubmit "info.end_reason == 'OUT_OF_MEMORY'" hydra.launcher.mem_gb='*2'
    """
    from mlxpy_core._operations._changed_options import split_options
    from mlxpy_core._operations._rerun import code_to_rerun, run_here
    from mlxpy_core._operations._resubmission import (
        claimed_resubmission,
        plan_resubmission,
        submit_claimed,
    )
    from mlxpy_core._scheduling._dependencies import reason_to_wait

    end_by_signals()
    named, changes = split_options(runs)
    if not named:
        raise MlxpyError("no runs: name some by number or by a query")
    chosen = runs_to_change(logs, named, reconciled=True)
    chosen = believed(chosen, trust, "which command runs")
    plan = plan_resubmission(chosen, changes, complete=complete)
    print_left(plan.left)
    planned = {job.directory: job.earlier for jobs in plan.jobs.values() for job in jobs}
    did_any = False
    with claimed_resubmission(planned, changes, complete=complete) as mine:
        print_left(mine.left)
        for submitted, left in submit_claimed(mine):
            print_left(left)
            if submitted:
                count = f"{len(submitted)} job{'s' * (len(submitted) != 1)}"
                click.echo(f"Submitted {count} to the cluster queue!")
                did_any = True
    failed = False
    for local, (earlier, _) in plan.here.items():
        # Not all at once: another process may take those whose turn has not come.
        with claimed_resubmission({local: earlier}, changes, complete=complete) as mine:
            print_left(mine.left)
            for run, (info, local_job) in mine.here.items():
                if reason := reason_to_wait(run, info):
                    print_left([reason])
                    continue
                code = code_to_rerun(run, info, local_job)
                click.echo(f"Run {run.log_id} goes on, here.", err=True)
                failed = run_here(run, code, run, local_job) != 0 or failed
                did_any = True
    if not did_any:
        click.echo("Nothing to submit.")
    if failed:
        sys.exit(1)
