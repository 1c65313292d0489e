"""When rows were logged: what is noted beside the metrics, and what the report makes of it."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

import mlxpy
from mlxpy_core._reading._run_times import run_times
from mlxpy_core._report._times import LogTimes
from mlxpy_core._runs._row_times import read_row_times


def log_rows(logger: mlxpy.Logger, count: int, log: str = "train") -> None:
    for row in range(count):
        logger.log_metrics({"row": row}, log)


def test_rows_that_are_apart_have_their_times(tmp_path: Path) -> None:
    with mlxpy.Logger(tmp_path) as logger:
        around = []
        for row in range(3):
            before = time.time()
            logger.log_metrics({"row": row}, "train")
            logger.log_metrics({"row": row}, "test/deep")
            around.append((before, time.time()))
            time.sleep(0.03)
    found = read_row_times(tmp_path / "1")
    assert set(found) == {"train", "test/deep"}
    for rows, moments in found.values():
        assert rows == [0, 1, 2]
        for moment, (before, after) in zip(moments, around, strict=True):
            assert before - 0.001 <= moment <= after + 0.001
    assert json.loads((tmp_path / "1/metrics/train.json").read_text().splitlines()[0]) == {"row": 0}


def test_of_many_rows_a_few_have_theirs(tmp_path: Path) -> None:
    with mlxpy.Logger(tmp_path) as logger:
        log_rows(logger, 20_000)
    rows, moments = read_row_times(tmp_path / "1")["train"]
    assert rows[0] == 0
    assert len(rows) < 2000
    assert moments == sorted(moments)


def test_rows_are_counted_where_files_are_closed_meanwhile(tmp_path: Path) -> None:
    with mlxpy.Logger(tmp_path) as logger:
        for row in range(3):
            for log in range(70):
                logger.log_metrics({"row": row}, f"log{log}")
            time.sleep(0.02)
    assert [rows for rows, _ in read_row_times(tmp_path / "1").values()] == [[0, 1, 2]] * 70


def test_a_run_that_goes_on_counts_on_and_rows_logged_again_have_their_new_times(tmp_path: Path) -> None:
    logger = mlxpy.Logger(tmp_path)
    for row in range(4):
        logger.log_metrics({"row": row}, "train")
        if row == 1:
            logger.log_checkpoint(row)
        time.sleep(0.02)
    logger.close()
    ended = time.time()
    with mlxpy.Logger(tmp_path, forced_log_id=1) as logger:
        assert logger.load_checkpoint() == 1
        logger.log_metrics({"row": 2}, "train")
    rows, moments = read_row_times(tmp_path / "1")["train"]
    assert rows == [0, 1, 2]
    assert moments[1] < ended < moments[2] + 0.001


def test_what_is_torn_or_no_time_is_passed_over(tmp_path: Path) -> None:
    with mlxpy.Logger(tmp_path) as logger:
        log_rows(logger, 1)
    path = tmp_path / "1/.keys/metrics.times"
    whole = path.read_text()
    path.write_text(whole + '[1, NaN, "train"]\n["1", 2.0, "train"]\n7\n[1.5')
    assert read_row_times(tmp_path / "1")["train"][0] == [0]
    path.write_text(whole + "no JSON\n")
    assert read_row_times(tmp_path / "1") == {}
    with mlxpy.Logger(tmp_path, forced_log_id=1) as logger:  # cuts off what is torn
        path.write_text(whole + "[1, 17")
        log_rows(logger, 1)
    assert read_row_times(tmp_path / "1")["train"][0] == [0, 1]


def test_no_row_is_lost_for_its_time(tmp_path: Path) -> None:
    with mlxpy.Logger(tmp_path) as logger:
        (tmp_path / "1/.keys/metrics.times").mkdir(parents=True)
        log_rows(logger, 3)
    assert len((tmp_path / "1/metrics/train.json").read_text().splitlines()) == 3
    assert read_row_times(tmp_path / "1") == {}


def times_of(logs: Path, field: str) -> list[list[float] | None]:
    found = mlxpy.Reader(logs).search()
    directories = [Path(path) for path in found["info.log_dir"]]
    times = LogTimes(found._rows, directories, run_times(found))
    log, _ = found._rows.metric_sources[field]
    return [one if one is None else one.values.tolist() for one in times.of_log(log)]


def test_a_report_has_times_since_the_start(tmp_path: Path) -> None:
    for _ in range(2):
        with mlxpy.Logger(tmp_path) as logger:
            log_rows(logger, 1)
            time.sleep(0.05)
            log_rows(logger, 1)
    shutil.rmtree(tmp_path / "2/.keys")  # as a run of an earlier version
    first, none = times_of(tmp_path, "train.row")
    assert first is not None
    assert none is None
    assert 0 <= first[0] < first[1] - 0.04
    assert first[1] < 60


def test_event_files_have_times_of_their_own(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    with mlxpy.Logger(tmp_path) as logger:
        writer = EventFileWriter(logger.log_dir)
        began = time.time()
        for step in range(3):
            value = Summary.Value(tag="loss", simple_value=step)
            writer.add_event(
                Event(wall_time=began + 100 * step, step=step, summary=Summary(value=[value]))
            )
        writer.close()
    (found,) = times_of(tmp_path, "tensorboard.loss")
    assert found is not None
    assert np.diff(found).tolist() == [100, 100]
