"""Runs as MLflow's, by its own client."""

import os
import posixpath
import re
from collections.abc import Iterable, Iterator
from typing import Any

from mlxpy_core._errors import MlxpyError

from ._exported_run import ExportedRun

_STATUSES = {"COMPLETE": "FINISHED", "FAILED": "FAILED", "SUBMITTED": "SCHEDULED", "RUNNING": "RUNNING"}
# MLflow takes so many at once, texts of so many characters, and names of few others.
_METRICS, _PARAMS = 1000, 100
_LONGEST, _LONGEST_NAME = 500, 250
_ODD = re.compile(r"[^\w\-. /]")
_RUN_ID, _ENDED = "mlxpy.run_id", "mlxpy.ended"


def export_to_mlflow(runs: Iterable[ExportedRun], uri: str) -> int:
    """Makes a run in MLflow of each that is not there already as it is now.

    What was exported of a run that has gone on since is deleted: MLflow keeps it as a deleted run.

    Returns:
        How many were made.

    Raises:
        MlxpyError: MLflow refused.
        ImportError: MLflow is not installed.
    """
    from mlflow.exceptions import MlflowException

    try:
        return _export_all(runs, uri)
    except MlflowException as error:
        raise MlxpyError(f"MLflow refused {uri!r}: {' '.join(str(error).split())}") from error


def _export_all(runs: Iterable[ExportedRun], uri: str) -> int:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "mlxpy"
    experiment = client.get_experiment_by_name(name)
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(name)
    count = 0
    for run in runs:
        ended = str(run.end or "")
        earlier = client.search_runs([experiment_id], f"tags.`{_RUN_ID}` = '{run.run_id}'")
        if ended and any(one.data.tags.get(_ENDED) == ended for one in earlier):
            continue
        for one in earlier:
            client.delete_run(one.info.run_id)
        _export(client, experiment_id, run)
        count += 1
    return count


def _export(client: Any, experiment_id: str, run: ExportedRun) -> None:
    from mlflow.entities import Metric, Param

    known = {
        "mlflow.source.name": run.info("cmd"),
        "mlflow.user": run.info("user"),
        "mlflow.source.git.commit": run.info("version_manager.commit_hash"),
        "mlxpy.log_dir": str(run.directory),
        "mlxpy.status": run.status,
        _RUN_ID: run.run_id,
    }
    tags = {name: str(value)[:_LONGEST] for name, value in known.items() if value}
    made = client.create_run(
        experiment_id, start_time=_milliseconds(run.start), tags=tags, run_name=f"run {run.log_id}"
    ).info.run_id
    # Of several that get one name the last counts.
    named = {_named(name): str(value)[:_LONGEST] for name, value in run.config.items()}
    params = [Param(name, value) for name, value in named.items()]
    metrics = [
        Metric(_named(f"{row.log}/{key}"), value, _milliseconds(row.time), row.step)
        for row in run.rows()
        for key, value in row.values.items()
    ]
    for some in _parts(params, _PARAMS):
        client.log_batch(made, params=some)
    for some in _parts(metrics, _METRICS):
        client.log_batch(made, metrics=some)
    status = _STATUSES.get(run.status, "KILLED")
    if run.end:
        client.set_terminated(made, status, _milliseconds(run.end))
        client.set_tag(made, _ENDED, str(run.end))  # not before: what broke off is made anew
    else:
        client.update_run(made, status)


def _named(name: str) -> str:
    path = posixpath.normpath("/" + _ODD.sub("_", name)[:_LONGEST_NAME])  # names are paths there
    return path.lstrip("/") or "_"


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _parts(items: list[Any], size: int) -> Iterator[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
