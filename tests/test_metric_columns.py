"""Metrics as columns: what was logged, whatever its types, from the files or from the cache."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mlxpy
from mlxpy_core import Reader
from mlxpy_core._reading._tables import _metric_columns

numbers = st.one_of(st.floats(), st.integers(-5, 5))
cells = st.one_of(
    st.floats(), st.integers(-(2**70), 2**70), st.booleans(), st.none(), st.text(max_size=3), st.just("\ud800")
)  # fmt: skip
keys = st.sampled_from(["loss", "a b", "x:f", "r", "ü.é"])
histories = st.one_of(
    st.lists(st.fixed_dictionaries({"loss": st.floats(), "step": st.integers(0, 9)}), max_size=4),
    st.lists(st.dictionaries(keys, numbers, max_size=3), max_size=4),
    st.lists(st.dictionaries(keys, cells, max_size=3), max_size=4),
)


def as_text(values: Any) -> str:
    """Tells nan from None, True from 1 and text from numbers, but not 1 from 1.0."""
    numbers = (float(v) if type(v) in (int, float) and abs(v) < 2**53 else v for v in values)
    return repr(list(numbers))


def write_runs(logs: Path, runs: list[list[dict[str, Any]]], log: str) -> None:
    for rows in runs:
        with mlxpy.Logger(parent_log_dir=logs) as logger:
            for row in rows:
                logger.log_metrics(row, log)


@settings(max_examples=40)
@given(st.lists(histories, min_size=1, max_size=4), st.sampled_from(["train", "val/a b", "é%"]))
def test_what_was_logged_comes_back(
    tmp_path_factory: pytest.TempPathFactory, runs: list[list[dict[str, Any]]], log: str
) -> None:
    logs = tmp_path_factory.mktemp("logs")
    write_runs(logs, runs, log)
    expected = {
        f"{log}.{key}": [[row[key] for row in rows if key in row] for rows in runs]
        for key in {key for rows in runs for row in rows for key in row}
    }
    for _ in ("parsed", "cached"):
        results = Reader(logs).search()
        table = results.toArrow()
        for field, lists in expected.items():
            for run, values in enumerate(lists):
                if values:
                    assert as_text(results[run][field]) == as_text(values)
                    assert as_text(results[:][field][run].tolist()) == as_text(values)
                else:
                    assert field not in results[run]
                    assert results[field][run] is None
                    assert table[field][run].as_py() is None
            column = [value for values in lists for value in values]
            if (
                {type(value) for value in column} in ({int}, {float}, {bool}, {str})
                and max([abs(value) for value in column if type(value) is int], default=0) < 2**53
                and "\ud800" not in column
            ):
                stored = [value.as_py() or [] for value in table[field]]
                assert list(map(as_text, stored)) == list(map(as_text, lists))


def test_values_of_no_common_type_are_json_in_arrow(tmp_path: Path) -> None:
    write_runs(tmp_path, [[{"x": 1}, {"x": "a"}], [{"x": None}, {"x": 2.5}]], "log")
    column = Reader(tmp_path).search().toArrow()["log.x"].to_pylist()
    assert [[json.loads(value) for value in values] for values in column] == [[1, "a"], [None, 2.5]]


def test_integers_and_floats_of_different_runs_are_floats_in_arrow(tmp_path: Path) -> None:
    write_runs(tmp_path, [[{"x": 1}], [{"x": 2.5}], [{"y": 0}]], "log")
    assert Reader(tmp_path).search().toArrow()["log.x"].to_pylist() == [[1.0], [2.5], None]


def test_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_runs(tmp_path, [[{"x": run}, {"x": run + 0.5}] for run in range(9)], "log")
    monkeypatch.setattr(_metric_columns, "_BATCH_RUNS", 2)
    reader = Reader(tmp_path)
    assert [x.tolist() for x in reader.search("info.log_id in [2, 3, 7]")["log.x"]] == [
        [1, 1.5],
        [2, 2.5],
        [6, 6.5],
    ]
    backwards = reader.search().sort("info.log_id", ascending=False)
    expected = [[run, run + 0.5] for run in reversed(range(9))]
    assert [x.tolist() for x in backwards["log.x"]] == expected
    assert backwards.toArrow()["log.x"].to_pylist() == expected
    assert [x.tolist() for x in Reader(tmp_path).search()["log.x"]] == expected[::-1]


def test_the_rows_of_a_key_that_not_all_have(tmp_path: Path) -> None:
    write_runs(tmp_path, [[{"x": 1, "y": 2}, {"x": 3}, {"y": 4}]], "log")
    for _ in ("parsed", "cached"):
        series = Reader(tmp_path).search()._rows.series("log.y")
        assert series is not None
        assert series[0].values.tolist() == [2, 4]
        assert series[0].rows is not None
        assert series[0].rows.tolist() == [0, 2]


def test_a_plot_while_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = _metric_columns.read_rows
    with mlxpy.Logger(parent_log_dir=tmp_path) as logger:

        def read_and_log(path: Path, damaged: list[str]) -> list[dict[str, Any]]:
            rows = read(path, damaged)
            logger.log_metrics({"y": 3}, "log")
            return rows

        logger.log_metrics({"x": 1, "y": 1}, "log")
        logger.log_metrics({"x": 2}, "log")
        monkeypatch.setattr(_metric_columns, "read_rows", read_and_log)
        series = Reader(tmp_path).search()._rows.series("log.y")
        assert series is not None
        assert series[0].rows is not None
        assert len(series[0].rows) == len(series[0].values)


def test_a_run_alone_is_not_cached(tmp_path: Path) -> None:
    write_runs(tmp_path, [[{"x": 1}], [{"x": 2}]], "log")
    for row in Reader(tmp_path).search():
        assert row["log.x"] == [row["info.log_id"]]
    assert not list((tmp_path / ".mlxpy").rglob("metrics/*/*.arrow"))


def test_numbers_are_numpys(tmp_path: Path) -> None:
    write_runs(tmp_path, [[{"f": 1.5, "i": 2, "b": True, "s": "t"}]], "log")
    results = Reader(tmp_path).search()
    kinds = {key: results[f"log.{key}"][0].dtype.kind for key in "fibs"}
    assert kinds == {"f": "f", "i": "i", "b": "b", "s": "O"}
    assert np.array_equal(results["log.f"][0], np.array([1.5]))
