"""Event files of TensorBoard: first reading against its own, later ones against mlxpy's own metrics."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlxpy

from ._measure import Result, take_turns
from .reader import timed

FILES, SCALARS = 100, 10_000
TAG = "train/loss"


def first() -> Result:
    """Reads the scalars of 100 event files for the first time; the floor is EventAccumulator."""
    with runs() as logs:
        rounds = take_turns(3, lambda: read_first(logs), lambda: read_by_tensorboard(logs))
    what = f"first reading of {FILES} event files of {SCALARS:,} scalars, floor: TensorBoard's own"
    return Result(what, "ms", rounds, "ratio", bound=0.5)


def later() -> Result:
    """Reads them again; the floor reads as many rows that mlxpy logged, of the same runs."""
    with runs() as logs:
        read(logs, f"tensorboard.{TAG}")
        read(logs, "train.loss")
        rounds = take_turns(
            10,
            lambda: timed(lambda: read(logs, f"tensorboard.{TAG}")),
            lambda: timed(lambda: read(logs, "train.loss")),
        )
    what = f"later reading of {FILES} event files, floor: of as many rows of mlxpy's own"
    return Result(what, "ms", rounds, "ratio", bound=1.5)


@contextmanager
def runs() -> Iterator[Path]:
    """Yields a directory of runs, each of which has an event file and a log of the same numbers."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    with tempfile.TemporaryDirectory() as directory:
        written, logs = Path(directory, "tensorboard"), Path(directory, "logs")
        writer = EventFileWriter(str(written))
        for step in range(SCALARS):
            value = Summary.Value(tag=TAG, simple_value=1 / (step + 1))
            writer.add_event(Event(wall_time=step, step=step, summary=Summary(value=[value])))
        writer.close()
        for path in written.iterdir():
            os.utime(path, (1_700_000_000, 1_700_000_000))  # of runs that ended long ago
        for _ in range(FILES):
            with mlxpy.Logger(parent_log_dir=logs) as logger:
                for step in range(SCALARS):
                    logger.log_metrics({"loss": 1 / (step + 1)}, "train")
                shutil.copytree(written, Path(logger.log_dir, "tensorboard"))
        yield logs


def read(logs: Path, column: str) -> int:
    """Opens the runs, and reads a column of all."""
    found = mlxpy.Reader(logs).search()[column]
    count = sum(map(len, found))
    assert count == FILES * SCALARS
    return count


def read_first(logs: Path) -> float:
    """Reads the scalars of all runs without a cache."""
    shutil.rmtree(logs / ".mlxpy" / "reader-2", ignore_errors=True)
    return timed(lambda: read(logs, f"tensorboard.{TAG}"))


def read_by_tensorboard(logs: Path) -> float:
    """Reads them as TensorBoard does."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def load() -> None:
        for folder in logs.glob("*/tensorboard"):
            events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
            events.Reload()
            assert len(events.Scalars(TAG)) == SCALARS

    return timed(load)
