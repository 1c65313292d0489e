"""The reader: every run is there, as it is now."""

import contextlib
import os
import pty
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from commands import printed
from conftest import Project
from hypothesis import given, settings
from hypothesis import strategies as st
from reader_runs import cache_files, found, make_run

import mlxpy
import mlxpy_core
from mlxpy_core import MlxpyError, QueryError, Reader, RunDirectory, dump_yaml
from mlxpy_core._io import _progress
from mlxpy_core._io._files import stamp_of
from mlxpy_core._reading._tables._columns import TypedColumns, encode_rows
from mlxpy_core._reading._tables._run_record import RunRecord, read_run
from mlxpy_core._runs._info_file import info_path
from mlxpy_core._runs._summary import read_summary, write_summary

pytestmark = pytest.mark.usefixtures("ended_long_ago")

MLXP_RUNS = Path(__file__).parent / "data" / "mlxp-1.0.5"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Three runs as in the tutorial."""
    for lr in (1e-3, 1e-2, 1e-1):
        make_run(tmp_path / "logs", {"optimizer": {"lr": lr}, "seed": None}, [lr * 3, lr])
    return tmp_path / "logs"


QUERY = "config.optimizer.lr <= 1e-2 & info.status == 'COMPLETE'"


class TestSearch:
    """The tutorial's section 3."""

    @pytest.mark.smoke
    def test_a_data_frame_with_metrics_as_lists(self, logs: Path) -> None:
        results = Reader(logs).search(query_string=QUERY, asPandas=True)
        assert list(results["info.log_id"]) == [1, 2]
        assert list(results["config.optimizer.lr"]) == [1e-3, 1e-2]
        assert results["train.loss"][1] == [0.03, 0.01]
        assert results["train.epoch"][0] == [0, 1]
        assert list(results.columns)[:3] == ["info.log_id", "info.status", "config.optimizer.lr"]
        assert list(results.columns)[-1] == "train.loss"

    @pytest.mark.smoke
    def test_a_lazy_table(self, logs: Path) -> None:
        results = Reader(logs).search(query_string=QUERY)
        assert isinstance(results, mlxpy.ConfigList)
        assert "LAZYLOADING" in repr(results)
        assert results[0]["train.loss"] == [0.003, 0.001]
        assert results[:]["train.loss"][1].tolist() == [0.03, 0.01]

    def test_mlxps_name_for_it(self, logs: Path) -> None:
        reader = Reader(logs)
        assert len(reader.filter(query_string=QUERY)) == 2
        assert reader.filter(QUERY, result_format="pandas")["train.loss"][0] == [0.003, 0.001]
        with pytest.raises(MlxpyError, match="give 'datadict' or 'pandas'"):
            reader.filter(result_format="polars")

    def test_what_there_is_to_ask_for(self, logs: Path) -> None:
        make_run(logs, {"optimizer": {"lr": "auto"}})
        reader = Reader(logs)
        assert len(reader) == 4
        assert reader.fields["Type"]["config.optimizer.lr"] == "float | str"
        assert reader.fields["Type"]["train.loss"] == "LAZYLOADING"
        assert reader.searchable["Type"]["info.log_id"] == "int"
        assert "train.loss" not in reader.searchable.index

    def test_every_type_of_value_and_odd_keys(self, tmp_path: Path) -> None:
        for value in (1, "a", None, True, 2.5, [1, [2, "x"]], {}, 2**70):
            make_run(tmp_path, {"x": value, "my key": {"größe.x": 1}, 7: {True: 2}})
        make_run(tmp_path, {})
        reader = Reader(tmp_path)
        assert found(reader, "config.x > 1") == [5, 8]
        assert found(reader, "config.x != 1") == [2, 3, 4, 5, 6, 7, 8]
        assert found(reader, "config.x in ['a', None, True]") == [2, 3, 4]
        assert found(reader, "config.x == [1, [2, 'x']]") == [6]
        assert found(reader, "`config.my key.größe.x` == 1 & config.7.true == 2") == list(range(1, 9))
        assert reader.search("config.x == 1")[0]["config.x"] == 1
        assert found(reader, "~ config.x == 1")[-1] == 9

    def test_a_misspelt_field(self, logs: Path) -> None:
        with pytest.raises(
            QueryError, match=r"no run has a field config.lr: did you mean config.optimizer.lr\?"
        ):
            Reader(logs).search("config.lr == 1")

    def test_an_empty_directory_answers(self, tmp_path: Path) -> None:
        reader = Reader(tmp_path)
        assert len(reader) == 0
        assert len(reader.search("info.status == 'COMPLETE'")) == 0
        assert len(reader.search(asPandas=True)) == 0
        assert reader.fields.empty

    def test_no_directory(self, tmp_path: Path) -> None:
        with pytest.raises(MlxpyError, match=r"no directory '.*/nowhere': give the parent_log_dir"):
            Reader(tmp_path / "nowhere")
        assert not (tmp_path / "nowhere").exists()

    def test_it_shows_runs_as_they_were_until_it_is_refreshed(self, logs: Path) -> None:
        reader = Reader(logs)
        make_run(logs, {})
        assert found(reader) == [1, 2, 3]
        reader.refresh()
        assert found(reader) == [1, 2, 3, 4]


