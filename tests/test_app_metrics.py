"""Metrics that an app wrote by itself: event files of TensorBoard, CSV and JSON lines."""

import json
import os
import shutil
import struct
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import NOBODY, Project, need_root
from hypothesis import given, settings
from hypothesis import strategies as st

import mlxpy
from mlxpy_core import Reader
from mlxpy_core._reading._query._predicate import QueryError

pytest.importorskip("tensorboard", reason="tensorboard is not installed")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary, SummaryMetadata
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util.tensor_util import make_tensor_proto

PAST = 1_700_000_000
LONG_AGO = (PAST, PAST)


def make_run(logs: Path, **config: Any) -> Path:
    with mlxpy.Logger(parent_log_dir=logs, config=config) as logger:
        return Path(logger.log_dir)


def settle(run: Path) -> None:
    """Has the files of a run be as old as those of one that ended long ago."""
    for path in run.rglob("*"):
        if path.name != "info.yaml" and not path.is_symlink():
            os.utime(path, LONG_AGO)


def of_simple_value(tag: str, value: float) -> Summary.Value:
    return Summary.Value(tag=tag, simple_value=value)


def of_tensor(tag: str, value: Any) -> Summary.Value:
    """As TF2 and torch (with new_style) write scalars."""
    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"))
    return Summary.Value(tag=tag, tensor=make_tensor_proto(value), metadata=metadata)


def write_events(folder: Path, rows: Iterable[tuple[int, list[Summary.Value]]]) -> Path:
    writer = EventFileWriter(str(folder))
    for step, values in rows:
        writer.add_event(Event(wall_time=PAST + step, step=step, summary=Summary(value=values)))
    writer.close()
    return max(folder.glob("events*"), key=lambda path: int(path.name.rsplit(".", 1)[1]))


def losses(*steps: int, tag: str = "loss") -> Iterator[tuple[int, list[Summary.Value]]]:
    return ((step, [of_simple_value(tag, step / 2)]) for step in steps)


def column(logs: Path, name: str, **options: Any) -> list[Any]:
    return [None if one is None else list(one) for one in Reader(logs, **options).search()[name]]


def app_columns(reader: Reader) -> list[str]:
    starts = ("tensorboard", "csv/", "jsonl/")
    return sorted(name for name in reader.fields.index if name.startswith(starts))


APP = """
import csv
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter


@hydra.main(version_base="1.3", config_path=None, config_name="config")
def main(config):
    place = Path(HydraConfig.get().runtime.output_dir)
    writer = EventFileWriter(str(place / "tensorboard" / "version_0"))
    (place / "csv" / "version_0").mkdir(parents=True)
    with open(place / "csv" / "version_0" / "metrics.csv", "w", newline="") as file:
        rows = csv.DictWriter(file, ["epoch", "step", "train_loss", "val_loss"])
        rows.writeheader()
        for step in range(4):
            summary = Summary(value=[Summary.Value(tag="train/loss", simple_value=config.lr / (step + 1))])
            writer.add_event(Event(wall_time=step, step=step, summary=summary))
            rows.writerow({"epoch": step // 2, "step": step, "train_loss": config.lr})
        rows.writerow({"epoch": 1, "step": 3, "val_loss": config.lr / 8})
    writer.close()


main()
"""


def write_app(project: Project) -> None:
    project.write("main.py", APP.replace("config_path=None", 'config_path="."'))
    project.write("config.yaml", "lr: 1\n")


