"""Results: lists of runs that are cut, grouped, sorted and handed on."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from guide_runs import make_guide_runs

import mlxpy
from mlxpy_core import ConfigList, GroupedConfigList, MlxpyError, Reader


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_guide_runs(tmp_path_factory.mktemp("project") / "logs")


@pytest.fixture
def results(logs: Path) -> ConfigList:
    return Reader(logs).search()


def mean(x: Any) -> Any:
    return np.mean(np.array(x), axis=0)


def maximum(x: Any) -> Any:
    x = np.array(x)
    return x[:, -1] == np.max(x[:, -1])


class TestGuide:
    """MLXP's reading guide, as it is written but for the import."""

    def test_filter_and_columns(self, logs: Path) -> None:
        results = Reader(logs).filter(
            query_string="info.status == 'COMPLETE' & config.optimizer.lr <= 100."
        )
        assert len(results) == 18
        assert results.config_diff() == ["config.model.num_units", "config.optimizer.lr", "config.seed"]
        assert results.diff() == results.config_diff()
        assert all(status == "COMPLETE" for status in results[:]["info.status"])
        assert set(results.keys()) == set(Reader(logs).fields.index)

    def test_groups(self, results: ConfigList) -> None:
        grouped = results.groupby(["config.optimizer.lr"])
        assert list(grouped.keys()) == [(1.0,), (10.0,)]
        assert all(len(group) == 9 for _, group in grouped.items())
        assert grouped[10.0,][0]["config.optimizer.lr"] == 10.0
        table = grouped.toPandas()
        assert table.index.names == ["config.optimizer.lr", None]
        assert list(table.loc[1.0]["config.optimizer.lr"]) == [1.0] * 9
        assert "LAZYLOADING" in repr(grouped)

    def test_aggregation(self, results: ConfigList) -> None:
        grouped = results.groupby("config.optimizer.lr")
        aggregated = grouped.aggregate((mean, ("train.loss", "train.epoch")))
        assert isinstance(aggregated, GroupedConfigList)
        for key, group in grouped.items():
            assert len(aggregated[key]) == 1
            row = aggregated[key][0]
            assert np.array_equal(row["fmean.train.loss"], mean(group[:]["train.loss"]))
            assert row["fmean.train.epoch"].tolist() == [0, 1, 2, 3]
        named = results.aggregate((mean, "train.loss", "average"))
        assert len(named) == 1
        assert named.keys() == ["average"]

    def test_the_best_setting_of_each_model(self, results: ConfigList) -> None:
        group_keys = ["config.model.num_units", "config.optimizer.lr"]
        methods_keys = ["config.model.num_units"]
        best_keys = (
            results.groupby(group_keys)
            .aggregate((mean, "train.loss"), ungroup=True)
            .filter((maximum, "fmean.train.loss"), bygroups=methods_keys)
            .groupby(group_keys)
            .keys()
        )
        assert list(best_keys) == [(2, 1.0), (3, 10.0), (4, 1.0)]
        best = (
            results.groupby(group_keys)
            .select(best_keys)
            .aggregate((mean, "test.loss"), ungroup=True)
            .groupby(methods_keys)
        )
        assert list(best.toPandas().columns) == ["fmean.test.loss", *group_keys]
        assert best[3,][0]["config.optimizer.lr"] == 10.0

    def test_a_filter_by_groups_of_groups(self, results: ConfigList) -> None:
        grouped = results.groupby(["config.model.num_units", "config.optimizer.lr"])
        best = grouped.aggregate((mean, "train.loss")).filter(
            (maximum, "fmean.train.loss"), bygroups=["config.model.num_units"]
        )
        assert list(best.keys()) == [(2, 1.0), (3, 10.0), (4, 1.0)]