class TestParsers:
    """Query languages of the user's own."""

    def test_a_function_of_each_run(self, logs: Path) -> None:
        class Parser(mlxpy_core.Parser):
            def parse(self, query: str) -> Any:
                field, value = query.split(" is ")
                return lambda run: run.get(field) == float(value)

        reader = Reader(src_dir=logs, parser=Parser())
        assert found(reader, "config.optimizer.lr is 1e-2") == [2]
        assert found(reader, "config.nothing is 1") == []
        assert found(reader) == [1, 2, 3]

    def test_another_text_for_the_same_language(self, logs: Path) -> None:
        class Parser(mlxpy_core.DefaultParser):
            def parse(self, query: str) -> Any:
                return super().parse(query.replace("lr", "config.optimizer.lr"))

        assert found(Reader(logs, parser=Parser()), "lr > 1e-3") == [2, 3]
        with pytest.raises(QueryError):
            Reader(logs, parser=Parser()).search("lr >")


class TestNestedMetrics:
    """Lists and nested dicts that were logged."""

    def test_dicts_are_columns_with_dots(self, tmp_path: Path) -> None:
        with mlxpy.Logger(tmp_path) as logger:
            logger.log_metrics({"val": {"acc": 0.5, "by": {0: [1, 2]}}, "loss": 1}, "train")
            logger.log_metrics({"val": {"acc": 0.75}, "loss": 2, "none": {}}, "train")
        for refresh in (True, False):
            results = Reader(tmp_path, refresh=refresh).search()
            columns = sorted(field for field in results[0] if field.startswith("train."))
            assert columns == ["train.loss", "train.none", "train.val.acc", "train.val.by.0"]
            assert results[0]["train.val.acc"] == [0.5, 0.75]
            assert results["train.val.acc"][0].tolist() == [0.5, 0.75]
            assert results[0]["train.val.by.0"] == [[1, 2]]
            assert results.last("train.val.acc") == [0.75]
            assert results.toArrow()["train.val.acc"].to_pylist() == [[0.5, 0.75]]
            assert results.toArrow()["train.val.by.0"].to_pylist() == [[[1, 2]]]
            assert results[0]['train."val"."acc"'] == [0.5, 0.75]
        log = results[0].log("train")
        assert log.keys() == ["val.acc", "val.by.0", "loss", "none"]
        assert log["val.acc"] == [0.5, 0.75]
        assert log["val.by.0"] == [[1, 2], None]

    def test_what_clashes_is_told_apart(self, tmp_path: Path) -> None:
        with mlxpy.Logger(tmp_path) as logger:
            logger.log_metrics({"val": {"acc": 1}, "val.acc": 2}, "train")
            logger.log_metrics({"acc": 3}, "train.val")
        row = Reader(tmp_path).search()[0]
        names = ['train."val"."acc"', 'train."val.acc"', "train.val.acc"]
        assert [row[name] for name in names] == [[1], [2], [3]]

    def test_while_the_run_goes_on(self, tmp_path: Path) -> None:
        with mlxpy.Logger(tmp_path) as logger:
            logger.log_metrics({"val": {"acc": 1}}, "train")
            results = Reader(tmp_path).search()
            assert results[0]["train.val.acc"] == results.last("train.val.acc") * 1 == [1]


