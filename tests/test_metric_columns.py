"""Metrics as columns: what was logged, whatever its types, from the files or from the cache."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mlxpy
from mlxpy_core import MlxpyError, Reader
from mlxpy_core._reading._tables import _log_source, _metric_batch, _metric_columns
from mlxpy_core._reading._tables._warnings import UnreadableRunWarning

pytestmark = pytest.mark.usefixtures("ended_long_ago")

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


@settings(max_examples=20)
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
    monkeypatch.setattr(_metric_batch, "_BATCH_RUNS", 2)
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


class TestLogTable:
    """One log as a table of the rows that were logged."""

    @pytest.fixture
    def run(self, tmp_path: Path) -> Any:
        with mlxpy.Logger(tmp_path) as logger:
            logger.log_metrics({"loss": 0.5, "step": 1}, "train")
            logger.log_metrics({"accuracy": 0.9, "step": 2, "ok": True}, "train")
            logger.log_metrics({"loss": None, "step": 3, "val.loss": "x"}, "train")
            logger.log_metrics({"loss": float("nan"), "count": 2**60 + 1, "ok": False}, "train")
            logger.log_metrics({"mixed": 1}, "mixed/types.x")
            logger.log_metrics({"mixed": "one"}, "mixed/types.x")
            logger.log_metrics({"mixed": True}, "mixed/types.x")
        return Reader(tmp_path).search()[0]

    def test_rows_as_they_were_logged_with_null_for_what_is_missing(self, run: Any) -> None:
        table = run.log("train")
        assert len(table) == 4
        assert table.keys() == ["loss", "step", "accuracy", "ok", "val.loss", "count"]
        assert table["step"] == [1, 2, 3, None]
        assert table[1] == {
            "loss": None,
            "step": 2,
            "accuracy": 0.9,
            "ok": True,
            "val.loss": None,
            "count": None,
        }
        assert list(table)[1] == table[1]
        assert table[-2:]["step"] == [3, None]
        arrow = table.toArrow()
        assert arrow["step"].to_pylist() == [1, 2, 3, None]
        assert arrow["count"].to_pylist() == [None, None, None, 2**60 + 1]
        assert arrow["ok"].to_pylist() == [None, True, None, False]
        assert arrow["loss"].null_count == 2  # NaN is a value
        assert str(arrow["loss"].type) == "double"

    def test_pandas_keeps_integers_and_booleans(self, run: Any) -> None:
        frame = run.log("train").toPandas()
        assert list(frame.columns) == run.log("train").keys()
        assert frame["step"].tolist()[:3] == [1, 2, 3]
        assert frame["count"][3] == 2**60 + 1
        assert frame["ok"][1] is np.True_ or frame["ok"][1] is True
        assert frame.isna().sum().to_dict() == {
            "loss": 3,
            "step": 1,
            "accuracy": 3,
            "ok": 2,
            "val.loss": 3,
            "count": 3,
        }

    def test_values_of_several_types(self, run: Any) -> None:
        table = run.log("mixed/types.x")
        assert table["mixed"] == [1, "one", True]
        assert table.toPandas()["mixed"].tolist() == [1, "one", True]
        assert table.toArrow()["mixed"].to_pylist() == ["1", '"one"', "true"]

    def test_it_is_drawn(self, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("COLUMNS", "80")
        lines = [
            [cell.strip() for cell in line.split("|")[1:-1]]
            for line in repr(run.log("train")).splitlines()
        ]
        assert lines[1] == run.log("train").keys()
        assert lines[3:5] == [["0.5", "1", "", "", "", ""], ["", "2", "0.9", "True", "", ""]]
        assert lines[5][0] == "None"
        assert repr(run.log("train")).endswith("[4 rows x 6 columns]")
        assert "<td>0.9</td>" in run.log("train")._repr_html_()
        assert repr(run.log("train")[:0]) == "[0 rows x 0 columns]"

    def test_other_ranks_are_logs_of_their_own(self, tmp_path: Path) -> None:
        with mlxpy.Logger(tmp_path) as logger:
            logger.log_metrics({"loss": 0.5}, "train")
        other = tmp_path / "1/metrics/.ranks/1"
        other.mkdir(parents=True)
        (other / "train.json").write_text('{"loss": 1.5}\n{"loss": 2.5}\n{"torn')
        run = Reader(tmp_path).search()[0]
        assert run.log("train")["loss"] == [0.5]
        assert run.log("rank1/train")["loss"] == [1.5, 2.5]

    def test_a_log_that_is_not_there(self, run: Any, tmp_path: Path) -> None:
        with pytest.raises(MlxpyError, match=r"run 1 has no log 'trian': did you mean train\?"):
            run.log("trian")
        with pytest.raises(MlxpyError, match=r"no log '../metadata/info'"):
            run.log("../metadata/info")
        with pytest.raises(MlxpyError, match="no column 'los': did you mean loss"):
            run.log("train")["los"]
        with mlxpy.Logger(tmp_path):
            pass
        with pytest.raises(MlxpyError, match="it has logged no metrics"):
            Reader(tmp_path).search()[1].log("train")
        groups = Reader(tmp_path).search().groupby("info.status")
        with pytest.raises(MlxpyError, match="computed"):
            groups.aggregate((len, "info.log_id"), ungroup=True)[0].log("train")

    def test_lines_that_are_no_rows_are_named(self, run: Any, tmp_path: Path) -> None:
        path = tmp_path / "1/metrics/train.json"
        path.write_text('{"loss": 1}\nno row\n[1]\n{"loss": 2}\n{"loss": 3')
        with pytest.warns(UnreadableRunWarning, match=r"train\.json, line 2, .*train\.json, line 3"):
            assert run.log("train")["loss"] == [1, 2]


class TestLastValues:
    """The last value of a metric, from the ends of the files and from the cache."""

    def test_as_the_whole_metric_has_it(self, tmp_path: Path) -> None:
        rows: list[list[dict[str, Any]]] = [
            [{"loss": 1, "x": 0}, {"loss": 2.5}, {"other": 1}],
            [{"loss": "text"}, {"loss": None}],
            [{"other": 1}],
            [],
            [{"loss": 7}] + [{"other": "y" * 100}] * 1000,
            [{"loss": [1, {"a": 2}]}],
        ]
        for of_run in rows:
            with mlxpy.Logger(tmp_path) as logger:
                logger.log_metrics({"other": 0}, "first")
            path = tmp_path / str(logger.log_id) / "metrics/train.json"
            path.write_text("".join(json.dumps(row) + "\n" for row in of_run) + '{"loss": 99')
            (path.parents[1] / ".keys/metrics.yaml").write_text("train: [loss, other, x]\n")
            (path.parents[1] / ".keys/summary.json").unlink()
        expected = [2.5, None, None, None, 7, [1, {"a": 2}]]
        for _ in ("from the files", "from the cache"):
            results = Reader(tmp_path).search()
            assert results.last("train.loss") == expected
            assert results[::-1].last("train.loss") == expected[::-1]
            assert results.last("info.log_id") == [1, 2, 3, 4, 5, 6]
        assert list((tmp_path / ".mlxpy").rglob(".last/train/key-loss/*.arrow"))

    def test_a_run_that_goes_on_is_read_each_time(self, tmp_path: Path) -> None:
        with mlxpy.Logger(tmp_path) as logger:
            for loss in (1.0, 2.0):
                logger.log_metrics({"loss": loss}, "train")
                assert Reader(tmp_path).search().last("train.loss") == [loss]
        (tmp_path / "1/metrics/train.json").write_text('{"loss": 3.0}\n')
        assert Reader(tmp_path).search().last("train.loss") == [3.0]
        (tmp_path / "1/metrics/train.json").write_text('{"loss": 4.0}\n')
        assert Reader(tmp_path).search().last("train.loss") == [3.0]  # it had ended

    @pytest.mark.parametrize("line", ["no row", "[1]", '{"loss": ' + "[" * 100_000, '{"loss": 1}x'])
    def test_lines_that_are_no_rows_are_left_out(self, tmp_path: Path, line: str) -> None:
        with mlxpy.Logger(tmp_path) as logger:
            logger.log_metrics({"loss": 1.0}, "train")
            path = tmp_path / "1/metrics/train.json"
        path.write_text(f'{{"loss": 5}}\n{line}\n')
        assert Reader(tmp_path).search().last("train.loss") == [5]

    @pytest.mark.parametrize("key", ["..", ".", "a/b", "x" * 300, "é \n", "../../../../metadata"])
    def test_keys_that_are_no_file_names(self, tmp_path: Path, key: str) -> None:
        with mlxpy.Logger(tmp_path) as logger:
            logger.log_metrics({key: 1}, "train")
        before = {path for path in tmp_path.rglob("*") if ".mlxpy" not in path.parts}
        for _ in range(2):
            results = Reader(tmp_path).search()
            assert results.last(results.keys()[-1]) == [1]
        assert {path for path in tmp_path.rglob("*") if ".mlxpy" not in path.parts} == before


def test_what_has_just_ended_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mount may have an old length of the file for a second or two."""
    monkeypatch.setattr(_log_source, "_SETTLES_S", 600)
    write_runs(tmp_path, [[{"a": 1}, {"a": 2}]], "train")
    path = tmp_path / "1/metrics/train.json"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert [list(values) for values in Reader(tmp_path).search()["train.a"]] == [[1]]
    path.write_bytes(whole)
    assert [list(values) for values in Reader(tmp_path).search()["train.a"]] == [[1, 2]]
    assert not list(tmp_path.glob(".mlxpy/reader-*/metrics/**/*.arrow"))
    monkeypatch.setattr(_log_source, "_SETTLES_S", 0)
    assert [list(values) for values in Reader(tmp_path).search()["train.a"]] == [[1, 2]]
    assert list(tmp_path.glob(".mlxpy/reader-*/metrics/**/*.arrow"))
