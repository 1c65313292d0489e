"""The command ``mlxpy``, on real runs."""

import csv
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pexpect
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result
from commands import run
from conftest import MLXPY, Project

import mlxpy
from mlxpy_core import RunDirectory, dump_yaml, load_yaml
from mlxpy_core._cli import main
from mlxpy_core._cli._main import _COMMANDS
from mlxpy_core._io._files import write_whole
from mlxpy_core._io._text import duration_text
from mlxpy_core._runs._info_file import info_path

MLXP_RUNS = Path(__file__).parent / "data" / "mlxp-1.0.5"
OF_TERMINALS = ("NO_COLOR", "COLUMNS", "DISPLAY", "WAYLAND_DISPLAY", "PYTHONWARNINGS")
LONG = "a long value " * 9 + "ends"


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs, the last of which fails; only tests that make their own runs change them."""
    logs = tmp_path_factory.mktemp("project") / "logs"
    for number, lr in enumerate((0.1, 0.01, 0.001)):
        config = {
            "optimizer": {"lr": lr, "name": "adam"},
            "note": LONG if number else "short",
            "empty": {},
            "bad": math.nan,
        }
        try:
            with mlxpy.Logger(parent_log_dir=logs, config=config) as logger:
                for epoch in range(3):
                    logger.log_metrics({"loss": (epoch - 5) * lr, "epoch": epoch}, "train")
                logger.log_artifact({"a": 1}, "best", "json")
                if number == 2:
                    raise ValueError("the loss is\nno number")
        except ValueError:
            pass
    return logs


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OF_TERMINALS:
        monkeypatch.delenv(name, raising=False)


def run_process(
    directory: Path, *arguments: str, exit_code: int = 0, **environment: str
) -> tuple[str, str]:
    """Runs a command in a process of its own: standard output and error."""
    return Project(directory).mlxpy(*arguments, exit_code=exit_code, env=environment)


def as_json(result: Result) -> Any:
    return json.loads(result.stdout)


def in_terminal(directory: Path, command: str, columns: int = 80, **environment: str) -> str:
    output, code = pexpect.run(
        f"{MLXPY} {command}",
        cwd=str(directory),
        env={**os.environ, "TERM": "xterm", **environment},
        withexitstatus=True,
        dimensions=(24, columns),
    )
    assert code == 0, output
    return str(output.decode())


@contextmanager
def running(logs: Path) -> Iterator[RunDirectory]:
    """Gives a run that goes on."""
    with mlxpy.Logger(parent_log_dir=logs) as logger:
        yield RunDirectory(Path(logger.log_dir))


class TestLs:
    @pytest.mark.smoke
    def test_a_pipe_gets_plain_columns_whole(self, logs: Path) -> None:
        output, errors = run_process(logs.parent, "ls")
        head, *rows = [re.split(r"\s{2,}", line.strip()) for line in output.splitlines()]
        settings = ["config.note", "config.optimizer.lr"]
        assert head == ["id", "status", "start", "duration", *settings, "train.loss"]
        assert [row[:2] for row in rows] == [["1", "COMPLETE"], ["2", "COMPLETE"], ["3", "FAILED"]]
        assert [row[4:6] for row in rows] == [["short", "0.1"], [LONG, "0.01"], [LONG, "0.001"]]
        assert [float(row[6]) for row in rows] == pytest.approx([-0.3, -0.03, -0.003])
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", rows[0][2])
        assert re.fullmatch(r"\d+\.\ds", rows[0][3])
        assert output.isascii()
        assert "\x1b" not in output
        assert errors == ""

    def test_a_terminal_gets_colours_and_no_line_beyond_its_width(self, logs: Path) -> None:
        output = in_terminal(logs.parent, "ls", 100)
        assert "\x1b[32mCOMPLETE" in output
        assert "\x1b[31mFAILED" in output
        lines = re.sub(r"\x1b\[\d*m", "", output).splitlines()
        assert max(map(len, lines)) <= 100
        assert "…" in lines[2]
        head, *_, last = in_terminal(logs.parent, "ls", 80).splitlines()
        assert head.split() == ["id", "status", "config.note", "config.optimizer.lr", "train.loss"]
        assert last == "2 columns are not shown: start, duration"
        head, *_, last = in_terminal(logs.parent, "ls", 40).splitlines()
        assert head.split() == ["id", "status", "config.note", "train.loss"]
        assert last == "3 columns are not shown: config.optimiz…"

    def test_columns_that_were_chosen_are_narrowed_not_dropped(self, logs: Path) -> None:
        output = in_terminal(logs.parent, "ls -c config.note -c config.optimizer.lr -c train.loss", 60)
        assert "config.optimizer.lr" in output
        assert "-0.3" in output.splitlines()[1].split()  # rounded
        assert max(map(len, output.splitlines())) <= 60

    def test_no_color_is_respected(self, logs: Path) -> None:
        assert "\x1b[3" not in in_terminal(logs.parent, "ls", NO_COLOR="1")

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            ("1,3", [1, 3]),
            ("2-9", [2, 3]),
            ("config.optimizer.lr < 0.05 & info.status == 'COMPLETE'", [2]),
            ("--last 2", [2, 3]),
            ("--sort train.loss", [1, 2, 3]),
            ("--sort config.optimizer.lr", [3, 2, 1]),
            ("--last 2 --sort config.optimizer.lr", [3, 2]),
        ],
    )
    def test_which_runs_in_which_order(self, logs: Path, arguments: str, expected: list[int]) -> None:
        parts = arguments.split() if arguments.startswith("--") else [arguments]
        assert [row["info.log_id"] for row in as_json(run(logs, "ls", "--json", *parts))] == expected

    def test_columns_of_config_info_metrics_and_artifacts(self, logs: Path) -> None:
        chosen = ("config.optimizer.lr", "info.hostname", "train.loss", "artifact.json", "duration")
        options = [word for field in chosen for word in ("-c", field)]
        first = as_json(run(logs, "ls", "1", "--json", *options))[0]
        host = load_yaml((logs / "1/metadata/info.yaml").read_text())["hostname"]
        duration = first.pop("duration")
        assert list(first.values()) == [1, 0.1, host, -3 * 0.1, ["best.json"]]
        assert 0 <= duration < 60
        assert run(logs, "ls", "1", "-c", "train.loss").stdout.split()[:2] == ["id", "train.loss"]

    def test_a_column_that_the_newest_run_does_not_have_yet(self, logs: Path, tmp_path: Path) -> None:
        logs = shutil.copytree(logs, tmp_path / "logs")
        directory = RunDirectory(logs / "4")
        directory.metadata.mkdir(parents=True)
        directory.config.write_text("{}\n")
        info_path(directory.path).write_text(dump_yaml({"status": "SUBMITTED", "attempts": []}))
        newest = ("ls", "--last", "1", "-c", "train.loss", "-c", "duration", "--sort")
        assert run(logs, *newest, "train.loss").stdout.split()[3:] == ["4", "-", "-"]
        error = run(logs, *newest, "train.los", exit_code=1).stderr
        assert error.startswith("Error: no column 'train.los': did you mean train.loss")
        error = run(logs, "ls", "-c", "id,train.loss", exit_code=1).stderr
        assert error.endswith("name each by itself, -c id -c train.loss\n")

    def test_json_has_all_fields_of_config_and_info(self, logs: Path) -> None:
        row = as_json(run(logs, "ls", "3", "--json"))[0]
        assert (row["config.optimizer.name"], row["info.exception.type"]) == ("adam", "ValueError")
        assert not any(field.startswith(("train", "artifact")) for field in row)

    def test_control_characters_do_not_reach_the_terminal(self, tmp_path: Path) -> None:
        for text in ("a\nb\x1b[31mc", "日本"):
            with mlxpy.Logger(parent_log_dir=tmp_path, config={"text": text}):
                pass
        assert r"a b\x1b[31mc" in run(tmp_path, "ls").output
        assert "日本" in run(tmp_path, "ls").output

    def test_runs_without_times_and_runs_of_mlxp(self, tmp_path: Path) -> None:
        (tmp_path / "1/metadata").mkdir(parents=True)
        (tmp_path / "1/metadata/info.yaml").write_text(
            dump_yaml({"status": "SUBMITTED", "attempts": []})
        )
        (tmp_path / "1/metadata/config.yaml").touch()
        assert run(tmp_path, "ls").output.splitlines()[1].split() == ["1", "SUBMITTED", "-", "-"]
        logs = shutil.copytree(MLXP_RUNS, tmp_path / "mlxp")
        assert "2026-11-23 12:46:07" in run(logs, "ls").output

    def test_how_long_a_run_goes_on(self, tmp_path: Path) -> None:
        with running(tmp_path):
            (row,) = as_json(run(tmp_path, "ls", "--json", "-c", "duration"))
        assert row["duration"] >= 0
        texts = ["4.2s", "3m12s", "1h02m", "2d03h"]
        assert [duration_text(s) for s in (4.2, 192, 3725, 183700)] == texts

    @pytest.mark.parametrize("runs", [0, 3])
    def test_neither_the_list_nor_the_help_imports_in_vain(self, logs: Path, runs: int) -> None:
        arguments = ["ls", "--logs", str(logs)] if runs else ["--help"]
        program = (
            "import sys; from mlxpy_core._cli import main; main(sys.argv[1:], standalone_mode=False)\n"
            "print({'pandas', 'matplotlib', 'lark', 'omegaconf', 'pyarrow'} & set(sys.modules))"
        )
        command = [sys.executable, "-c", program, *arguments]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert output.splitlines()[-1] == ("{'pyarrow'}" if runs else "set()")

    def test_a_reader_that_leaves(self, tmp_path: Path) -> None:
        for number in range(2):
            with mlxpy.Logger(parent_log_dir=tmp_path / "logs", config={"text": str(number) * 200_000}):
                pass
        command = ["sh", "-c", f"'{MLXPY}' ls | head -c 2"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert (len(done.stdout), done.stderr) == (2, "")


class TestShow:
    def test_what_became_of_a_run(self, logs: Path) -> None:
        output = run(logs, "show", "3").output
        assert output.startswith("run 3  FAILED\n")
        assert f"directory  {logs}/3\n" in output
        assert "\n  optimizer:\n    lr: 0.001\n" in output
        assert "\n  ValueError: the loss is\n  no number\n" in output
        assert "\n  train: 3 rows, the last: loss=-0.003 epoch=2\n" in output
        assert "\n  json/best.json\n" in output
        for label in ("command", "started", "host", "work dir"):
            assert f"\n{label} " in output

    def test_json(self, logs: Path) -> None:
        (shown,) = as_json(run(logs, "show", "1", "--json"))
        assert shown["info"]["status"] == "COMPLETE"
        assert shown["config"]["optimizer"] == {"lr": 0.1, "name": "adam"}
        assert shown["metrics"] == {"train": {"rows": 3, "last": {"loss": -3 * 0.1, "epoch": 2}}}
        assert shown["artifacts"] == ["json/best.json"]

    def test_job_code_and_attempts(self, tmp_path: Path) -> None:
        for _ in range(2):
            with mlxpy.Logger(parent_log_dir=tmp_path, forced_log_id=1) as logger:
                directory = RunDirectory(Path(logger.log_dir))
        info = load_yaml(info_path(directory.path).read_text())
        info["scheduler"] = {"name": "OARScheduler", "scheduler_job_id": None, "array_index": 2}
        info["version_manager"] = {
            "commit_hash": "abc",
            "branch": "main",
            "dirty": True,
            "snapshot": True,
        }
        info["overrides"] = ["lr=1", "text='a b'"]
        info["submit_date"], info["submit_time"] = "2026-11-23", "12:00:00+00:00"
        write_whole(info_path(directory.path), dump_yaml(info))
        write_whole(directory.state / "job.yaml", dump_yaml({"scheduler_job_id": "77"}))
        output = run(tmp_path, "show", "1").output
        assert "overrides  lr=1 text='a b'\n" in output
        assert "submitted  2026-11-23 12:00:00\n" in output
        assert "job        77 of OARScheduler, array index 2\n" in output
        assert "commit abc of branch main, uncommitted changes (kept in this snapshot)\n" in output
        moment = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
        assert len(re.findall(rf"\n  \S+, {moment}, took \d\.\ds: COMPLETE", output)) == 2

    def test_runs_of_mlxp_and_runs_that_cannot_be_read(self, tmp_path: Path) -> None:
        logs = shutil.copytree(MLXP_RUNS, tmp_path / "mlxp")
        assert "run 1  COMPLETE" in run(logs, "show", "1").output
        (tmp_path / "4").mkdir()
        error = run(tmp_path, "show", "4", exit_code=1).stderr
        assert error == "Error: run 4 cannot be read: info.yaml: No such file or directory\n"


class TestDiff:
    def test_settings_that_differ(self, logs: Path) -> None:
        output = run(logs, "diff", "1", "3", exit_code=1).output
        rows = [re.split(r"\s{2,}", line) for line in output.splitlines()]
        assert rows == [
            ["field", "run 1", "run 3"],
            ["config.optimizer.lr", "0.1", "0.001"],
            ["config.note", "short", LONG],
        ]

    def test_json_and_info(self, logs: Path) -> None:
        rows = as_json(run(logs, "diff", "1", "3", "--info", "--json", exit_code=1))
        found = {row.pop("field"): row for row in rows}
        assert found["info.status"] == {"first": "COMPLETE", "second": "FAILED"}
        assert found["info.exception"] == {"first": None}
        assert found["config.optimizer.lr"] == {"first": 0.1, "second": 0.001}
        assert "null" in run(logs, "diff", "1", "3", "--info", exit_code=1).output

    def test_runs_that_are_equal_and_errors(self, logs: Path) -> None:
        assert run(logs, "diff", "2", "2").output == ""
        assert as_json(run(logs, "diff", "2", "2", "--json")) == []
        assert run(logs, "diff", "2", "9", exit_code=2).stderr == f"Error: no run 9 in '{logs}'\n"


class TestExport:
    def read(self, path: Path) -> Any:
        if path.suffix == ".csv":
            return list(csv.DictReader(path.open()))
        if path.suffix == ".parquet":
            return pa.parquet.read_table(path).to_pylist()
        if path.suffix == ".arrow":
            return pa.ipc.open_file(str(path)).read_all().to_pylist()
        if path.suffix == ".jsonl":
            return list(map(json.loads, path.read_text().splitlines()))
        return json.loads(path.read_text())

    @pytest.mark.parametrize("suffix", ["csv", "parquet", "arrow", "json", "jsonl"])
    def test_formats(self, logs: Path, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"runs.{suffix}"
        run(logs, "export", "info.status == 'COMPLETE'", "--metrics", "-o", str(path))
        first, second = self.read(path)
        losses = first["train.loss"]
        assert (json.loads(losses) if suffix == "csv" else losses) == [-5 * 0.1, -4 * 0.1, -3 * 0.1]
        assert str(second["config.optimizer.lr"]) == "0.01"
        assert first["info.exception"] in (None, "")
        assert "json" not in suffix or first["config.bad"] is None
        run(logs, "export", "2", "-o", str(path))
        (only,) = self.read(path)
        assert "train.loss" not in only
        assert not any(field.startswith("artifact") for field in only)

    def test_standard_output(self, logs: Path) -> None:
        rows = list(csv.DictReader(io.StringIO(run(logs, "export", "-o", "-").stdout)))
        assert [row["info.status"] for row in rows] == ["COMPLETE", "COMPLETE", "FAILED"]
        assert rows[2]["info.exception.message"] == "the loss is\nno number"
        assert rows[0]["config.empty"] == "{}"

    def test_what_cannot_be_written(self, logs: Path, tmp_path: Path) -> None:
        error = run(logs, "export", "-o", "runs.xls", exit_code=1).stderr
        assert error == (
            "Error: -o 'runs.xls': give a file that ends in .csv, .parquet, .arrow, .json, .jsonl, or -\n"
        )
        (tmp_path / "runs.csv").mkdir()
        assert (
            "cannot write" in run(logs, "export", "-o", str(tmp_path / "runs.csv"), exit_code=1).stderr
        )
        assert list(tmp_path.iterdir()) == [tmp_path / "runs.csv"]


class TestPlot:
    def test_to_a_file(self, logs: Path, tmp_path: Path) -> None:
        arguments = ["plot", "train.epoch", "train.loss", "--hue", "config.optimizer.lr", "-o"]
        run_process(logs.parent, *arguments, str(tmp_path / "loss.svg"))
        assert "config.optimizer.lr" in re.sub("<!-- | -->", "", (tmp_path / "loss.svg").read_text())
        _, errors = run_process(logs.parent, *arguments, "loss.xls", exit_code=1)
        assert re.fullmatch(r"Error: -o 'loss.xls': give a file that ends in \.\w+.*\n", errors)

    def test_no_display_and_no_matplotlib(self, logs: Path, tmp_path: Path) -> None:
        arguments = ["plot", "train.epoch", "train.loss"]
        _, errors = run_process(logs.parent, *arguments, exit_code=1)
        assert errors == "Error: there is no display to show the plot on: give -o FILE\n"
        (tmp_path / "matplotlib.py").write_text("raise ImportError")
        options = ["-o", str(tmp_path / "x.png")]
        _, errors = run_process(logs.parent, *arguments, *options, exit_code=1, PYTHONPATH=str(tmp_path))
        assert errors == "Error: plot needs matplotlib: pip install 'mlxpy[plot]'\n"


class TestAll:
    @pytest.mark.parametrize("name", ["ls", "show", "logs", "diff", "export", "plot"])
    def test_help_has_examples(self, name: str) -> None:
        assert name in _COMMANDS
        output = CliRunner().invoke(main, [name, "--help"]).output
        assert re.search(rf"\n  Examples:\n    mlxpy {name}[ \n]", output)
        assert "--logs DIR" in output

    def test_directories_without_runs(self, tmp_path: Path) -> None:
        sentence = f"no runs in '{tmp_path}'"
        assert run(tmp_path, "ls").stderr == f"mlxpy: {sentence}\n"
        assert run(tmp_path, "ls", "--json").stdout == "[]\n"
        for arguments in (["export", "-o", "-"], ["plot", "x", "y", "-o", "x.png"]):
            assert run(tmp_path, *arguments, exit_code=1).stderr == f"Error: {sentence}\n"
        assert run(tmp_path, "ls", "1-5").stderr == f"mlxpy: no run in '{tmp_path}' answers '1-5'\n"

    def test_errors_are_sentences(self, logs: Path) -> None:
        assert "Error: no directory" in run(logs / "x", "ls", exit_code=1).stderr
        for typed, meant in (
            ("config.lr", "config.optimizer.lr"),
            ("LR", "config.optimizer.lr"),
            ("id,LR", "config.optimizer.lr"),
            ("optimizer.momentum", "config.optimizer.name"),
            ("mem", "info.usage.peak_memory"),
        ):
            assert f": did you mean {meant}" in run(logs, "ls", "-c", typed, exit_code=1).stderr
        assert "config.optimizer.lr" in run(logs, "ls", "config.optimiser.lr < 1", exit_code=1).stderr
        assert "No such option" in run(logs, "ls", "--nonsense", exit_code=2).stderr

    def test_no_run_answers(self, logs: Path) -> None:
        query = "info.status == 'INTERRUPTED'"
        sentence = f"no run in '{logs}' answers {query!r}\n"
        for command in ("ls", "status", "cancel", "resubmit", "rm", "archive"):
            assert run(logs, command, query).stderr == f"mlxpy: {sentence}"
        assert run(logs, "tag", query, "+x").stderr == f"mlxpy: {sentence}"
        assert run(logs, "report", query, "-o", "x.html", exit_code=1).stderr == f"Error: {sentence}"
        assert run(logs, "cancel", "99", exit_code=1).stderr == f"Error: no run 99 in '{logs}'\n"

    def test_a_run_that_cannot_be_read_is_a_line(self, tmp_path: Path) -> None:
        with running(tmp_path / "logs"):
            pass
        metadata = tmp_path / "logs/2/metadata"
        metadata.mkdir(parents=True)
        assert run_process(tmp_path, "ls")[1] == ""  # it may be a run that is being made
        os.utime(metadata, (0, 0))
        output, errors = run_process(tmp_path, "ls")
        assert len(output.splitlines()) == 2
        assert errors.startswith("mlxpy: 1 of the runs in")
        assert len(errors.splitlines()) == 1

    @pytest.mark.parametrize(
        ("typed", "expected"),
        [
            ("sh", {"show"}),
            ("show ", {"1", "2", "3"}),
            ("show 2", {"2"}),
            ("ls 1 ", {"1", "2", "3"}),
            ("show --logs ../other 1", {"1", "10"}),
        ],
    )
    def test_completion(self, logs: Path, typed: str, expected: set[str]) -> None:
        for number in (1, 10, 20):
            (logs.parent / "other" / str(number)).mkdir(parents=True, exist_ok=True)
        directory = logs.parent / "elsewhere" if "../other" in typed else logs.parent
        directory.mkdir(exist_ok=True)
        arguments = f"mlxpy {typed}"
        output, _ = run_process(
            directory,
            _MLXPY_COMPLETE="bash_complete",
            COMP_WORDS=arguments,
            COMP_CWORD=str(len(arguments.split(" ")) - 1),
        )
        assert {line.split(",")[1] for line in output.splitlines()} == expected