class TestMlxp:
    """Runs that MLXP 1.0.5 wrote."""

    @pytest.fixture
    def mlxp_logs(self, tmp_path: Path) -> Path:
        shutil.copytree(MLXP_RUNS, tmp_path / "logs")
        return tmp_path / "logs"

    def test_they_are_read_as_ours(self, mlxp_logs: Path) -> None:
        reader = Reader(mlxp_logs)
        assert found(reader, "info.status == 'COMPLETE' & config.optimizer.lr <= 1e1") == [1, 2]
        assert found(reader, "info.logger.log_id == 3 & info.status == 'FAILED'") == [3]
        row = reader.search()[0]
        assert row["train.loss"] == [10.0, 5.0, 10 / 3]
        assert row["test.loss"] == [20.0, 10.0, 20 / 3]
        assert row["artifact.pickle"]["last_ckpt"].load() == {"epoch": 2}
        assert row["artifact.pickle.models"]["best"].load() == [1, 2]
        assert row["info.start_time"] == "12:46:07"
        assert row["config.since"] == "2024-01-31"
        assert reader.search(asPandas=True)["train.epoch"][2] == [0, 1, 2]

    def test_columns_by_the_names_of_mlxp(self, mlxp_logs: Path) -> None:
        with mlxpy.Logger(mlxp_logs) as logger:
            logger.log_artifact(1, "a/b", "pickle")
            logger.log_checkpoint(2, "last")
        reader = Reader(mlxp_logs)
        results = reader.search("info.logger.log_id >= 3")
        assert results["info.logger.log_id"] == [3, 4]
        assert results["info.logger.log_dir"] == [str(mlxp_logs / "3"), logger.log_dir]
        assert results[0]["artifact.pickle."]["last_ckpt"].load() == {"epoch": 2}
        assert results[0]["artifact.pickle..models"]["best"].load() == [1, 2]
        assert results[1]["artifact.pickle..a"]["b"].load() == 1
        assert results[1]["artifact.pickle."]["last"].load() == 2  # a checkpoint, which MLXP pickles
        with pytest.raises(KeyError):
            results[1]["artifact.pickle."]["first"]

    def test_beside_ours(self, mlxp_logs: Path) -> None:
        make_run(mlxp_logs, {"optimizer": {"lr": 10.0}}, [1.0])
        results = Reader(mlxp_logs).search("config.optimizer.lr == 10")
        assert results["info.log_id"] == [1, 4]
        assert [len(loss) for loss in results["train.loss"]] == [3, 1]


plain = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False),
        st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8),
        st.sampled_from(["1e-3", "12:30:00", "2024-01-31", "null", "yes", "0x1F", "1_000", "~", ".inf"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.text("ab.é", max_size=3), st.integers(0, 3), st.booleans()), inner, max_size=3),
    ),
    max_leaves=8,
)  # fmt: skip


def as_stored(record: RunRecord) -> str:
    columns = TypedColumns(encode_rows([record.fields]))
    return repr(
        (record.ended, record.lazy, [(field, columns.values(field, [0])) for field in record.fields])
    )


