import json
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest
from conftest import file_size_limit
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from mlxpy_core import InvalidNameError, RunEndedError, StorageError, UnstorableValueError, load_yaml
from mlxpy_core._runs._metrics_files import file_of_log, known_keys
from mlxpy_core._tracking._metrics import MetricsWriter


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[MetricsWriter]:
    writer = open_writer(tmp_path)
    yield writer
    writer.close()


def open_writer(run: Path) -> MetricsWriter:
    return MetricsWriter(run / "metrics", run / ".keys" / "metrics.yaml")


def rows(run: Path, log_name: str = "train") -> list[Any]:
    return [json.loads(line) for line in (run / "metrics" / f"{log_name}.json").open()]


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


@settings(max_examples=80)
@given(st.lists(st.dictionaries(st.text(), scalars), min_size=1))
def test_rows_come_back_as_they_were(tmp_path_factory: Any, logged: list[dict[str, Any]]) -> None:
    run = tmp_path_factory.mktemp("run")
    writer = open_writer(run)
    for row in logged:
        writer.write(row, "train")
    writer.close()
    # repr tells NaN from anything else, which == cannot
    assert repr(rows(run)) == repr(logged)
    listed = load_yaml((run / ".keys" / "metrics.yaml").read_text()) if any(logged) else {}
    assert set(listed.get("train", [])) == {key for row in logged for key in row}


def test_a_row_is_in_the_file_when_the_call_returns(writer: MetricsWriter, tmp_path: Path) -> None:
    for step in range(3):
        writer.write({"loss": 0.5, "step": step}, "train")
        assert len(rows(tmp_path)) == step + 1


def test_each_log_has_its_file(writer: MetricsWriter, tmp_path: Path) -> None:
    writer.write({"loss": 1}, "train")
    writer.write({"loss": 2}, "eval/test")
    assert rows(tmp_path, "eval/test") == [{"loss": 2}]
    assert load_yaml((tmp_path / ".keys" / "metrics.yaml").read_text()) == {
        "train": ["loss"],
        "eval/test": ["loss"],
    }


def test_infinities_and_nan_survive(writer: MetricsWriter, tmp_path: Path) -> None:
    writer.write({"a": math.inf, "b": -math.inf, "c": math.nan}, "train")
    [row] = rows(tmp_path)
    assert (row["a"], row["b"]) == (math.inf, -math.inf)
    assert math.isnan(row["c"])


def test_subclasses_are_stored_as_what_they_are(writer: MetricsWriter, tmp_path: Path) -> None:
    class Level(IntEnum):
        HIGH = 3

    writer.write(OrderedDict(level=Level.HIGH), "train")
    assert rows(tmp_path) == [{"level": 3}]


