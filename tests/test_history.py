"""One history over several attempts, whatever ended each of them."""

import contextlib
import json
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Project

from mlxpy_core import Logger, UnstorableValueError
from mlxpy_core._tracking._history import History

# Logs rows, checkpoints every few, and resumes: the state decides every value that is logged.
TRAINING = """
    import sys, time, mlxpy

    total, kills = int(sys.argv[2]), int(sys.argv[3])
    logger = mlxpy.Logger("logs", forced_log_id=int(sys.argv[1]))
    try:
        state = logger.load_checkpoint()
    except FileNotFoundError:
        state = {"step": 0, "value": 1}
    for step in range(state["step"], total):
        state = {"step": step + 1, "value": state["value"] * 48271 % 2147483647}
        logger.log_metrics({"step": step, "value": state["value"]}, "train")
        if step % 10 == 0:
            logger.log_metrics({"score": state["value"] / 7}, "eval")
        if step % 7 == 0:
            logger.log_checkpoint({**state, "weights": b"w" * 20_000}, "last")
        print(step, flush=True)
    while len(mlxpy.current_run().info["attempts"]) <= kills:
        time.sleep(0.01)
"""


def rows(logger: Logger, log_name: str = "train") -> list[Any]:
    path = Path(logger.log_dir, "metrics", f"{log_name}.json")
    return [json.loads(line)["a"] for line in path.open()] if path.exists() else []


def log(logger: Logger, *values: int, log_name: str = "train") -> None:
    for value in values:
        logger.log_metrics({"a": value}, log_name)


def attempt(in_directory: Path) -> Logger:
    return Logger("logs", forced_log_id=1)


def test_rows_after_the_checkpoint_are_moved_aside(in_directory: Path) -> None:
    first = attempt(in_directory)
    log(first, 1, 2)
    first.log_checkpoint("two")
    log(first, 3, 4)
    log(first, 9, log_name="late")
    second = attempt(in_directory)
    assert second.load_checkpoint() == "two"
    assert (rows(second), rows(second, "late")) == ([1, 2], [])
    log(second, 3, 4, 5)
    assert rows(second) == [1, 2, 3, 4, 5]
    aside = Path(second.log_dir, "metrics", ".aside", "2")
    assert (aside / "train.json").read_text() == '{"a": 3}\n{"a": 4}\n'
    assert (aside / "late.json").read_text() == '{"a": 9}\n'


def test_a_run_resumes_at_a_step_that_another_librarys_checkpoint_says(in_directory: Path) -> None:
    first = attempt(in_directory)
    for step in range(5):
        first.log_metrics({"step": step, "attempt": 1}, "train")
        first.log_metrics({"epoch": step}, "other")
    first.log_metrics({"attempt": 1}, "train")  # after a row that goes it goes, too
    second = attempt(in_directory)
    second.log_metrics({"setup": True}, "train")
    second.resume_at_step(3)
    for step in (3, 4):
        second.log_metrics({"step": step, "attempt": 2}, "train")
    second.resume_at_step(0)  # too late: nothing is moved
    train = [
        json.loads(line) for line in Path(second.metrics_dir, "train.json").read_text().splitlines()
    ]
    expected = [*[(step, 1) for step in range(3)], (None, None), (3, 2), (4, 2)]
    assert [(row.get("step"), row.get("attempt")) for row in train] == expected
    aside = Path(second.metrics_dir, ".aside", "2", "train.json").read_text().splitlines()
    assert [json.loads(line).get("step") for line in aside] == [3, 4, None]
    assert Path(second.metrics_dir, "other.json").read_text().count("\n") == 5
    third = attempt(in_directory)
    third.resume_at_step(1, "epoch")
    assert Path(third.metrics_dir, "other.json").read_text() == '{"epoch": 0}\n'


