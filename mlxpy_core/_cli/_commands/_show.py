"""``mlxpy show``."""

import json
from pathlib import Path
from typing import Any

import click

from mlxpy_core._cli._arguments import json_option, logs_option, run_argument
from mlxpy_core._cli._json import print_json
from mlxpy_core._cli._selection import choose_run
from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._text import printable
from mlxpy_core._io._yaml import dump_yaml
from mlxpy_core._runs._artifact_files import list_artifacts
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._job_note import noted_job_id
from mlxpy_core._runs._metrics_files import files_of_all_ranks, whole_lines


@click.command(short_help="Shows one run: what, when, where, how it ended, its results.")
@run_argument()
@logs_option
@json_option
def command(run: str, logs: Path, as_json: bool) -> None:
    """Shows one run: what, when, where, how it ended, its config and results.

    \b
    Examples:
      mlxpy show 3
      mlxpy show 3 --json
    """
    directory = choose_run(logs, run)
    info, config = _read(directory)
    metrics = {
        name: _summary(path, logs) for name, path in files_of_all_ranks(directory.metrics).items()
    }
    metrics.update(_metrics_of_app(directory, info))
    artifacts = [
        "/".join(filter(None, (type_name, folder, name)))
        for type_name, folders in list_artifacts(directory.artifacts).items()
        for folder, names in folders.items()
        for name in names
    ]
    if as_json:
        print_json([{"info": info, "config": config, "metrics": metrics, "artifacts": artifacts}])
        return
    from mlxpy_core._cli._facts import facts, section

    lines = [
        *facts(directory, info),
        *section("config", dump_yaml(config).splitlines() if config else []),
        *section("metrics", [_line(name, summary) for name, summary in metrics.items()]),
        *section("artifacts", artifacts),
    ]
    click.echo("\n".join(lines))


def _read(directory: RunDirectory) -> tuple[dict[str, Any], dict[str, Any]]:
    # It reads the runs of MLXP, too; pyarrow comes with it.
    from mlxpy_core._reading._tables._run_record import UnreadableRunError, read_metadata

    try:
        info, config = read_metadata(str(directory.path))
    except UnreadableRunError as error:
        raise MlxpyError(f"run {directory.log_id} cannot be read: {error}") from error
    scheduler = info.get("scheduler")
    if isinstance(scheduler, dict) and scheduler.get("scheduler_job_id") is None:
        scheduler["scheduler_job_id"] = noted_job_id(directory, info)
    return info, config


def _metrics_of_app(directory: RunDirectory, info: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the number of rows of what the app wrote by itself, and the last value of each column."""
    from mlxpy_core._reading._tables._app_findings import read_app_logs

    logs, troubles = read_app_logs(directory.path, info)
    for trouble in troubles:
        click.echo(f"mlxpy: {printable(trouble)}", err=True)
    return {
        name: {"rows": len(rows), "last": {key: row[key] for row in rows for key in row}}
        for name, rows in logs.items()
    }


def _summary(path: Path, logs: Path) -> dict[str, Any]:
    """Returns the number of rows of a metrics file and the last one."""
    rows, last = 0, b""
    try:
        for line in whole_lines(path, logs):
            rows, last = rows + 1, line
        return {"rows": rows, "last": json.loads(last)}
    except (OSError, RecursionError, ValueError):
        return {"rows": rows, "last": None}


def _line(name: str, summary: dict[str, Any]) -> str:
    last = summary["last"] if isinstance(summary["last"], dict) else {}
    values = " ".join(f"{key}={value}" for key, value in last.items())
    return f"{name}: {summary['rows']} rows" + (f", the last: {values}" if values else "")