class TestMaps:
    """Functions that are applied to columns."""

    def test_of_each_value(self, results: ConfigList) -> None:
        last = results[:2].map(
            [(lambda losses: losses[-1], ("train.loss", "test.loss")), (str, "config.seed", "s")]
        )
        assert last.keys() == ["f<lambda>.train.loss", "f<lambda>.test.loss", "s"]
        assert last["s"] == ["1", "2"]
        assert last["f<lambda>.test.loss"] == [2 * loss for loss in last["f<lambda>.train.loss"]]

    def test_of_each_column(self, results: ConfigList) -> None:
        ranks = results[:3].transform(
            (lambda seeds: [seed - min(seeds) for seed in seeds], "config.seed", "rank")
        )
        assert ranks["rank"] == [0, 1, 2]
        with pytest.raises(
            MlxpyError, match="transform keeps the 18 rows: call aggregate to make one row"
        ):
            results.transform((sum, "config.seed"))
        both = results.apply([(sum, "config.seed"), (np.mean, "config.seed", "mean")], "Columnwise")
        assert [dict(row) for row in both] == [{"fsum.config.seed": 36, "mean": 2.0}]

    def test_of_several_columns(self, results: ConfigList) -> None:
        def both(first: Any, second: Any) -> Any:
            return first, second

        columns = ("config.seed", "config.model.num_units")
        rows = results[:2].apply((both, columns, ("a", "b")), map_type="Rowwise")
        assert [dict(row) for row in rows] == [{"a": 1, "b": 2}, {"a": 2, "b": 2}]
        assert results[:2].apply((both, columns), "Rowwise")[
            "fboth.config.seed_config.model.num_units"
        ] == [(1, 2), (2, 2)]
        assert [dict(row) for row in results[:2].apply((both, columns, ("a", "b")))] == [
            dict(row) for row in rows
        ]
        with pytest.raises(MlxpyError, match="both is to return a tuple, of a, b, c"):
            results.apply((both, columns, ("a", "b", "c")))
        with pytest.raises(MlxpyError, match="a came as another number of values than the 18 rows"):
            results.apply([(lambda seeds: seeds, "config.seed", "b"), (sum, "config.seed", "a")])
        with pytest.raises(MlxpyError, match="map_type='rows': give one of Generic, Columnwise"):
            results.apply((both, columns), "rows")

    def test_of_groups(self, results: ConfigList) -> None:
        groups = results.groupby("config.optimizer.lr")
        assert [group["m"] for _, group in groups.map((str, "config.seed", "m")).items()] == [
            ["1", "2", "3"] * 3
        ] * 2
        ungrouped = groups.apply((sum, "config.seed", "sum"), ungroup=True)
        assert [dict(row) for row in ungrouped] == [
            {"sum": 18, "config.optimizer.lr": lr} for lr in (1.0, 10.0)
        ]
        assert len(groups.transform((sorted, "config.seed", "s"), ungroup=True)) == 18

    def test_groups_of_groups(self, results: ConfigList) -> None:
        nested = results.groupby("config.optimizer.lr").groupby("config.model.num_units")
        inner: Any = nested[10.0,]
        assert list(inner.keys()) == [(2,), (3,), (4,)]
        assert inner[3,]["config.seed"] == [1, 2, 3]
        sums: Any = nested.aggregate((sum, "config.seed", "sum"))
        assert sums[1.0,][4,]["sum"] == [6]
        outer: Any = nested.ungroup()
        assert isinstance(outer, GroupedConfigList)
        assert len(outer[1.0,]) == 9
        assert "LAZYLOADING" in repr(nested)

    def test_no_runs(self, results: ConfigList) -> None:
        assert len(results[:0].map((str, "config.seed"))) == 0
        assert len(results[:0].transform((sorted, "config.seed"))) == 0
        assert len(results[:0] + results[:0]) == 0


