"""``logger.progress``: how far a program is, for those who look."""

import json
import os
import signal
from pathlib import Path

import pytest
from conftest import Project

import mlxpy
from mlxpy_core._runs._progress_file import Progress, read_progress


def test_it_is_a_field_of_the_reader_while_the_run_goes_on_and_afterwards(tmp_path: Path) -> None:
    with mlxpy.Logger(tmp_path) as logger:
        logger.progress(1, 4)
        found = mlxpy.Reader(tmp_path).search("info.progress.done == 1 & info.progress.total == 4")
        assert found["info.status"] == ["RUNNING"]
        logger.progress(3, 4)
    with mlxpy.Logger(tmp_path):
        pass
    for _ in range(2):  # the second time from the cache
        found = mlxpy.Reader(tmp_path).search()
        assert found["info.progress.done"] == [3, None]
        assert found["info.progress.total"] == [4, None]


def test_it_is_written_once_a_second_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Progress] = []
    write = "mlxpy_core._tracking._progress_writer.write_progress"
    monkeypatch.setattr(write, lambda run, progress: written.append(progress))
    monkeypatch.setattr("mlxpy_core._tracking._progress_writer._INTERVAL_S", 3600)
    with mlxpy.Logger(tmp_path) as logger:
        for done in range(1000):
            logger.progress(done, 2000)
        assert written == [(0, 2000)]
    assert written == [(0, 2000), (999, 2000)]


def test_all_done_is_written_at_once(tmp_path: Path) -> None:
    with mlxpy.Logger(tmp_path) as logger:
        logger.progress(1, 2)
        logger.progress(2, 2)
        assert read_progress(logger.log_dir) == (2, 2)


def test_a_kill_leaves_it_readable_and_a_later_attempt_goes_on(project: Project) -> None:
    program = (
        "import mlxpy, os, signal, sys\n"
        "logger = mlxpy.Logger('logs', forced_log_id=1)\n"
        "logger.progress(float(sys.argv[1]), 1e22)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    for done in ("1e21", "7", "0.5"):
        project.run("-c", program, done, exit_code=-signal.SIGKILL)
        assert read_progress(project.path / "logs/1") == (float(done), 1e22)


@pytest.mark.parametrize("values", [("a", 1), (-1, 1), (1, float("inf")), (float("nan"), 1), (None, 1)])
def test_what_is_no_number_is_refused(tmp_path: Path, values: tuple[object, object]) -> None:
    with mlxpy.Logger(tmp_path) as logger, pytest.raises(mlxpy.MlxpyError, match="such as progress"):
        logger.progress(*values)  # type: ignore[arg-type]  # wrong on purpose


def test_after_the_end_it_is_refused(tmp_path: Path) -> None:
    with mlxpy.Logger(tmp_path) as logger:
        pass
    with pytest.raises(mlxpy.RunEndedError):
        logger.progress(1, 2)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"done": "1", "total": 2}', '{"done": -1, "total": 2}']
)
def test_a_damaged_file_says_nothing(tmp_path: Path, text: str) -> None:
    with mlxpy.Logger(tmp_path) as logger:
        logger.progress(1, 2)
    Path(logger.log_dir, ".keys/progress.json").write_text(text)
    assert read_progress(logger.log_dir) is None


def test_its_file_is_a_line_of_json(tmp_path: Path) -> None:
    with mlxpy.Logger(tmp_path) as logger:
        logger.progress(100, 100)
        logger.progress(5, 5)
    assert json.loads(Path(logger.log_dir, ".keys/progress.json").read_text()) == {"done": 5, "total": 5}


def test_no_other_users_link_is_followed(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can make another user's link")
    with mlxpy.Logger(tmp_path / "logs") as logger:
        link = Path(logger.log_dir, ".keys/progress.json")
        link.symlink_to(tmp_path / "mine")
        os.lchown(link, 65534, 65534)
        (tmp_path / "mine").write_text("mine")
        logger.progress(1, 1)
    assert (tmp_path / "mine").read_text() == "mine"