def test_an_app_that_knows_nothing_of_mlxpy(project: Project) -> None:
    write_app(project)
    project.run("main.py", "-m", "hydra/callbacks=mlxp_logger", "lr=1,2")

    listed = project.mlxpy(
        "ls", "-c", "config.lr", "-c", "tensorboard.train/loss", "-c", "csv/metrics.val_loss", "--json"
    )
    assert json.loads(listed[0]) == [
        {"id": 1, "config.lr": 1, "tensorboard.train/loss": 0.25, "csv/metrics.val_loss": 0.125},
        {"id": 2, "config.lr": 2, "tensorboard.train/loss": 0.5, "csv/metrics.val_loss": 0.25},
    ]  # fmt: skip
    assert "csv/metrics.train_loss" in project.mlxpy("ls")[0]
    shown = project.mlxpy("show", "1")[0]
    assert "csv/metrics: 5 rows, the last: epoch=1 step=3 train_loss=1 val_loss=0.125" in shown
    assert "tensorboard: 4 rows, the last: step=3 wall_time=3.0 train/loss=0.25" in shown
    project.mlxpy("plot", "csv/metrics.step", "csv/metrics.val_loss", "-o", "loss.png")
    assert project.file(1, "../../loss.png").stat().st_size > 0
    project.mlxpy("export", "--metrics", "-o", "runs.json")
    exported = json.loads((project.path / "runs.json").read_text())
    assert exported[0]["csv/metrics.train_loss"] == [1, 1, 1, 1]

    results = Reader(project.path / "logs").search("config.lr == 2")
    assert results[0]["tensorboard.train/loss"] == pytest.approx([2, 1, 2 / 3, 0.5])
    assert results[0].log("csv/metrics")[-1] == {
        "epoch": 1,
        "step": 3,
        "train_loss": None,
        "val_loss": 0.25,
    }
    with pytest.raises(QueryError, match=r"csv/metrics.val_loss is no config or info field"):
        Reader(project.path / "logs").search("csv/metrics.val_loss < 1")


def test_an_output_directory_elsewhere(project: Project) -> None:
    write_app(project)
    words = ("hydra/callbacks=mlxp_logger", "hydra.callbacks.mlxp_logger.app_metrics=[metrics.csv]")
    project.run("main.py", *words, "hydra.run.dir=elsewhere")
    assert project.info()["output_dir"] == str(project.path / "elsewhere")
    reader = Reader(project.path / "logs")
    assert app_columns(reader) == [
        f"csv/metrics.{name}" for name in ("epoch", "step", "train_loss", "val_loss")
    ]
    assert reader.search()[0]["csv/metrics.val_loss"] == [0.125]
    # What a later run leaves there is not the first one's.
    late = time.time() + 1000
    for path in (project.path / "elsewhere").rglob("*"):
        os.utime(path, (late, late))
    shutil.rmtree(project.path / "logs" / ".mlxpy")
    assert app_columns(Reader(project.path / "logs")) == []


def test_an_output_directory_that_holds_the_runs_is_not_the_runs(project: Project) -> None:
    write_app(project)
    project.write("metrics.csv", "step,loss\n1,2\n")
    project.run("main.py", "hydra/callbacks=mlxp_logger", "hydra.run.dir=.")
    assert app_columns(Reader(project.path / "logs")) == []