class TestAddedColumns:
    """Columns that a program adds to what it has found."""

    def test_a_row_that_is_updated_is_so_in_its_list(self, results: ConfigList) -> None:
        for row in results:
            row.update({"parity": row["config.seed"] % 2, "config.same": row["info.log_id"]})
            assert row["parity"] == row["config.seed"] % 2
        results[0].update({"parity": "first"})
        assert results["parity"][:4] == ["first", 0, 1, 1]
        assert "config.same" in results.diff()
        assert list(results.groupby("parity").keys()) == [(0,), (1,), ("first",)]
        assert results.sort("parity")[-1]["train.loss"] == results[0]["train.loss"]
        assert [row["parity"] for row in results[1:3]] == [0, 1]
        assert results.select(["parity", "train.loss"])[0]["parity"] == "first"
        assert (
            results.filter((lambda values: [value == 0 for value in values], "parity"))["config.seed"]
            == [2] * 6
        )
        assert list(results.toPandas()["parity"][:2]) == ["first", 0]
        assert results.toArrow()["parity"].to_pylist()[:2] == ["first", "0"]
        assert results.last("parity")[:2] == ["first", 0]
        assert len(results.last("train.loss")) == len(results["train.loss"]) == 18
        assert len(results.groupby("config.optimizer.lr").ungroup()) == 18
        assert "parity" in repr(results.select(["info.log_id", "parity"]))

    def test_a_run_without_the_column_has_none(self, results: ConfigList) -> None:
        results[1].update({"x": np.arange(2), "train.loss": 0})
        assert results["x"][0] is None
        assert results["x"][1].tolist() == [0, 1]
        assert "x" not in dict(results[0])
        assert results[1]["train.loss"] == results["train.loss"][1] == 0
        assert results[0]["train.loss"] == results["train.loss"][0].tolist()

    def test_lists_are_merged(self, results: ConfigList) -> None:
        merged = results.merge(results.map((len, "train.loss", "length")))
        assert merged is results
        assert results["length"] == [4] * 18
        assert results[0]["config.seed"] == 1
        with pytest.raises(
            MlxpyError, match="merge needs as many rows as there are here: give 18, not 1"
        ):
            results.merge(results[:1])

    def test_lists_are_added(self, results: ConfigList, tmp_path: Path) -> None:
        config = {"optimizer": {"lr": 3.0}, "seed": 9, "new": "y"}
        with mlxpy.Logger(parent_log_dir=tmp_path, config=config) as logger:
            logger.log_metrics({"loss": 7}, "train")
        others = Reader(tmp_path).search()
        both = results[:2] + others + results[2:3]
        assert len(both) == 4
        assert both["config.seed"] == [1, 2, 9, 3]
        assert both["config.new"] == [None, None, "y", None]
        assert [len(loss) for loss in both["train.loss"]] == [4, 4, 1, 4]
        assert both.sort("config.seed", ascending=False)[0]["train.loss"] == [7]
        assert both[::-1]["info.log_id"] == [3, 1, 2, 1]
        assert both.last("train.loss")[2] == 7
        assert both.toArrow()["train.loss"].to_pylist()[2] == [7.0]
        assert list(both.toPandas(lazy=False)["train.loss"][2:3]) == [[7]]
        assert set(both.diff()) >= {"config.seed", "config.new"}
        assert len(both.groupby("config.seed").ungroup()) == 4
        assert (results[:1] + results[1:2]).keys() == results.keys()
        computed = results.aggregate((sum, "config.seed", "sum"))
        assert (computed + computed)["sum"] == [36, 36]
        both[0].update({"x": 1})
        assert both["x"] == [1, None, None, None]
        both.plot(None, "train.loss").figure.clear()


