"""``mlxpy status``."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlxpy_core._cli._arguments import (
    archived_option,
    json_option,
    logs_option,
    retry_option,
    runs_argument,
)
from mlxpy_core._cli._asking import print_left
from mlxpy_core._cli._json import print_json
from mlxpy_core._cli._numbers import earlier_numbers
from mlxpy_core._runs._directory import RunDirectory

if TYPE_CHECKING:
    from mlxpy_core._reading import ConfigList

_SHOWN = {
    "id": "info.log_id",
    "status": "info.status",
    "scheduler": "info.scheduler.name",
    "job": "info.scheduler.scheduler_job_id",
    "host": "info.hostname",
    "date": "info.start_date",
    "start": "info.start_time",
    "signal": "info.signal",
    "after": "info.scheduler.after",
}
_OPEN = ("SUBMITTED", "RUNNING")


@click.command(short_help="Counts runs by status, as scheduler and machine know it.")
@runs_argument(required=False)
@logs_option
@archived_option
@json_option
@retry_option
def command(runs: Sequence[str], logs: Path, archived: bool, as_json: bool, retry: bool) -> None:
    """Counts runs by status, as their scheduler and this machine know it now.

    A run whose process was killed is RUNNING until somebody looks: this command, any other that lists
    runs, or a Reader. What cannot be found out is reported on standard error.

    \b
    Examples:
      mlxpy status
      mlxpy status 12-20
      mlxpy status "config.optimizer.lr == 0.1" --json
      mlxpy status --retry
    """
    from mlxpy_core._cli._search import runs_to_list

    found = runs_to_list(logs, runs, as_json=as_json, archived=archived)
    if found is not None and retry and _retry(logs, found):
        found = runs_to_list(logs, runs, as_json=as_json, archived=archived)
    if found is None:
        return
    known = set(found.keys())
    table = {name: list(found[field]) for name, field in _SHOWN.items() if field in known}
    rows = [_row(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    if as_json:
        print_json(rows)
        return
    from mlxpy_core._cli._table import print_table
    from mlxpy_core._io._text import clean

    counts = Counter(clean(row["status"]) for row in rows)
    click.echo(", ".join(f"{count} {status}" for status, count in sorted(counts.items())))
    going_on = [row for row in rows if row["status"] in _OPEN]
    if going_on:
        names = [name for name in rows[0] if any(row[name] is not None for row in going_on)]
        print_table({name: [_cell(name, row[name]) for row in going_on] for name in names})


def _retry(logs: Path, found: "ConfigList") -> bool:
    """Submits runs again that have tries left; returns whether there were any."""
    if "info.end_reason" not in found.keys():  # noqa: SIM118  # no dict
        return False
    from mlxpy_core._operations._retrying import retry_runs
    from mlxpy_core._runs._run_names import run_names

    rows = zip(found["info.log_id"], found["info.end_reason"], strict=True)
    tried = retry_runs(RunDirectory(logs / str(log_id)) for log_id, reason in rows if reason)
    print_left(tried.left)
    if tried.job_ids:
        names = run_names([run.log_id for run in tried.job_ids])
        click.echo(f"Submitted again: {names}.", err=True)
    return bool(tried.job_ids)


def _row(values: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    row = {**dict.fromkeys(_SHOWN), **dict(values)}
    date = row.pop("date")
    if row["status"] != "SUBMITTED":
        row["after"] = None
    return {**row, "start": f"{date}T{row['start']}" if date and row["start"] else None}


def _cell(name: str, value: Any) -> Any:
    if name == "after" and value:
        return earlier_numbers(value)
    return value[:19].replace("T", " ") if name == "start" and value else value
