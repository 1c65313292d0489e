"""``mlxpy logs``, which follows a file until its run has ended."""

import signal
import subprocess
from itertools import islice
from pathlib import Path

import pexpect
import pytest
from conftest import Project
from test_cli import MLXPY, run, running

from mlxpy_core._cli._follow import follow
from mlxpy_core._io._files import write_whole


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has printed."""
    project = Project(tmp_path_factory.mktemp("streams"))
    project.write("main.py", """
        import sys, mlxpy
        with mlxpy.Logger(log_streams_to_file=True):
            print(*range(9), sep="\\n", flush=True)
            print("an error", file=sys.stderr)
    """)  # fmt: skip
    project.run("main.py")
    return project.path / "logs"


def test_streams(streams: Path) -> None:
    whole = "".join(f"{number}\n" for number in range(9))
    assert run(streams, "logs", "1").stdout == whole
    assert run(streams, "logs", "1", "--stderr").stdout == "an error\n"
    assert run(streams, "logs", "1", "-n", "2").stdout == "7\n8\n"
    assert run(streams, "logs", "1", "-n", "0").stdout == ""
    assert run(streams, "logs", "1", "-n", "99").stdout == whole
    assert run(streams, "logs", "1", "-f", "-n", "3").stdout == "6\n7\n8\n"


def test_the_last_lines_of_what_is_longer_than_a_block(tmp_path: Path) -> None:
    with running(tmp_path) as directory:
        (directory.path / "log.stdout").write_text("first\n" + "x" * 70_000 + "\ny\nunfinished")
    assert run(tmp_path, "logs", "1", "-n", "2").stdout == "y\nunfinished"
    assert len(run(tmp_path, "logs", "1", "-n", "3").stdout) == 70_013
    assert run(tmp_path, "logs", "1", "-n", "4").stdout.startswith("first\nx")


@pytest.mark.parametrize("option", ["-n5", "-f"])
def test_no_file(tmp_path: Path, option: str) -> None:
    with running(tmp_path):
        pass
    error = run(tmp_path, "logs", "1", option, exit_code=1).stderr
    assert error.startswith("Error: run 1 has no log.stdout")
    assert "log_streams_to_file" in error


def test_one_run_is_named(tmp_path: Path) -> None:
    for _ in range(2):
        with running(tmp_path) as directory:
            (directory.path / "log.stdout").write_text(directory.path.name)
    assert run(tmp_path, "logs", "2-999999999999").stdout == "2"
    error = run(tmp_path, "logs", "1-2", exit_code=1).stderr
    assert error == "Error: '1-2' names 2 runs: give the number of one\n"


def test_follows_what_appears_is_cut_short_and_is_replaced(tmp_path: Path) -> None:
    with running(tmp_path / "logs") as directory:
        path = directory.path / "log.stdout"
        terminal = pexpect.spawn(MLXPY, ["logs", "1", "-f"], cwd=str(tmp_path), timeout=30)
        terminal.expect("has no log.stdout.*waiting for it")
        path.write_text("appeared\n")
        terminal.expect("appeared")
        with path.open("a") as file:
            file.write("grew\n")
        terminal.expect("grew")
        path.write_text("cut\n")
        terminal.expect("cut")
        write_whole(path, "replaced by what is longer than it was\n")
        terminal.expect("replaced by what")
        path.unlink()
        path.write_text("made anew\n")
        terminal.expect("made anew")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


def test_ctrl_c(tmp_path: Path) -> None:
    with running(tmp_path / "logs") as directory:
        (directory.path / "log.stdout").write_text("a line\n")
        command = [MLXPY, "logs", "1", "-f"]
        with subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout
            assert process.stdout.readline() == "a line\n"
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=30) == ("", "")
        assert process.returncode == 130


def test_what_comes_after_the_final_status(tmp_path: Path) -> None:
    path = tmp_path / "log.stdout"
    path.write_text("a line\n")

    def ended() -> bool:
        with path.open("a") as file:
            file.write("through tee\n")
        return True

    assert b"".join(islice(follow(path, path.parent, 0, ended), 2)) == b"a line\nthrough tee\n"


def test_a_run_that_was_killed_is_not_followed_for_ever(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write("main.py", """
        import os, signal, mlxpy
        mlxpy.Logger(log_streams_to_file=True)
        print("printed", flush=True)
        input()
    """)  # fmt: skip
    with project.start("main.py", stdin=subprocess.PIPE) as dies:
        assert dies.stdout.readline() == "printed\n"
        dies.kill()
    assert project.statuses() == ["RUNNING"]
    assert "printed" in run(tmp_path / "logs", "logs", "1", "-f").stdout
    assert project.statuses() == ["KILLED"]
