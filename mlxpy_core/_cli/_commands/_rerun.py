"""``mlxpy rerun``."""

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from mlxpy_core._cli._arguments import logs_option, run_argument, trust_option
from mlxpy_core._cli._asking import believed
from mlxpy_core._cli._selection import choose_run
from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._interrupts import end_by_signals
from mlxpy_core._io._text import printable
from mlxpy_core._runs._directory import RunDirectory, new_run_directories
from mlxpy_core._runs._info_file import read_info, read_info_to_rerun
from mlxpy_core._runs._mlxp_info import WRITTEN_BY_MLXP
from mlxpy_core._runs._status import Status


@click.command(short_help="Makes a run again, as a new one: same code and config.")
@run_argument()
@click.argument("overrides", nargs=-1, metavar="[OVERRIDES...]")
@logs_option
@click.option(
    "--here", is_flag=True, help="Run it on this machine, even if the run was a cluster's job."
)
@click.option(
    "--env", is_flag=True, help="Run it with the versions of Python and packages that the run had."
)
@trust_option
def command(
    run: str, overrides: Sequence[str], logs: Path, here: bool, env: bool, trust: Sequence[str]
) -> None:
    """Makes a run again, as a new one: the same code, config and command.

    The code comes from the commit or the snapshot that the run's version manager recorded. A run that
    was submitted is submitted again; others run here. OVERRIDES change the command. Before it does what
    the files of another user say, it asks.

    \b
    Examples:
      mlxpy rerun 12
      mlxpy rerun 12 optimizer.lr=0.01 seed=7
      mlxpy rerun 12 --here
      mlxpy rerun 12 --env
    """
    from mlxpy_core._operations._reconciling import reconcile
    from mlxpy_core._operations._recorded_job import recorded_job
    from mlxpy_core._operations._rerun import code_to_rerun, job_of_rerun, run_here, write_first_metadata
    from mlxpy_core._operations._rerun_environment import code_with_environment
    from mlxpy_core._scheduling._find_scheduler import find_scheduler
    from mlxpy_core._scheduling._local import LOCAL
    from mlxpy_core._scheduling._submission import submit_jobs

    end_by_signals()
    old = choose_run(logs, run)
    if not believed([old], trust, "which command runs"):
        sys.exit(1)
    info = read_info_to_rerun(old)
    if info is None:
        raise MlxpyError(
            f"the info.yaml of run {old.log_id} cannot be read, which has its command: "
            "start its program by hand"
        )
    if WRITTEN_BY_MLXP in info:
        click.echo(
            f"mlxpy: MLXP, which wrote run {old.log_id}, noted no command: its program gets its whole "
            "config as overrides, and this interpreter",
            err=True,
        )
    job = recorded_job(old, info)
    code = code_to_rerun(old, info, job, overrides)
    if env:
        code = code_with_environment(old, info, job, code)
    if code.caveat:
        click.echo(f"mlxpy: what may differ: {printable(code.caveat)}", err=True)
    name = (info["scheduler"] or {}).get("name", LOCAL)
    with new_run_directories(logs) as new_directories:
        [new] = new_directories(1)
        click.echo(f"Run {new.log_id} makes run {old.log_id} again.", err=True)
        if job and name != LOCAL and not here:
            submit_jobs(find_scheduler(name), [job_of_rerun(job, code, new)])
            click.echo("Submitted 1 job to the cluster queue!")
            return
        write_first_metadata(info, code, new)
    exit_code = run_here(new, code, old, job)
    if reconcile(new, None) is Status.FAILED and exit_code == 0:
        exit_code = 1  # the program made no run
    if (read_info(new) or {}).get("attempts"):
        _print_differences(old, new)
    sys.exit(exit_code if exit_code >= 0 else 128 - exit_code)


def _print_differences(old: RunDirectory, new: RunDirectory) -> None:
    from mlxpy_core._cli._differences import differences

    with contextlib.suppress(MlxpyError):  # nothing can be compared
        for row in differences(old, new, ("config.",)):
            before, after = (
                repr(row[key]) if key in row else "not there" for key in ("first", "second")
            )
            field = printable(row["field"])
            click.echo(f"mlxpy: {field} was {before} and is {after}", err=True)
