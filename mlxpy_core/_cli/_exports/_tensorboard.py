"""Runs as TensorBoard's event files: scalars, the config as hyperparameters, the status."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._files import whole_stream

from ._exported_run import ExportedRun

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event

_STATUSES = {"COMPLETE": "STATUS_SUCCESS", "SUBMITTED": "STATUS_RUNNING", "RUNNING": "STATUS_RUNNING"}
# One name for a run however often it is exported, so that the file takes the earlier one's place.
_FILE = "events.out.tfevents.0.{run_id}.mlxpy"


def export_to_tensorboard(runs: Iterable[ExportedRun], place: str) -> int:
    """Writes an event file for each run to ``<place>/<number>``, whole or not at all.

    Returns:
        How many.

    Raises:
        MlxpyError: a directory there is a run's, or has what was exported of another run.
        StorageError: the file system refused.
        ImportError: TensorBoard is not installed.
    """
    from tensorboard.summary.writer.record_writer import RecordWriter

    count = 0
    for run in runs:
        path = Path(place).expanduser() / str(run.log_id) / _FILE.format(run_id=run.run_id)
        _check(path)
        with whole_stream(path) as file:
            writer = RecordWriter(file)
            for event in _events(run):
                writer.write(event.SerializeToString())
        count += 1
    return count


def _check(path: Path) -> None:
    if (path.parent / "metadata").exists():
        raise MlxpyError(f"{path.parent} is a run's directory: give another one than that of the runs")
    others = [other for other in path.parent.glob(_FILE.format(run_id="*")) if other != path]
    if others:
        raise MlxpyError(f"{path.parent} has another run {path.parent.name}: give another directory")


def _events(run: ExportedRun) -> "Iterable[Event]":
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import (
        HParamsPluginData,
        SessionEndInfo,
        SessionStartInfo,
    )

    def of_session(tag: str, time: float, **data: Any) -> Event:
        described = metadata.create_summary_metadata(HParamsPluginData(**data))
        value = Summary.Value(tag=tag, metadata=described, tensor=metadata.NULL_TENSOR)
        return Event(wall_time=time, summary=Summary(value=[value]))

    yield Event(wall_time=run.start, file_version="brain.Event:2")
    start = SessionStartInfo(start_time_secs=run.start)
    for name, value in {**run.config, "mlxpy.status": run.status}.items():
        kind = "bool" if isinstance(value, bool) else "string" if isinstance(value, str) else "number"
        setattr(start.hparams[name], f"{kind}_value", value)
    yield of_session(metadata.SESSION_START_INFO_TAG, run.start, session_start_info=start)
    for row in run.rows():
        values = [
            Summary.Value(tag=f"{row.log}/{key}", simple_value=value)
            for key, value in row.values.items()
        ]
        if values:
            yield Event(wall_time=row.time, step=row.step, summary=Summary(value=values))
    status = getattr(api_pb2, _STATUSES.get(run.status, "STATUS_FAILURE"))
    time = run.end or run.start
    end = SessionEndInfo(status=status, end_time_secs=time)
    yield of_session(metadata.SESSION_END_INFO_TAG, time, session_end_info=end)