def test_numpy_scalars(writer: MetricsWriter, tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    row = {
        "f64": numpy.float64(0.1),
        "f32": numpy.float32(0.5),
        "i": numpy.int64(7),
        "b": numpy.bool_(True),
        "s": numpy.str_("x"),
        "one": numpy.array([2.5]),
        "nan": numpy.float32("nan"),
    }
    writer.write(row, "train")
    [stored] = rows(tmp_path)
    assert math.isnan(stored.pop("nan"))
    assert stored == {"f64": 0.1, "f32": 0.5, "i": 7, "b": True, "s": "x", "one": 2.5}


def test_torch_scalars(writer: MetricsWriter, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    loss = torch.tensor(0.5, requires_grad=True)
    writer.write({"loss": loss, "n": torch.tensor(3), "h": torch.tensor(1.5).bfloat16()}, "train")
    assert rows(tmp_path) == [{"loss": 0.5, "n": 3, "h": 1.5}]


def test_jax_scalars(writer: MetricsWriter, tmp_path: Path) -> None:
    numpy = pytest.importorskip("jax.numpy", reason="jax is not installed")
    writer.write({"loss": numpy.float32(0.5), "n": numpy.sum(numpy.ones(3))}, "train")
    assert rows(tmp_path) == [{"loss": 0.5, "n": 3.0}]


json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)


@given(st.dictionaries(st.text(), json_values))
def test_what_json_holds_comes_back_as_it_was(tmp_path_factory: Any, row: dict[str, Any]) -> None:
    run = tmp_path_factory.mktemp("run")
    open_writer(run).write(row, "train")
    assert repr(rows(run)) == repr([row])


def test_the_keys_of_nested_dicts_are_listed(writer: MetricsWriter, tmp_path: Path) -> None:
    writer.write({"val": {"acc": 1, "by": {0: 0.5, "x": []}}, "loss": 2, "none": {}}, "train")
    listed = load_yaml((tmp_path / ".keys/metrics.yaml").read_text())
    names = ["loss", "none", *("\x1f".join(path) for path in (["val", "acc"], ["val", "by", "0"]))]
    assert listed == {"train": [*names, "\x1f".join(["val", "by", "x"])]}
    (tmp_path / ".keys/metrics.yaml").unlink()
    assert known_keys(tmp_path / "metrics/train.json", tmp_path.parent) == set(listed["train"])


def test_arrays_are_lists(writer: MetricsWriter, tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    row = {"a": numpy.arange(6).reshape(2, 3), "b": [numpy.float32(0.5)], "c": numpy.zeros((2, 0))}
    writer.write({**row, "d": {"x": (True, numpy.array(["y", "z"]))}}, "train")
    expected = {"a": [[0, 1, 2], [3, 4, 5]], "b": [0.5], "c": [[], []], "d": {"x": [True, ["y", "z"]]}}
    assert rows(tmp_path) == [expected]


def test_torch_tensors_are_lists(writer: MetricsWriter, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    writer.write({"a": torch.ones(2, requires_grad=True), "b": [torch.tensor(3)]}, "train")
    assert rows(tmp_path) == [{"a": [1.0, 1.0], "b": [3]}]


def test_lists_of_a_config_are_lists(writer: MetricsWriter, tmp_path: Path) -> None:
    writer.write({"config": OmegaConf.create({"a": [1, {"b": 2}]})}, "train")
    assert rows(tmp_path) == [{"config": {"a": [1, {"b": 2}]}}]


def test_what_nests_too_deep_is_refused(writer: MetricsWriter, tmp_path: Path) -> None:
    deep: list[Any] = []
    for _ in range(49):
        deep = [deep]
    writer.write({"deep": deep}, "train")
    circle: list[Any] = []
    circle.append(circle)
    for value in ([deep], circle, {"a": {"b": [circle]}}):
        with pytest.raises(UnstorableValueError, match="nests deeper than 50 levels"):
            writer.write({"deep": value}, "train")
    assert rows(tmp_path) == [{"deep": deep}]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, {2}], "the value of 'bad' has the type set"),
        ({"a": [b"x"]}, "the value of 'bad.a' has the type bytes"),
        ({"a": {None: 1}}, "have the key None: give keys that are strings"),
        ({1: 1, "1": 2}, "'bad' has a key as text and as number"),
    ],
)
def test_what_is_no_metric_is_refused_at_any_depth(
    writer: MetricsWriter, tmp_path: Path, value: Any, message: str
) -> None:
    with pytest.raises(UnstorableValueError, match=message):
        writer.write({"bad": value}, "train")
    assert rows(tmp_path) == []


@pytest.mark.parametrize("value", [b"x", 1j, object(), {1}], ids=lambda value: type(value).__name__)
def test_what_is_no_metric_is_refused_whole(writer: MetricsWriter, tmp_path: Path, value: Any) -> None:
    writer.write({"loss": 1}, "train")
    with pytest.raises(UnstorableValueError, match=f"'bad' has the type {type(value).__name__}"):
        writer.write({"loss": 2, "bad": value}, "train")
    assert rows(tmp_path) == [{"loss": 1}]