class TestList:
    """One list of runs."""

    def test_indices_and_slices(self, results: ConfigList) -> None:
        assert results[-1]["info.log_id"] == 18
        assert results[2:5]["info.log_id"] == [3, 4, 5]
        assert results[::-6]["info.log_id"] == [18, 12, 6]
        assert [row["info.log_id"] for row in results] == list(range(1, 19))
        with pytest.raises(IndexError):
            results[18]

    def test_a_row_is_a_mapping(self, results: ConfigList) -> None:
        row = results[0]
        assert set(row) == set(results.keys())
        assert len(row) == len(results.keys())
        assert dict(row)["train.epoch"] == [0, 1, 2, 3]
        assert row.get("config.nothing") is None
        assert "LAZYLOADING" in repr(row)
        with pytest.raises(KeyError, match=r"no column 'train.los': did you mean train.loss"):
            row["train.los"]

    def test_unknown_columns(self, results: ConfigList) -> None:
        for ask in (
            lambda: results["train.los"],
            lambda: results.groupby("train.los"),
            lambda: results.sort("train.los"),
            lambda: results.select(["info.log_id", "train.los"]),
            lambda: results.aggregate((mean, "train.los")),
            lambda: results.filter((maximum, "train.los")),
            lambda: results.plot("train.epoch", "train.los"),
        ):
            with pytest.raises(MlxpyError, match=r"no column 'train.los': did you mean train.loss"):
                ask()

    def test_a_column_that_is_like_none(self, logs: Path) -> None:
        results = Reader(logs).search()
        names = ", ".join(list(results.keys())[:5])
        with pytest.raises(MlxpyError) as raised:
            results.sort("zzz")
        more = len(results.keys()) - 5
        assert str(raised.value) == f"no column 'zzz': there are {names} and {more} more"

    def test_columns_of_no_rows(self, logs: Path) -> None:
        nothing = Reader(logs).search("config.seed == 17")
        assert nothing["config.seed"] == []
        assert nothing["train.loss"] == []
        assert nothing.toArrow().num_rows == 0
        assert "train.loss" in nothing.toPandas().columns
        assert list(nothing.groupby("config.seed")) == []
        assert repr(nothing).splitlines()[-1].startswith("[0 runs x ")

    def test_select(self, results: ConfigList) -> None:
        few = results.select(["train.loss", "config.seed"])
        assert few.keys() == ["train.loss", "config.seed"]
        assert list(few.toPandas(lazy=False).columns) == ["train.loss", "config.seed"]
        assert dict(few[0]) == {"config.seed": 1, "train.loss": results[0]["train.loss"]}

    def test_filter_by_a_function_of_two_columns(self, results: ConfigList) -> None:
        chosen = results.filter((lambda seed, lr: [a == 1 and b == 1 for a, b in zip(seed, lr, strict=True)],
                                 ("config.seed", "config.optimizer.lr")))  # fmt: skip
        assert chosen["info.log_id"] == [4, 10, 16]
        with pytest.raises(
            MlxpyError, match="the filter returned 1 booleans for 18 rows: return one for each"
        ):
            results.filter((lambda seed: [True], "config.seed"))

    @pytest.mark.parametrize(
        "wrong", ["train.loss", (mean,), ("train.loss", mean), (mean, ["train.loss"]), (mean, ())]
    )
    def test_a_wrong_map_is_explained(self, results: ConfigList, wrong: Any) -> None:
        with pytest.raises(
            MlxpyError, match=r"a map is \(function, columns\)|columns are a name or a tuple"
        ):
            results.aggregate(wrong)

    def test_a_metric_cannot_group(self, results: ConfigList) -> None:
        with pytest.raises(
            MlxpyError, match=r"column 'train\.loss' cannot group: name fields of config or info"
        ):
            results.groupby(["config.seed", "train.loss"])

    def test_too_few_output_names(self, results: ConfigList) -> None:
        with pytest.raises(MlxpyError, match="a map of 2 columns has 1 output names: give one for each"):
            results.aggregate((mean, ("train.loss", "test.loss"), "one"))

    def test_sort(self, results: ConfigList) -> None:
        ordered = results.sort(["config.seed", "config.optimizer.lr"])
        assert ordered["config.seed"] == [1] * 6 + [2] * 6 + [3] * 6
        assert ordered["config.optimizer.lr"][:6] == [1.0] * 3 + [10.0] * 3
        assert ordered["info.log_id"][:3] == [4, 10, 16]
        assert results.sort("info.log_id", ascending=False)["info.log_id"][0] == 18
        with pytest.raises(MlxpyError, match=r"column 'train\.loss' has no order"):
            results.sort("train.loss")

    def test_values_of_any_type_are_sorted_and_grouped(self, tmp_path: Path) -> None:
        values = ["b", None, 2, 1.5, True, "a", [1], math.nan, 2.0, "missing"]
        for value in values:
            with mlxpy.Logger(
                parent_log_dir=tmp_path, config={} if value == "missing" else {"x": value}
            ):
                pass
        results = Reader(tmp_path).search()
        assert [repr(x) for x in results.sort("config.x")["config.x"]] == [
            "True", "1.5", "2", "2.0", "'a'", "'b'", "[1]", "None", "nan", "None",
        ]  # fmt: skip
        groups = {repr(key[0]): len(group) for key, group in results.groupby("config.x").items()}
        assert groups == {
            "True": 1,
            "1.5": 1,
            "2": 2,
            "'a'": 1,
            "'b'": 1,
            "'[1]'": 1,
            "None": 2,
            "nan": 1,
        }
        assert results.diff() == ["config.x"]
        assert results[:1].diff() == []
        assert Reader(tmp_path).search("config.x in [2, 2.0]").diff() in ([], ["config.x"])

    def test_a_table_for_duckdb_and_polars(self, results: ConfigList) -> None:
        import duckdb
        import polars

        table = results.toArrow()
        query = """
            select "config.seed" as seed, avg("train.loss"[-1]) as loss from "table" group by seed order by loss
        """
        assert [seed for seed, _ in duckdb.sql(query).fetchall()] == [1, 2, 3]
        frame = polars.DataFrame(table)
        assert frame["train.loss"].list.len().to_list() == [4] * 18