@settings(max_examples=50)
@given(config=st.dictionaries(st.text("abc", min_size=1, max_size=3), plain, max_size=4))
def test_the_summary_says_what_the_yaml_says(tmp_path_factory: Any, config: dict[str, Any]) -> None:
    directory = RunDirectory(tmp_path_factory.mktemp("logs") / "1")
    directory.metadata.mkdir(parents=True)
    directory.config.write_text(dump_yaml(config))
    info = {"log_id": 1, "status": "COMPLETE", "more": config}
    info_path(directory.path).write_text(dump_yaml(info))
    stamp = stamp_of(info_path(directory.path))
    from_yaml = as_stored(read_run(str(directory.path), stamp))
    write_summary(directory, config, info, ended=True)
    assert read_summary(str(directory.path), stamp)
    assert as_stored(read_run(str(directory.path), stamp)) == from_yaml


class TestNotUnicode:
    """Bytes that are not UTF-8 in paths and values, as Python has them: with surrogate escapes."""

    @pytest.fixture
    def logs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        work_dir = tmp_path / os.fsdecode(b"caf\xe9")
        work_dir.mkdir()
        monkeypatch.chdir(work_dir)
        for byte in (b"\xfe", b"\xff"):
            text = os.fsdecode(byte)
            make_run(work_dir / "logs", {"path": text, "in": [text], f"key{text}": 1}, [0.5])
        return work_dir / "logs"

    @pytest.mark.parametrize("source", ["summary", "YAML"])
    def test_runs_and_values_are_read_and_told_apart(
        self, logs: Path, source: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if source == "YAML":
            for summary in logs.glob("*/.keys/summary.json"):
                summary.unlink()
        for _ in ("first opening", "from the cache"):
            reader = Reader(logs)
            results = reader.search()
            assert results["info.work_dir"] == [str(logs.parent)] * 2
            assert results["config.path"] == ["\udcfe", "\udcff"]
            assert results["config.in"] == [["\udcfe"], ["\udcff"]]
            assert results['config."key\\udcfe"'] == results["config.key\udcfe"] == [1, None]
            assert found(reader, "config.path == '\udcff'") == [2]
            assert reader.fields["Type"]["config.path"] == "str"
            frame = results.toPandas(lazy=False)
            assert list(frame["config.path"]) == ["\udcfe", "\udcff"]
            assert list(frame["train.loss"]) == [[0.5], [0.5]]
            assert results.toArrow()["config.path"].to_pylist() == ["\\udcfe", "\\udcff"]
            assert len(results.groupby("config.path").toPandas()) == 2
            monkeypatch.setenv("COLUMNS", "200")
            assert {r"\udcfe", r"\udcff"} < set(repr(results).encode().decode().split())
            assert len(cache_files(logs)) == 3

    def test_commands_print_and_write_them(self, logs: Path) -> None:
        commands = ["ls --json", "show 1", "show 1 --json", "diff 1 2", "status", "export -o -",
                    "export -o x.csv", "export -o x.json", "export -o x.jsonl", "export --metrics -o x.parquet",
                    "export -o x.arrow"]  # fmt: skip
        assert Project(logs.parent).mlxpy("ls")[1] == ""
        for command in commands:
            output, errors = printed(logs, *command.split(), exit_code=int(command == "diff 1 2"))
            assert errors == "", command
            assert output.isascii()


def test_a_progress_bar_on_a_terminal_only(project: Project) -> None:
    project.write(
        "bar.py",
        """
        import sys
        from mlxpy_core._io import _progress
        _progress._PATIENCE_S = float(sys.argv[1])
        print(sum(_progress.with_progress(range(1000), "reading runs")))
        """,
    )

    def run_on_terminal(patience: str) -> str:
        ours, theirs = pty.openpty()
        with project.start("bar.py", patience, stdout=subprocess.PIPE, stderr=theirs) as process:
            os.close(theirs)
            shown = b""
            with contextlib.suppress(OSError):  # the other end was closed
                while True:
                    shown += os.read(ours, 4096)
            stdout, _ = process.communicate()
        os.close(ours)
        assert stdout == "499500\n"
        return shown.decode()

    assert "reading runs" in run_on_terminal("0")
    assert run_on_terminal("60") == ""
    assert project.run("bar.py", "0").stderr == ""
    assert _progress._PATIENCE_S == 1
