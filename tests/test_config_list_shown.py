"""Results as people see them: tables in a terminal and in a notebook, plots."""

import html.parser
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from guide_runs import make_guide_runs

import mlxpy
from mlxpy_core import ConfigList, MlxpyError, Reader


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_guide_runs(tmp_path_factory.mktemp("project") / "logs")


@pytest.fixture
def results(logs: Path) -> ConfigList:
    return Reader(logs).search()


class _Tables(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.rows: list[int] = []
        self.text: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        if tag == "tr":
            self.rows.append(0)
        elif tag in ("td", "th"):
            self.rows[-1] += 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["style"], ["script"]):
            self.text.append(data)


class TestDisplay:
    """What people see."""

    def test_what_tells_runs_apart_is_shown(
        self, results: ConfigList, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for columns in (80, 120, 200, 1000):
            monkeypatch.setenv("COLUMNS", str(columns))
            lines = repr(results).splitlines()
            assert max(map(len, lines)) <= columns
            assert "info.log_id" in lines[1]
            assert "LAZYLOADING" in lines[3]
            heads = [head.strip() for head in lines[1].split("|")[1:-1]]
            assert "config.model.num_units" in heads
            assert "test.loss" in heads
            ends = [head.split(".")[-1].strip("…") for head in heads]
            assert {"num_units", "lr", "seed"} <= set(ends)
            if columns == 80:
                assert ends == ["log_id", "status", "num_units", "lr", "seed", "loss"]
        assert lines[-1] == f"[18 runs x {len(results.keys())} columns]"
        assert all(field in lines[1] for field in list(results.keys()))

    @staticmethod
    def table(results: ConfigList, width: int = 80) -> tuple[list[str], list[list[str]], str]:
        """Gives the heads, the rows and the last line of a table that is no wider than that."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("COLUMNS", str(width))
            lines = repr(results).splitlines()
        assert max(map(len, lines)) <= width
        cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line[0] == "|"]
        return cells[0], cells[1:], lines[-1]

    @staticmethod
    def runs(
        logs: Path, configs: Iterable[dict[str, Any]], metrics: Sequence[str] = ("epoch", "loss")
    ) -> ConfigList:
        for config in configs:
            with mlxpy.Logger(parent_log_dir=logs, config=config) as logger:
                if metrics:
                    logger.log_metrics(dict.fromkeys(metrics, 1.0), "train")
        return Reader(logs).search()

    def test_many_columns_hide_neither_what_differs_nor_the_first_metric(self, tmp_path: Path) -> None:
        same = {f"group{number}": {"some_long_option": "x" * 30, "a": number} for number in range(30)}
        results = self.runs(tmp_path, ({**same, "optimizer": {"lr": lr}} for lr in (0.1, 0.01)))
        heads, rows, count = self.table(results)
        assert heads == ["info.log_id", "info.status", "config.optimizer.lr", "...", "train.loss"]
        assert rows == [
            ["1", "COMPLETE", "0.1", "...", "LAZYLOADING"],
            ["2", "COMPLETE", "0.01", "...", "LAZYLOADING"],
        ]
        assert count == f"[2 runs x {len(results.keys())} columns, {len(results.keys()) - 4} not shown]"
        heads, _, count = self.table(results, 100_000)
        assert heads == results.keys()
        assert count == f"[2 runs x {len(results.keys())} columns]"

    def test_more_differs_than_fits(self, tmp_path: Path) -> None:
        configs = ({f"layer{index}": {"width": 7 * index * run, "rate": 0.1} for index in range(1, 20)} for run in (1, 2))  # fmt: skip
        results = self.runs(tmp_path, configs)
        heads, rows, count = self.table(results)
        assert heads[2:] == ["config.layer1.width", "config.layer10.width", "train.loss"]
        assert [row[2:4] for row in rows] == [["7", "70"], ["14", "140"]]
        assert count.endswith(f"x {len(results.keys())} columns, {len(results.keys()) - 5} not shown]")

    def test_long_values_are_cut_where_they_do_not_differ(self, tmp_path: Path) -> None:
        paths = [f"/scratch/users/somebody/data/version_{one}/images/train" for one in "AB"]
        results = self.runs(
            tmp_path, ({"root": path, "text": path[9:].replace("/", " ")} for path in paths)
        )
        heads, rows, _ = self.table(results)
        assert heads[2:4] == ["config.root", "config.text"] or "config.text" in heads
        for column in range(2, len(heads) - 1):
            assert heads[column] == "..." or rows[0][column] != rows[1][column]

    def test_long_names_are_cut_where_they_do_not_differ(self, tmp_path: Path) -> None:
        deep = {"layers": {"attention": {"probability_of_dropping_a_head": 0.1}}}
        configs = (
            {"model": {part: {**deep, "n": run} for part in ("encoder", "decoder")}} for run in (1, 2)
        )
        heads, _, _ = self.table(self.runs(tmp_path / "n", configs))
        assert heads[2:4] == ["config.model.decoder.n", "…model.encoder.n"]
        configs = (
            {"model": {part: {"layers": {"attention": {"probability_of_dropping_a_head": run}}} for part in ("encoder", "decoder")}}
            for run in (1, 2)
        )  # fmt: skip
        heads, _, _ = self.table(self.runs(tmp_path, configs))
        assert len(set(heads)) == len(heads) == 5
        assert heads[2].startswith("…decoder")
        assert heads[3].startswith("…encoder")
        assert all(head.endswith("head") for head in heads[2:4])

    def test_seeds_come_after_what_they_repeat_and_times_and_places_last(self, tmp_path: Path) -> None:
        results = self.runs(
            tmp_path,
            (
                {"a_seed": seed, "lr": lr, "a_time": f"2026-01-0{seed} 00:00:00", "a_dir": f"/x/{lr}/{seed}/{'y' * 30}"}
                for lr in (1, 2)
                for seed in (1, 2)
            ),
        )  # fmt: skip
        heads, _, _ = self.table(results)
        assert heads == ["info.log_id", "info.status", "config.a_seed", "config.lr", "...", "train.loss"]
        heads, _, _ = self.table(results, 66)
        assert "config.lr" in heads
        heads, _, _ = self.table(results, 140)
        assert {"config.a_time", "config.a_dir"} < set(heads)

    def test_only_places_differ(self, tmp_path: Path) -> None:
        heads, rows, _ = self.table(self.runs(tmp_path, ({"dir": f"/runs/{name}"} for name in "ab")))
        assert heads[:3] == ["info.log_id", "info.status", "config.dir"]
        assert [row[2] for row in rows] == ["/runs/a", "/runs/b"]

    def test_one_run_and_equal_runs_show_their_config(self, tmp_path: Path) -> None:
        for _ in range(2):
            heads, _, _ = self.table(self.runs(tmp_path, [{"lr": 1, "model": {"name": "mlp"}}]))
            assert heads[:3] == ["info.log_id", "info.status", "config.lr"]
            assert heads[-1] == "train.loss"

    def test_runs_of_two_programs(self, tmp_path: Path) -> None:
        configs = [{"lr": 1, **dict.fromkeys("abcdefg", 1)}, {"lr": 2, **dict.fromkeys("tuvwxyz", 1)}]
        heads, rows, _ = self.table(self.runs(tmp_path, configs))
        shown = [head.strip("…") for head in heads[2:-1]]
        assert {"lr", "a", "b", "t"} < set(shown)
        assert [row[2 + shown.index("lr")] for row in rows] == ["1", "2"]
        assert [row[2 + shown.index("a")] for row in rows] == ["1", ""]

    def test_the_first_metric_is_a_result(self, tmp_path: Path) -> None:
        metrics = ("batch", "epoch", "global_step", "time", "zeta")
        heads, _, _ = self.table(self.runs(tmp_path, [{"lr": 1}, {"lr": 2}], metrics), 60)
        assert heads == ["info.log_id", "info.status", "config.lr", "train.zeta"]
        heads, _, _ = self.table(self.runs(tmp_path / "counters", [{"lr": 1}], ["epoch"]))
        assert heads[-1] == "train.epoch"
        heads, _, _ = self.table(self.runs(tmp_path / "none", [{"lr": 1}], []))
        assert heads[:3] == ["info.log_id", "info.status", "config.lr"]

    def test_numbers_are_rounded_not_cut(self, tmp_path: Path) -> None:
        values = (0.1 + 0.2, 1.2345678901234567e-05)
        _, rows, _ = self.table(self.runs(tmp_path, ({"x": value} for value in values)))
        assert [row[2] for row in rows] == ["0.3", "1.23456789e-05"]

    def test_many_rows_and_long_values(self, tmp_path: Path) -> None:
        for number in range(70):
            with mlxpy.Logger(parent_log_dir=tmp_path, config={"x": number, "text": "l o n g\n" * 99}):
                pass
        text = repr(Reader(tmp_path).search().select(["config.x", "config.text"]))
        assert len(text.splitlines()) == 60 + 6
        assert text.splitlines()[33].strip("| ") == "..."
        assert max(map(len, text.splitlines())) < 80
        assert " 69 |" in text
        assert " 35 |" not in text

    def test_a_notebooks_table_with_two_hundred_columns(self, tmp_path: Path) -> None:
        for number in range(3):
            config = {
                **{f"same_{index}": "<b>&" for index in range(200)},
                "x": f"<i>{number}",
                "long": "y" * 500,
            }
            with mlxpy.Logger(parent_log_dir=tmp_path, config=config) as logger:
                logger.log_metrics({"loss": 1}, "train")
        page = Reader(tmp_path).search()._repr_html_()
        tables = _Tables()
        tables.feed(page)
        assert tables.open == []
        assert tables.rows[:4] == [tables.rows[0]] * 4
        assert tables.rows[0] < 15  # the columns that are the same are folded away
        assert "config.x" in tables.text
        assert "<i>0" in tables.text
        assert "LAZYLOADING" in tables.text
        assert any("columns are the same in all runs" in text for text in tables.text)
        assert "config.same_199" in tables.text
        assert max(map(len, tables.text)) < 1000

    def test_groups_in_a_notebook(self, results: ConfigList) -> None:
        assert "<table" in results.groupby("config.seed")._repr_html_()


class TestPlot:
    """Lines over runs that differ only in seed."""

    @pytest.fixture(autouse=True)
    def _no_window(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import matplotlib as mpl

        mpl.use("agg")

    def test_mean_and_band_over_seeds(self, results: ConfigList) -> None:
        ax = results.plot("train.epoch", "train.loss", hue="config.model.num_units")
        assert len(ax.lines) == 6  # 3 models x 2 learning rates
        assert len(ax.collections) == 6
        legend = ax.get_legend()
        assert legend is not None
        assert [text.get_text() for text in legend.get_texts()] == ["2", "3", "4"]
        assert ax.get_xlabel() == "train.epoch"
        line = ax.lines[0]
        seeds = np.array([results[place]["train.loss"] for place in range(3)])
        assert np.allclose(line.get_ydata(), seeds.mean(axis=0))
        edges = ax.collections[0].get_paths()[0].vertices
        assert np.isclose(edges[:, 1].max(), (seeds.mean(axis=0) + seeds.std(axis=0)).max())

    def test_settings_without_hue_and_a_given_axes(self, results: ConfigList) -> None:
        from matplotlib import pyplot

        figure, ax = pyplot.subplots()
        assert results.plot(None, "test.loss", ax=ax) is ax
        legend = ax.get_legend()
        assert legend is not None
        assert legend.get_texts()[0].get_text() == "model.num_units=2, optimizer.lr=10.0"
        assert list(ax.lines[0].get_xdata()) == [0, 1, 2, 3]
        pyplot.close(figure)

    def test_a_result_over_a_setting(self, results: ConfigList) -> None:
        ax = results.plot("config.model.num_units", "test.loss", hue="config.optimizer.lr")
        assert [list(line.get_xdata()) for line in ax.lines] == [[2, 3, 4]] * 2

    def test_rows_that_lack_a_value_and_runs_of_other_lengths(self, tmp_path: Path) -> None:
        for seed, count in ((1, 4), (2, 2)):
            with mlxpy.Logger(parent_log_dir=tmp_path, config={"seed": seed}) as logger:
                for step in range(count):
                    logger.log_metrics(
                        {"step": step, "loss": step * seed} if step != 1 else {"step": 1}, "log"
                    )
        ax = Reader(tmp_path).search().plot("log.step", "log.loss")
        assert list(ax.lines[0].get_xdata()) == [0, 2, 3]
        assert list(ax.lines[0].get_ydata()) == [0, 2, 3]

    def test_what_has_no_numbers(self, results: ConfigList) -> None:
        with pytest.raises(MlxpyError, match=r"column 'info\.user' holds values that are no numbers"):
            results.plot("config.seed", "info.user")
        with pytest.raises(MlxpyError, match=r"column 'config\.seed' has no rows to plot over: give x"):
            results.plot(None, "config.seed")