def test_a_program_that_never_asks_appends(in_directory: Path) -> None:
    log(attempt(in_directory), 1, 2)
    second = attempt(in_directory)
    log(second, 3)
    assert rows(second) == [1, 2, 3]


def test_without_any_checkpoint_the_run_starts_anew(in_directory: Path) -> None:
    log(attempt(in_directory), 1, 2)
    second = attempt(in_directory)
    with pytest.raises(FileNotFoundError, match="run 1 has no checkpoint in"):
        second.load_checkpoint()
    log(second, 7)
    assert rows(second) == [7]


def test_a_name_that_is_not_there_moves_nothing(in_directory: Path) -> None:
    first = attempt(in_directory)
    first.log_checkpoint("zero", "last")
    log(first, 1)
    second = attempt(in_directory)
    with pytest.raises(FileNotFoundError, match="run 1 has no checkpoint 'best'"):
        second.load_checkpoint("best")
    assert rows(second) == [1]


def test_the_first_attempt_loses_nothing_by_loading(in_directory: Path) -> None:
    logger = attempt(in_directory)
    log(logger, 1)
    with pytest.raises(FileNotFoundError):
        logger.load_checkpoint()
    logger.log_checkpoint("one", "best")
    log(logger, 2)
    assert logger.load_checkpoint("best") == "one"
    log(logger, 3)
    assert rows(logger) == [1, 2, 3]


def test_rows_of_this_attempt_stay_where_they_came_before_loading(in_directory: Path) -> None:
    first = attempt(in_directory)
    log(first, 1)
    first.log_checkpoint("one")
    log(first, 2)
    second = attempt(in_directory)
    log(second, 100, log_name="setup")
    log(second, 50)
    second.load_checkpoint()
    log(second, 2)
    assert (rows(second), rows(second, "setup")) == ([1, 50, 2], [100])


def test_loading_another_checkpoint_to_evaluate_it_moves_nothing(in_directory: Path) -> None:
    first = attempt(in_directory)
    log(first, 1)
    first.log_checkpoint("best", "best")
    log(first, 2)
    first.log_checkpoint("last", "last")
    second = attempt(in_directory)
    second.load_checkpoint("last")
    log(second, 3)
    assert second.load_checkpoint("best") == "best"
    log(second, 4)
    assert rows(second) == [1, 2, 3, 4]


def test_the_furthest_checkpoint_that_is_loaded_before_the_first_row_counts(
    in_directory: Path,
) -> None:
    first = attempt(in_directory)
    log(first, 1)
    first.log_checkpoint("best", "best")
    log(first, 2, 3)
    first.log_checkpoint("last", "last")
    log(first, 4)
    second = attempt(in_directory)
    for name in ("best", "last", "best"):
        second.load_checkpoint(name)
    assert rows(second) == [1, 2, 3]
    aside = Path(second.log_dir, "metrics", ".aside", "2", "train.json")
    assert aside.read_text() == '{"a": 4}\n'


def test_what_was_moved_aside_stays_where_the_attempt_is_only_guessed(tmp_path: Path) -> None:
    for value in ("1", "2"):
        (tmp_path / "train.json").write_text(f'{{"a": {value}}}\n')
        History(tmp_path, tmp_path, attempt=2).resume_at({})
    aside = sorted(tmp_path.glob(".aside/*/train.json"))
    assert [path.read_text() for path in aside] == ['{"a": 1}\n', '{"a": 2}\n']


def test_the_newest_checkpoint_is_the_one_written_last(in_directory: Path) -> None:
    logger = attempt(in_directory)
    for name in ("b", "a", "c/d", "b"):
        logger.log_checkpoint(name, name)
        assert logger.load_checkpoint() == name