def test_a_large_array_is_refused_with_its_shape(writer: MetricsWriter, tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    writer.write({"a": numpy.zeros(10_000)}, "train")
    shape = r"ndarray of shape \(73, 137\), which is no metric; .* arrays of at most 10,000 elements"
    with pytest.raises(UnstorableValueError, match=shape):
        writer.write({"a": numpy.zeros((73, 137))}, "train")
    assert len(rows(tmp_path)) == 1


@pytest.mark.parametrize("key", [1, None, True, ("a",)])
def test_keys_are_strings(writer: MetricsWriter, tmp_path: Path, key: Any) -> None:
    with pytest.raises(UnstorableValueError, match="give keys that are strings"):
        writer.write({key: 1}, "train")
    assert rows(tmp_path) == []


def test_metrics_are_a_dict(writer: MetricsWriter) -> None:
    with pytest.raises(UnstorableValueError, match="must be a dict of names and numbers, not list"):
        writer.write([("a", 1)], "train")  # type: ignore[arg-type]  # the mistake under test


@pytest.mark.parametrize("log_name", ["config", "info", "artifact", "mlxpy", "info/more"])
def test_reserved_log_names(writer: MetricsWriter, log_name: str) -> None:
    with pytest.raises(InvalidNameError, match="is reserved"):
        writer.write({"a": 1}, log_name)


@pytest.mark.parametrize(
    "log_name", ["", "/etc/x", "../x", "a/../b", "a//b", ".x", "a\0b", "a\n", "x" * 300]
)
def test_log_names_stay_inside(writer: MetricsWriter, tmp_path: Path, log_name: str) -> None:
    with pytest.raises(InvalidNameError, match="log_name"):
        writer.write({"a": 1}, log_name)
    assert not (tmp_path / "metrics").exists()


def test_more_logs_than_files_may_be_open(writer: MetricsWriter, tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        for number in range(150):
            writer.write({"a": number}, f"log{number}")
    assert [len(rows(tmp_path, f"log{number}")) for number in range(150)] == [2] * 150
    assert len(os.listdir("/proc/self/fd")) - before < 100


def test_a_torn_last_line_is_cut_before_the_next_row(tmp_path: Path) -> None:
    first = open_writer(tmp_path)
    first.write({"a": 1}, "train")
    first.close()
    with (tmp_path / "metrics" / "train.json").open("a") as file:
        file.write('{"a": 2, "b"')
    open_writer(tmp_path).write({"a": 3}, "train")
    assert rows(tmp_path) == [{"a": 1}, {"a": 3}]


def test_a_lost_list_of_keys_is_made_again(tmp_path: Path) -> None:
    open_writer(tmp_path).write({"a": 1, "b": 2}, "train")
    (tmp_path / ".keys" / "metrics.yaml").write_text("[torn")
    open_writer(tmp_path).write({"c": 3}, "train")
    assert load_yaml((tmp_path / ".keys" / "metrics.yaml").read_text()) == {"train": ["a", "b", "c"]}


def test_threads_do_not_mix_their_rows(writer: MetricsWriter, tmp_path: Path) -> None:
    def log(thread: int) -> None:
        for step in range(200):
            writer.write({"thread": thread, "step": step, "pad": "x" * 500}, "train")

    threads = [threading.Thread(target=log, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    logged = [(row["thread"], row["step"]) for row in rows(tmp_path)]
    assert sorted(logged) == [(thread, step) for thread in range(8) for step in range(200)]


def test_a_file_that_may_not_grow_keeps_its_whole_rows(writer: MetricsWriter, tmp_path: Path) -> None:
    row = {"text": "x" * 100}
    for _ in range(8):
        writer.write(row, "train")
    refused = pytest.raises(StorageError, match="cannot log metrics 'train': File too large")
    with file_size_limit(1000), refused:
        writer.write(row, "train")
    assert rows(tmp_path) == [row] * 8
    writer.write({"text": "after"}, "train")
    assert rows(tmp_path)[-1] == {"text": "after"}


def test_nothing_is_logged_after_the_end(writer: MetricsWriter) -> None:
    writer.write({"a": 1}, "train")
    writer.close()
    with pytest.raises(RunEndedError, match="the run has ended"):
        writer.write({"a": 2}, "train")


def test_names_by_which_the_reader_has_other_ranks_logs(writer: MetricsWriter, tmp_path: Path) -> None:
    for name in ("rank0/train", "rank1/train", "rank12/a/b"):
        with pytest.raises(InvalidNameError, match="reserved"):
            writer.write({"a": 1}, name)
    names = ("rank1", "ranks/train", "a/rank1/train", "rank/1")
    for name in names:
        writer.write({"a": 1}, name)
    for name in names:
        assert file_of_log(tmp_path / "metrics", name).read_text() == '{"a": 1}\n'
