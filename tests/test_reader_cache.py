"""The cache of the reader: whatever it says, what is found is what is there, and nothing else is read again."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from conftest import BECOME_NOBODY, Project, file_size_limit
from reader_runs import cache_files, found, make_run

import mlxpy
from mlxpy_core import MlxpyError, Reader
from mlxpy_core._reading._tables._cache_place import cache_place
from mlxpy_core._reading._tables._warnings import UnreadableRunWarning

pytestmark = pytest.mark.usefixtures("ended_long_ago")


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Three runs as in the tutorial."""
    for lr in (1e-3, 1e-2, 1e-1):
        make_run(tmp_path / "logs", {"optimizer": {"lr": lr}, "seed": None}, [lr * 3, lr])
    return tmp_path / "logs"


_opened: list[str] | None = None


def _note_open(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _opened is not None:
        _opened.append(str(arguments[0]))


sys.addaudithook(_note_open)


@contextmanager
def files_opened(logs: Path) -> Iterator[set[str]]:
    """Gathers the runs of which files are opened."""
    global _opened
    _opened = []
    runs: set[str] = set()
    try:
        yield runs
    finally:
        names = [
            Path(path).relative_to(logs).parts[0] for path in _opened if path.startswith(f"{logs}/")
        ]
        runs.update(name for name in names if name.isdigit())
        _opened = None


class TestRefresh:
    """What has changed is read, and nothing else."""

    def test_runs_that_have_ended_are_not_opened_again(self, logs: Path) -> None:
        Reader(logs).search(asPandas=True)
        make_run(logs, {"optimizer": {"lr": 1.0}}, [4.0])
        with files_opened(logs) as opened:
            reader = Reader(logs)
            assert found(reader, "config.optimizer.lr >= 0.1") == [3, 4]
            assert [list(loss) for loss in reader.search()["train.loss"]][-1] == [4.0]
        assert opened == {"4"}
        with files_opened(logs) as opened:
            assert Reader(logs).search(asPandas=True)["train.loss"][3] == [4.0]
        assert opened == set()

    def test_a_run_that_is_continued(self, logs: Path) -> None:
        Reader(logs).search(asPandas=True)
        make_run(logs, {"optimizer": {"lr": 7}}, [5.0], forced_log_id=2)
        results = Reader(logs).search("config.optimizer.lr == 7")
        assert results["info.log_id"] == [2]
        assert results["train.loss"][0].tolist() == [0.03, 0.01, 5.0]

    def test_metadata_that_somebody_else_wrote(self, logs: Path) -> None:
        Reader(logs)
        info = logs / "2" / "metadata" / "info.yaml"
        info.write_text(info.read_text().replace("COMPLETE", "KILLED", 1))
        assert found(Reader(logs), "info.status == 'KILLED'") == [2]

    def test_a_config_that_was_edited_with_its_info(self, logs: Path) -> None:
        Reader(logs)
        config = logs / "2" / "metadata" / "config.yaml"
        config.write_text("optimizer: {lr: 17}\n")
        os.utime(logs / "2" / "metadata" / "info.yaml")
        assert found(Reader(logs), "config.optimizer.lr == 17") == [2]

    def test_directories_deleted_and_copied_in(self, logs: Path, tmp_path: Path) -> None:
        Reader(logs).search(asPandas=True)
        shutil.rmtree(logs / "1")
        shutil.copytree(logs / "2", logs / "12")
        shutil.copytree(logs / "3", logs / "7", copy_function=shutil.copy)  # new times
        reader = Reader(logs)
        assert found(reader) == [2, 3, 7, 12]
        results = reader.search("config.optimizer.lr == 0.01")
        assert results["info.log_id"] == [2, 12]
        assert results["info.log_dir"] == [str(logs / "2"), str(logs / "12")]
        assert [loss.tolist() for loss in results["train.loss"]] == [[0.03, 0.01]] * 2

    def test_another_run_under_the_same_number(self, logs: Path) -> None:
        Reader(logs).search(asPandas=True)
        shutil.rmtree(logs / "1")
        (logs / "3").rename(logs / "1")
        results = Reader(logs).search("config.optimizer.lr == 0.1")
        assert results["info.log_id"] == [1]
        assert results["train.loss"][0].tolist() == pytest.approx([0.3, 0.1])

    def test_runs_moved_away_while_they_are_read_leave_nothing_behind(self, logs: Path) -> None:
        place = cache_place(logs, None)
        logs.rename(logs.with_name("moved"))
        assert place.below("runs").writable is None
        assert not logs.exists()

    def test_trust_in_the_cache(self, logs: Path) -> None:
        Reader(logs)
        info = logs / "2" / "metadata" / "info.yaml"
        info.write_text(info.read_text().replace("COMPLETE", "KILLED", 1))
        make_run(logs, {})
        shutil.rmtree(logs / "1")
        trusting = Reader(logs, refresh=False)
        assert found(trusting) == [2, 3, 4]
        assert found(trusting, "info.status == 'KILLED'") == []

    def test_files_of_the_cache_do_not_pile_up(self, tmp_path: Path) -> None:
        for number in range(1, 40):
            make_run(tmp_path, {"x": number}, [number])
            assert Reader(tmp_path).search()["train.loss"][-1].tolist() == [number]
        reader = Reader(tmp_path)
        assert found(reader) == reader.search()["config.x"] == list(range(1, 40))
        assert len(cache_files(tmp_path)) < 30
        for number in range(1, 38):
            shutil.rmtree(tmp_path / str(number))
        Reader(tmp_path)
        Reader(tmp_path)
        with_runs = [path for path in cache_files(tmp_path) if path.parent.name == "runs"]
        assert sum(pa.ipc.open_file(path).read_all().num_rows for path in with_runs) < 10


class TestRunningRuns:
    """Runs that go on are shown as far as they are."""

    def test_rows_so_far_and_new_columns(self, tmp_path: Path) -> None:
        with mlxpy.Logger(parent_log_dir=tmp_path) as logger:
            logger.log_metrics({"loss": 1.0}, "train")
            reader = Reader(tmp_path)
            results = reader.search("info.status == 'RUNNING'")
            assert results[0]["train.loss"] == [1.0]
            logger.log_metrics({"loss": 0.5}, "train")
            assert results[0]["train.loss"] == [1.0, 0.5]
            assert results["train.loss"][0].tolist() == [1.0, 0.5]
            logger.log_metrics({"accuracy": 3}, "test")
            logger.log_artifact("x", "a", "text")
            reader.refresh()
            row = reader.search()[0]
            assert row["test.accuracy"] == [3]
            assert row["artifact.text"]["a.txt"].load() == "x"
        assert Reader(tmp_path).search("info.status == 'COMPLETE'")["train.loss"][0].tolist() == [
            1.0,
            0.5,
        ]

    def test_a_torn_last_line_is_no_row_yet(self, logs: Path) -> None:
        with open(logs / "2" / "metrics" / "train.json", "a") as file:
            file.write('{"loss": 9')
        reader = Reader(logs)
        assert reader.search()[1]["train.loss"] == [0.03, 0.01]
        assert reader.search()["train.loss"][1].tolist() == [0.03, 0.01]

    def test_lines_that_are_no_rows_are_named_and_hide_nothing(self, logs: Path) -> None:
        path = logs / "2" / "metrics" / "train.json"
        path.write_text('{"loss": 1}\n\0\0\0\n[2]\n{"loss": 3}\n')
        with pytest.warns(
            UnreadableRunWarning, match=r"2/metrics/train.json, line 2, .*train.json, line 3"
        ):
            assert Reader(logs).search()["train.loss"][1].tolist() == [1, 3]

    def test_while_another_process_logs(self, project: Project) -> None:
        project.write(
            "write.py",
            """
            import mlxpy
            with mlxpy.Logger(parent_log_dir="logs") as logger:
                print("started", flush=True)
                for number in range(20_000):
                    logger.log_metrics({"number": number, "text": "x" * (number % 50)}, "train")
            """,
        )
        lengths = []
        with project.start("write.py") as process:
            assert process.stdout
            process.stdout.readline()
            while process.poll() is None:
                results = Reader(project.path / "logs").search()
                if "train.number" in list(results.keys()):
                    numbers = results["train.number"][0]
                    assert numbers.tolist() == list(range(len(numbers)))
                    lengths.append(len(numbers))
        assert len(set(lengths)) > 2
        assert len(Reader(project.path / "logs").search()["train.text"][0]) == 20_000


class TestDamage:
    """Nothing in the directory can make the reader fail, or tell of what is not."""

    @pytest.mark.parametrize("how", ["cut", "empty", "garbage", "other version"])
    def test_a_damaged_cache_is_rebuilt(self, logs: Path, how: str) -> None:
        expected = Reader(logs).search(asPandas=True)
        for length in (0, 1, 8, 100, 0.3, 0.7, 0.99):
            for path in cache_files(logs):
                content = path.read_bytes()
                if how == "cut":
                    path.write_bytes(
                        content[: int(length * len(content)) if length < 1 else int(length)]
                    )
                elif how == "empty":
                    path.write_bytes(b"")
                elif how == "garbage":
                    path.write_bytes(random.Random(length).randbytes(len(content)))
                else:
                    table = pa.table({"#log_id": [1]}).replace_schema_metadata({"mlxpy": "0"})
                    with pa.ipc.new_file(path, table.schema) as writer:
                        writer.write_table(table)
            assert Reader(logs).search(asPandas=True).equals(expected)

    def test_an_open_reader_outlives_its_cache(self, project: Project) -> None:
        """A file that is mapped into memory and cut by somebody kills who looks at it (SIGBUS)."""
        for number in range(3):
            make_run(project.path / "logs", {"lr": number}, [float(number)] * 2000)
        project.write(
            "read.py",
            """
            import mlxpy, os, pathlib
            mlxpy.Reader("logs").search()["train.loss"]
            reader = mlxpy.Reader("logs")
            for path in pathlib.Path("logs/.mlxpy").rglob("*.arrow"):
                os.truncate(path, 0)
            results = reader.search("config.lr >= 1")
            print(results["config.lr"], [set(losses.tolist()) for losses in results["train.loss"]])
            """,
        )
        assert project.run("read.py").stdout == "[1, 2] [{1.0}, {2.0}]\n"

    def test_runs_that_cannot_be_read_are_named_once_and_hide_no_others(self, logs: Path) -> None:
        for number in range(4, 8):
            shutil.copytree(logs / "3", logs / str(number))
            shutil.rmtree(logs / str(number) / ".keys")
        (logs / "4/metadata/info.yaml").write_text("a: [1\n  b")
        (logs / "5/metadata/config.yaml").write_bytes(b"a: \xff\n")
        (logs / "6/metadata/info.yaml").unlink()
        os.utime(logs / "6/metadata", (0, 0))  # it is not that the run is being made
        (logs / "7/metadata/info.yaml").write_text("- 1\n")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            reader = Reader(logs)
        assert found(reader) == [1, 2, 3]
        (warning,) = caught
        message = str(warning.message)
        assert f"4 of the runs in {logs} cannot be read and are left out: " in message
        for reason in (
            "4 (info.yaml is no YAML in line",
            "5 (config.yaml is no YAML",
            "6 (info.yaml is",
            "7 (info",
        ):
            assert reason in message

    def test_a_run_that_is_being_made_is_no_reason_to_warn(self, logs: Path) -> None:
        (logs / "4").mkdir()
        (logs / "5").write_text("a file")
        (logs / "6" / "metadata").mkdir(parents=True)
        (logs / "6" / "metadata" / "config.yaml").write_text("lr: 1\n")  # info.yaml comes last
        for name in ("0", "01", "-1", "\u0661", "1" * 30, "notes"):
            (logs / name / "metadata").mkdir(parents=True)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert found(Reader(logs)) == [1, 2, 3]

    def test_a_summary_that_is_older_than_the_metadata_does_not_count(self, logs: Path) -> None:
        info = logs / "1" / "metadata" / "info.yaml"
        info.write_text(info.read_text().replace("COMPLETE", "FAILED", 1))
        for content in ("", "{", "[]", '{"version": 1}', None):
            if content is not None:
                (logs / "1/.keys/summary.json").write_text(content)
            shutil.rmtree(logs / ".mlxpy")
            assert found(Reader(logs), "info.status == 'FAILED'") == [1]

    def test_lost_lists_of_keys(self, logs: Path) -> None:
        for run in logs.glob("[0-9]*"):
            shutil.rmtree(run / ".keys")
        assert Reader(logs).search()["train.loss"][0].tolist() == [0.003, 0.001]

    def test_a_disk_without_room_for_the_cache(self, logs: Path) -> None:
        with file_size_limit(500):
            for _ in range(2):
                results = Reader(logs).search(asPandas=True)
                assert results["train.loss"][1] == [0.03, 0.01]
        assert cache_files(logs) == []
        assert list((logs / ".mlxpy").rglob(".mlxpy-tmp-*")) == []

    def test_a_kill_while_the_cache_is_built(
        self, project: Project, times: Callable[[int, int], int]
    ) -> None:
        for number in range(20):
            make_run(project.path / "logs", {"x": number}, [float(number)])
        project.write(
            "read.py",
            """
            import mlxpy
            print("ready", flush=True)
            while True:
                import shutil
                mlxpy.Reader("logs").search(asPandas=True)
                shutil.rmtree("logs/.mlxpy")
            """,
        )
        rng = random.Random(0)
        for _ in range(times(2, 8)):
            with project.start("read.py") as process:
                assert process.stdout
                process.stdout.readline()
                time.sleep(rng.uniform(0.1, 0.5))  # the moment is what varies
                process.send_signal(signal.SIGKILL)
            results = Reader(project.path / "logs").search()
            assert results["config.x"] == list(range(20))
            assert [loss.tolist() for loss in results["train.loss"]] == [[float(x)] for x in range(20)]


def test_many_readers_at_once(project: Project) -> None:
    for number in range(20):
        make_run(project.path / "logs", {"x": number}, [float(number)])
    project.write(
        "read.py",
        """
        import json, sys, mlxpy
        print("ready", flush=True)
        for _ in sys.stdin:
            results = mlxpy.Reader("logs").search("config.x >= 10")
            losses = [loss.tolist() for loss in results["train.loss"]]
            print(json.dumps([results["info.log_id"], losses]), flush=True)
        """,
    )
    with contextlib.ExitStack() as all_of_them:
        readers = [
            all_of_them.enter_context(project.start("read.py", stdin=subprocess.PIPE)) for _ in range(3)
        ]
        assert [reader.stdout.readline() for reader in readers] == ["ready\n"] * 3
        for _ in range(2):  # without a cache, and with what the first left
            for reader in readers:
                reader.stdin.write("\n")
                reader.stdin.flush()
            answers = [json.loads(reader.stdout.readline()) for reader in readers]
            assert answers == [[list(range(11, 21)), [[float(x)] for x in range(10, 20)]]] * 3
        for reader in readers:
            reader.stdin.close()


class TestPlaces:
    """Where the cache lies."""

    def test_another_directory(self, logs: Path, tmp_path: Path) -> None:
        reader = Reader(logs, dst_dir=tmp_path / "cache")
        reader.search(asPandas=True)
        assert cache_files(logs) == []
        assert list((tmp_path / "cache").rglob("*.arrow"))
        with files_opened(logs) as opened:
            assert found(Reader(logs, dst_dir=tmp_path / "cache")) == [1, 2, 3]
        assert opened == set()

    def test_one_directory_for_the_caches_of_two(self, logs: Path, tmp_path: Path) -> None:
        make_run(tmp_path / "others", {"x": 1})
        for _ in range(2):
            assert found(Reader(logs, dst_dir=tmp_path / "cache")) == [1, 2, 3]
            assert found(Reader(tmp_path / "others", dst_dir=tmp_path / "cache")) == [1]

    def test_a_directory_that_cannot_be_made(self, logs: Path, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(
            MlxpyError, match=r"dst_dir='.*file' cannot be written: choose another directory"
        ):
            Reader(logs, dst_dir=tmp_path / "file")

    @pytest.mark.parametrize("cache", ["cache", "nowhere"])
    def test_runs_of_another_user(self, project: Project, cache: str) -> None:
        for lr in (0.1, 0.2):
            make_run(project.path / "logs", {"lr": lr}, [lr])
        project.open_to_all()
        if cache == "cache":
            (project.path / "cache").mkdir()
            (project.path / "cache").chmod(0o777)
        project.write(
            "read.py",
            BECOME_NOBODY
            + """
for _ in range(2):
    results = mlxpy.Reader("logs").search("config.lr > 0.1")
    print(results["info.log_id"], results["train.loss"][0].tolist(), flush=True)
""",
        )
        process = project.run("read.py", env={"XDG_CACHE_HOME": str(project.path / cache)})
        assert process.stdout == "[2] [0.2]\n" * 2
        assert cache_files(project.path / "logs") == []
        assert bool(list((project.path / cache).rglob("*.arrow"))) is (cache == "cache")