def test_the_newest_is_found_although_a_clock_went_back(
    in_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = attempt(in_directory)
    logger.log_checkpoint("old", "old")
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    logger.log_checkpoint("new", "new")
    assert logger.load_checkpoint() == "new"


def test_a_checkpoint_is_a_plain_pickle_too(in_directory: Path) -> None:
    import pickle

    logger = attempt(in_directory)
    logger.log_checkpoint({"epoch": 3}, "last")
    with Path(logger.log_dir, "artifacts", "Checkpoint", "last.pkl").open("rb") as file:
        assert pickle.load(file) == {"epoch": 3}


def test_a_checkpoint_that_does_not_pickle_leaves_the_old_one(in_directory: Path) -> None:
    logger = attempt(in_directory)
    logger.log_checkpoint("good")
    with pytest.raises(UnstorableValueError, match="cannot store a dict as checkpoint 'checkpoint'"):
        logger.log_checkpoint({"lock": threading.Lock()})
    assert logger.load_checkpoint() == "good"


def test_a_run_killed_at_random_moments_has_the_history_of_an_undisturbed_one(
    project: Project, times: Callable[[int, int], int]
) -> None:
    moments = random.Random(0)
    kills = times(6, 30)
    steps = 100 * kills
    project.write("train.py", TRAINING)
    project.run("train.py", "1", str(steps), "0")
    for kill in range(kills + 1):
        process = project.start("train.py", "2", str(steps), str(kills))
        assert process.stdout is not None
        last = moments.randrange((steps - 1) * kill // kills + 1)
        for line in process.stdout:
            if int(line) >= last:
                break
        if kill < kills:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(moments.uniform(0, 0.01))
            process.send_signal(moments.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
        _, errors = process.communicate()
        assert (process.returncode == 0) is (kill == kills)
        assert errors == ""
        for name in ("train", "eval"):
            for line in project.file(2, f"metrics/{name}.json").read_bytes().splitlines(True)[:-1]:
                json.loads(line)
    for name in ("train", "eval"):
        undisturbed = project.file(1, f"metrics/{name}.json").read_bytes()
        assert project.file(2, f"metrics/{name}.json").read_bytes() == undisturbed
    attempts = project.info(2)["attempts"]
    assert len(attempts) == kills + 1
    assert {entry["status"] for entry in attempts[:-1]} == {"KILLED", "INTERRUPTED"}
    assert attempts[-1]["status"] == "COMPLETE"
    assert all(entry["start"] <= entry["end"] for entry in attempts)
    assert not list(project.file(2, ".").rglob(".mlxpy-tmp-*"))


def test_every_row_that_was_logged_survives_a_kill(
    project: Project, times: Callable[[int, int], int]
) -> None:
    project.write(
        "log.py",
        """
        import mlxpy
        logger = mlxpy.Logger("logs")
        step = 0
        while True:
            logger.log_metrics({"step": step, "pad": "x" * (step % 9000)}, "train")
            print(step, flush=True)  # told only once it was logged
            if step % 50 == 0:
                logger.log_checkpoint({"step": step, "pad": b"x" * 300_000}, "last")
            step += 1
        """,
    )
    moments = random.Random(0)
    for log_id in range(1, times(4, 15) + 1):
        process = project.start("log.py")
        assert process.stdout is not None
        told = [int(process.stdout.readline())]
        time.sleep(moments.uniform(0, 0.1))  # any moment will do; there is no event to wait for
        process.kill()
        told += [int(line) for line in process.communicate()[0].splitlines(True) if line.endswith("\n")]
        lines = project.file(log_id, "metrics/train.json").read_text().splitlines(True)
        whole = [json.loads(line)["step"] for line in lines if line.endswith("\n")]
        assert whole == list(range(len(whole)))
        assert whole[-1] >= told[-1]
        assert project.info(log_id)["status"] == "RUNNING"
        checkpoint = project.file(log_id, "artifacts/Checkpoint/last.pkl")
        if checkpoint.exists():
            logger = Logger(project.path / "logs", forced_log_id=log_id)
            assert len(logger.load_checkpoint()["pad"]) == 300_000
            logger.close()