def test_the_values_are_those_of_tensorboard(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    histogram = Summary.Value(tag="weights", histo=HistogramProto(bucket=[1, 2]))
    text = of_tensor("text", "words")
    folder = run / "lightning_logs" / "version_0"
    write_events(
        folder,
        (
            (
                step,
                [
                    of_simple_value("a", 0.1 * step),
                    of_tensor("val/b", np.float32(step) / 3),
                    histogram,
                    text,
                ],
            )
            for step in range(5)
        ),
    )
    write_events(
        folder,
        [(7, [of_tensor("val/b", np.float64(0.1)), of_tensor("n", [3]), of_tensor("many", [1.0, 2.0])])],
    )
    theirs = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    theirs.Reload()
    (row,) = Reader(tmp_path).search()
    assert row["tensorboard.a"] == [event.value for event in theirs.Scalars("a")]
    expected = [*(float(np.float32(step) / np.float32(3)) for step in range(5)), 0.1]
    assert row["tensorboard.val/b"] == expected
    assert row["tensorboard.n"] == [3]
    assert row["tensorboard.step"] == [0, 1, 2, 3, 4, 7]
    assert app_columns(Reader(tmp_path)) == [
        f"tensorboard.{name}" for name in ("a", "n", "step", "val/b", "wall_time")
    ]


def test_one_history_of_several_files(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write_events(run / "tb" / "version_9", losses(0, 1, 2))
    write_events(run / "tb" / "version_10", losses(2, 3))
    write_events(run / "tb" / "version_10", losses(0, 1))  # begins anew
    for number, loss in ((2, "a"), (10, "b")):
        folder = run / "csv" / f"version_{number}"
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text(f"step,{loss}\n{number},1\n")
    write_events(run / "logs" / "validation", losses(5))
    results = Reader(tmp_path).search()
    assert results[0]["tensorboard.step"] == [0, 1, 2, 2, 3, 0, 1]
    assert results[0]["tensorboard/validation.loss"] == [2.5]
    assert results[0]["csv/metrics.step"] == [2, 10]
    assert results.last("csv/metrics.a") == [1]
    assert results.last("tensorboard.loss") == [0.5]


def test_a_torn_last_record_is_none_yet(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    path = write_events(run, losses(1, 2, 3))
    whole = path.read_bytes()
    record = struct.unpack("<Q", whole[:8])[0] + 16  # the version of the file
    sizes = []
    while record < len(whole):
        sizes.append(record)
        record += struct.unpack("<Q", whole[record : record + 8])[0] + 16
    for size in range(sizes[-1], len(whole)):
        path.write_bytes(whole[:size])
        reader = Reader(tmp_path)
        assert reader.search()[0]["tensorboard.step"] == [1, 2]
        assert reader.troubles == []
    path.write_bytes(whole)
    assert column(tmp_path, "tensorboard.step") == [[1, 2, 3]]


def test_torn_text(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    (run / "metrics.csv").write_text("step,loss\n1,0.5\n2,0.2")
    (run / "log.jsonl").write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "lo')
    reader = Reader(tmp_path)
    assert reader.search()[0]["csv/metrics.loss"] == reader.search()[0]["jsonl/log.loss"] == [0.5]
    assert reader.troubles == []


def test_a_run_that_goes_on_is_read_where_it_has_grown(tmp_path: Path) -> None:
    with mlxpy.Logger(parent_log_dir=tmp_path) as logger:
        run = Path(logger.log_dir)
        path = write_events(run, losses(1, 2))
        lines = run / "log.jsonl"
        lines.write_text('{"step": 1, "loss": 0.5}\n')
        assert column(tmp_path, "tensorboard.step") == [[1, 2]]
        assert column(tmp_path, "jsonl/log.step") == [[1]]
        # What has been read is not looked at again.
        content = path.read_bytes()
        grown = write_events(tmp_path / "other", losses(3, tag="new")).read_bytes()
        path.write_bytes(b"\xff" * len(content) + grown)
        lines.write_bytes(b"x" * (len(lines.read_bytes()) - 1) + b'\n{"step": 2, "acc": 0.75}\n')
        results = Reader(tmp_path).search()
        assert results.last("tensorboard.new") == [1.5]
        assert results.last("jsonl/log.acc") == [0.75]
        assert results.last("jsonl/log.loss") == [0.5]
        # All rows are there, once they are asked for.
        path.write_bytes(content + grown)
        assert column(tmp_path, "tensorboard.step") == [[1, 2, 3]]


def test_ended_runs_are_not_looked_at_again(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    path = write_events(run, losses(1, 2))
    (run / "metrics.csv").write_text("step,loss\n1,0.5\n")
    settle(run)
    first = Reader(tmp_path).search()
    assert (first[0]["tensorboard.loss"], first.last("csv/metrics.loss")) == ([0.5, 1], [0.5])
    path.unlink()
    (run / "metrics.csv").unlink()
    later = Reader(tmp_path).search()
    assert (later[0]["tensorboard.loss"], later.last("csv/metrics.loss")) == ([0.5, 1], [0.5])
    (run / "metadata" / "info.yaml").touch()
    assert app_columns(Reader(tmp_path)) == []


def test_what_a_writer_flushes_after_the_end_is_found(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    (run / "metrics.csv").write_text("step,loss\n1,0.5\n")
    assert column(tmp_path, "csv/metrics.loss") == [[0.5]]
    (run / "metrics.csv").write_text("step,loss\n1,0.5\n2,0.25\n")
    assert column(tmp_path, "csv/metrics.loss") == [[0.5, 0.25]]


def test_which_files_are_metrics(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write = {
        "results.csv": "                  epoch,      train/box_loss\n                      1,    0.5\n",
        "metrics.csv": "phase,loss\ntrain,0.5\n",
        "people.csv": "name,step\nAda,1\n",
        "numbers.csv": "x,y\n1,2\n",
        "header.csv": "1,2\n3,4\n",
        "progress.jsonl": '{"global_step": 1, "eval": {"loss": 0.5}}\n',
        "texts.jsonl": '{"step": 1, "text": "words"}\n',
        "metrics.json": '{"iteration": 19, "total_loss": 0.5, "name": "x"}\n',
        "results.json": '{"step": 1, "loss": 2}\n',
        "semicolons.csv": "step;loss\n1;2\n",
        "tabs.csv": "step\tloss\n1\t2\n",
        "new/metrics.csv": "",
        "whole/metrics.json": '{\n  "test": {"acc": 0.5}\n}',
        "list/metrics.json": '[{"acc": 0.5}, {"acc": 0.75}]',
        "checkpoints/a.csv": "step,loss\n1,2\n",
        ".hydra/b.csv": "step,loss\n1,2\n",
        "artifacts/text/c.csv": "step,loss\n1,2\n",
    }
    for name, text in write.items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(text)
    reader = Reader(tmp_path)
    assert app_columns(reader) == [
        *("csv/metrics.loss", "csv/metrics.phase", "csv/results.epoch", "csv/results.train/box_loss"),
        *("csv/semicolons.loss", "csv/semicolons.step", "csv/tabs.loss", "csv/tabs.step"),
        "jsonl/list/metrics.acc",
        *(f"jsonl/metrics.{name}" for name in ("iteration", "name", "total_loss")),
        *("jsonl/progress.eval.loss", "jsonl/progress.global_step", "jsonl/whole/metrics.test.acc"),
    ]
    assert reader.troubles == []
    (run / "whole" / "metrics.json").write_text('{\n  "test": {"acc": 0.25},\n  "epochs": 10\n}')
    assert column(tmp_path, "jsonl/whole/metrics.test.acc") == [[0.25]]
    assert column(tmp_path, "jsonl/list/metrics.acc") == [[0.5, 0.75]]


def test_patterns(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write_events(run / "tb", losses(1))
    for name in ("a/numbers.csv", "b/numbers.csv"):
        (run / name).parent.mkdir()
        (run / name).write_text("x,y\n1,2\n")
    names = {
        None: ["tensorboard.loss", "tensorboard.step", "tensorboard.wall_time"],
        (): [],
        ("*.csv",): ["csv/a/numbers.x", "csv/a/numbers.y", "csv/b/numbers.x", "csv/b/numbers.y"],
        ("a/*",): ["csv/a/numbers.x", "csv/a/numbers.y"],
    }
    for _ in ("read", "from the cache"):
        for patterns, expected in names.items():
            assert app_columns(Reader(tmp_path, app_metrics=patterns)) == expected
    assert app_columns(Reader(tmp_path, app_metrics="a/*")) == names["a/*",]


def test_names_that_mlxpys_own_metrics_have_too(tmp_path: Path) -> None:
    with mlxpy.Logger(parent_log_dir=tmp_path) as logger:
        logger.log_metrics({"loss": 7}, "tensorboard")
        write_events(Path(logger.log_dir), losses(1))
        write_events(Path(logger.log_dir), [(2, [of_simple_value("a.b ]", 3)])])
    results = Reader(tmp_path).search()
    assert results[0]["tensorboard.loss"] == [7]
    assert results[0]["tensorboard.[loss]"] == [0.5]
    assert results[0]["tensorboard.a.b ]"] == [3]


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        run = make_run(tmp_path)
        write_events(run, losses(1))
        (run / "metrics.csv").write_text("step,loss\n1,0.5\n")
        settle(run)
    with monkeypatch.context() as context:
        context.setitem(sys.modules, "tensorboard", None)  # as if it were not there
        for _ in ("read", "from the cache"):
            reader = Reader(tmp_path)
            assert app_columns(reader) == ["csv/metrics.loss", "csv/metrics.step"]
            (sentence,) = reader.troubles
            assert "event files of 2 runs are not read: pip install 'mlxpy[tensorboard]'" in sentence
    reader = Reader(tmp_path)
    assert reader.troubles == []
    assert column(tmp_path, "tensorboard.loss") == [[0.5], [0.5]]


class TestOthersFiles:
    """What lies in a neighbour's run may be anything."""

    def test_what_is_no_file(self, tmp_path: Path) -> None:
        run = make_run(tmp_path)
        os.mkfifo(run / "metrics.csv")
        os.mkfifo(run / "events.out.tfevents.1.host")
        (run / "metrics.jsonl").mkdir()
        (tmp_path / "secret.csv").write_text("step,secret\n1,2\n")
        (run / "link.csv").symlink_to(tmp_path / "secret.csv")
        (run / "folder").symlink_to(tmp_path)
        reader = Reader(tmp_path)
        assert (app_columns(reader), reader.troubles) == ([], [])

    def test_files_larger_than_memory(self, tmp_path: Path) -> None:
        run = make_run(tmp_path)
        for name in ("metrics.csv", "metrics.jsonl", "data.csv", "events.out.tfevents.1.host"):
            with open(run / name, "wb") as file:
                file.truncate(2**43)
        reader = Reader(tmp_path)
        assert app_columns(reader) == []
        told = "\n".join(reader.troubles)
        assert told.count("it has more than") == 2
        assert "what follows byte 0 is no event" in told
        assert len(reader.troubles) == 3

    def test_lengths_that_are_not_true(self, tmp_path: Path) -> None:
        run = make_run(tmp_path)
        path = write_events(run, losses(1, 2))
        whole = path.read_bytes()
        for length in (0, 2**31, 2**62, 2**64 - 1):
            path.write_bytes(whole + struct.pack("<QI", length, 0) + b"x" * 99)
            reader = Reader(tmp_path)
            assert reader.search()[0]["tensorboard.step"] == [1, 2]
            (sentence,) = reader.troubles
            assert f"what follows byte {len(whole)} is no event" in sentence
            os.utime(path, (PAST + length % 7, PAST))
            shutil.rmtree(tmp_path / ".mlxpy")

    def test_a_file_for_each_episode(self, tmp_path: Path) -> None:
        run = make_run(tmp_path)
        for episode in range(300):
            (run / f"episode_{episode}.csv").write_text("step,reward\n1,2\n")
        write_events(run, losses(1))
        reader = Reader(tmp_path)
        assert len(app_columns(reader)) == 2 * 199 + 3
        assert reader.search()[0]["tensorboard.loss"] == [0.5]
        (sentence,) = reader.troubles
        assert "so many files" in sentence

    def test_an_output_directory_that_is_not_theirs(self, tmp_path: Path) -> None:
        need_root()
        logs, mine = tmp_path / "logs", tmp_path / "mine"
        run = make_run(logs)
        mine.mkdir()
        (mine / "metrics.csv").write_text("step,secret\n1,42\n")
        info_file = run / "metadata" / "info.yaml"
        info = yaml.safe_load(info_file.read_text())
        info["output_dir"] = info["attempts"][0]["output_dir"] = str(mine)
        info_file.write_text(yaml.safe_dump(info))
        assert app_columns(Reader(logs)) == ["csv/metrics.secret", "csv/metrics.step"]
        os.chown(info_file, NOBODY, NOBODY)
        info_file.touch()
        reader = Reader(logs)
        assert app_columns(reader) == []
        assert "cannot be read" in reader.troubles[0]
        os.chown(mine / "metrics.csv", NOBODY, NOBODY)
        assert app_columns(Reader(logs)) == ["csv/metrics.secret", "csv/metrics.step"]

    @settings(max_examples=20)
    @given(st.binary(max_size=400), st.integers(0, 200), st.integers(0, 255))
    def test_any_bytes(
        self, tmp_path_factory: pytest.TempPathFactory, content: bytes, place: int, byte: int
    ) -> None:
        logs = tmp_path_factory.mktemp("logs")
        run = make_run(logs)
        whole = bytearray(write_events(run, losses(1, 2, 3)).read_bytes())
        whole[place % len(whole)] = byte
        (run / "events.out.tfevents.2.host").write_bytes(bytes(whole))
        (run / "events.out.tfevents.3.host").write_bytes(bytes(whole) + content)
        for name in ("metrics.csv", "other.csv", "metrics.jsonl", "other.jsonl"):
            (run / name).write_bytes(content)
        results = Reader(logs).search()
        assert results[0]["tensorboard.step"][-3:] == [1, 2, 3]
        for name in list(results.keys()):
            assert len(results[name]) == 1
        results.toPandas(lazy=False)


numbers = st.one_of(st.integers(-(2**60), 2**60), st.floats())
metrics = st.lists(
    st.fixed_dictionaries({"step": st.integers(0, 99)}, optional={"loss": numbers, "val/acc": numbers}),
    min_size=1,
    max_size=5,
).filter(lambda rows: any(len(row) > 1 for row in rows))


@settings(max_examples=15)
@given(metrics)
def test_what_was_written_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    logs = tmp_path_factory.mktemp("logs")
    run = make_run(logs)
    names = ["step", "loss", "val/acc"]
    lines = [
        ",".join(names),
        *(",".join(repr(row[n]) if n in row else "" for n in names) for row in rows),
    ]
    (run / "progress.csv").write_text("\n".join(lines) + "\n")
    (run / "progress.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settle(run)
    for _ in ("read", "from the cache"):
        (found,) = Reader(logs).search()
        for name in names:
            expected = [row[name] for row in rows if name in row]
            for kind in ("csv", "jsonl") if expected else ():
                assert repr(list(map(float, found[f"{kind}/progress.{name}"]))) == repr(
                    list(map(float, expected))
                )


def test_a_directory_whose_name_is_no_unicode(tmp_path: Path) -> None:
    logs = tmp_path / os.fsdecode(b"caf\xe9")
    run = make_run(logs)
    (run / "metrics.csv").write_text("step,loss\n1,0.5\n")
    assert column(logs, "csv/metrics.loss") == column(logs, "csv/metrics.loss") == [[0.5]]


def test_files_of_the_cache_do_not_pile_up(tmp_path: Path) -> None:
    with mlxpy.Logger(parent_log_dir=tmp_path) as logger:
        lines = Path(logger.log_dir, "metrics.csv")
        lines.write_text("step,loss\n")
        for step in range(1, 31):
            with lines.open("a") as file:
                file.write(f"{step},{step / 2}\n")
            ended = make_run(tmp_path)
            (ended / "metrics.csv").write_text(f"step,loss\n{step},0\n")
            settle(ended)
            assert Reader(tmp_path).search().last("csv/metrics.loss") == [step / 2, *[0] * step]
    assert len(list((tmp_path / ".mlxpy").rglob("*.arrow"))) < 45
    assert column(tmp_path, "csv/metrics.step") == [
        list(range(1, 31)),
        *([step] for step in range(1, 31)),
    ]
