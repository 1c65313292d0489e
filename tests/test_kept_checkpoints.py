"""Checkpoints that a rule keeps: the last ones and the best, and never none."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from conftest import Project

import mlxpy
from mlxpy_core import dump_yaml, load_yaml

BEST = ("val.loss", "min")


def stored(logs: Path, log_id: int = 1) -> list[str]:
    folder = logs / str(log_id) / "artifacts/Checkpoint"
    return sorted(str(path.relative_to(folder))[: -len(".pkl")] for path in folder.rglob("*.pkl"))


def train(logger: mlxpy.Logger, losses: list[Any], start: int = 0, **rule: Any) -> None:
    for epoch, loss in enumerate(losses, start):
        if loss is not None:
            logger.log_metrics({"loss": loss}, "val")
        logger.log_checkpoint({"epoch": epoch}, f"epoch-{epoch}", **rule)


def test_the_last_and_the_best_stay(tmp_path: Path) -> None:
    with mlxpy.Logger(tmp_path) as logger:
        logger.log_checkpoint({"epoch": -1}, "first")  # without a rule: stays
        train(logger, [3, 1, 2, 5, 4], keep_last=2, keep_best=BEST)
        assert stored(tmp_path) == ["epoch-1", "epoch-3", "epoch-4", "first"]
        assert logger.best_checkpoint == "epoch-1"
        assert logger.load_checkpoint(logger.best_checkpoint) == {"epoch": 1}
        assert logger.load_checkpoint() == {"epoch": 4}


@pytest.mark.parametrize(
    ("losses", "rule", "left"),
    [
        ([1, 2, 3], {"keep_best": ("val.loss", "max")}, ["epoch-2"]),
        ([1, 2, 3], {"keep_best": BEST}, ["epoch-0", "epoch-2"]),
        ([1, None, 1, 2], {"keep_best": BEST}, ["epoch-0", "epoch-3"]),  # the first that had the value
        ([2, float("nan"), 3], {"keep_best": BEST}, ["epoch-0", "epoch-2"]),
        ([1, 2, 3], {"keep_last": 5}, ["epoch-0", "epoch-1", "epoch-2"]),
    ],
)
def test_rules(tmp_path: Path, losses: list[Any], rule: dict[str, Any], left: list[str]) -> None:
    with mlxpy.Logger(tmp_path) as logger:
        train(logger, losses, **rule)
    assert stored(tmp_path) == left


def test_of_one_name(tmp_path: Path) -> None:
    with mlxpy.Logger(tmp_path) as logger:
        for epoch, loss in enumerate([3, 1, 2, 4]):
            logger.log_metrics({"loss": {"mean": loss}}, "val")
            logger.log_checkpoint({"epoch": epoch}, keep_last=2, keep_best=("val.loss.mean", "min"))
        kept = {name: logger.load_checkpoint(name)["epoch"] for name in stored(tmp_path)}
        best = logger.best_checkpoint
    assert sorted(kept.values()) == [1, 2, 3]
    assert kept["checkpoint"] == 3
    assert best
    assert kept[best] == 1


def test_a_resumed_run_goes_on_with_the_rule(tmp_path: Path) -> None:
    with mlxpy.Logger(tmp_path) as logger:
        train(logger, [1, 2, 3], keep_last=2, keep_best=BEST)
    with mlxpy.Logger(tmp_path, forced_log_id=1) as logger:
        assert logger.load_checkpoint() == {"epoch": 2}
        train(logger, [4, 5], start=3, keep_last=2, keep_best=BEST)
        assert logger.best_checkpoint == "epoch-0"
    assert stored(tmp_path) == ["epoch-0", "epoch-3", "epoch-4"]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"keep_last": 0}, "keep_last=0 is no number of checkpoints: give 1 or more"),
        ({"keep_last": True}, "keep_last=True is no number"),
        ({"keep_best": "val.loss"}, "give a metric and a mode, as in"),
        ({"keep_best": ("val.loss", "low")}, "give a metric and a mode, as in"),
        ({"keep_best": ("loss", "min")}, "'loss' is no metric: give log and key"),
    ],
)
def test_what_is_no_rule(tmp_path: Path, rule: dict[str, Any], message: str) -> None:
    with mlxpy.Logger(tmp_path) as logger, pytest.raises(mlxpy.MlxpyError, match=message):
        logger.log_checkpoint(1, **rule)
    assert stored(tmp_path) == []


def test_a_metric_that_nobody_logs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with mlxpy.Logger(tmp_path) as logger:
        train(logger, [1, 2], keep_best=("val.lose", "min"))
    assert stored(tmp_path) == ["epoch-1"]
    assert capsys.readouterr().err.count("no number is logged as val.lose") == 1


def test_the_list_leads_to_no_other_place(tmp_path: Path) -> None:
    with mlxpy.Logger(tmp_path) as logger:
        train(logger, [1], keep_last=1)
        other = tmp_path / "1/metrics/other.pkl"
        other.touch()
        path = tmp_path / "1/.keys/checkpoints.yaml"
        entry = {"name": "../../metrics/other", "changed": other.stat().st_mtime_ns, "value": None}
        listed = load_yaml(path.read_text())
        path.write_text(dump_yaml({**listed, "checkpoints": [entry, *listed["checkpoints"]]}))
        train(logger, [2], start=1, keep_last=1)
    assert other.exists()


KILLED = """
import itertools, mlxpy, sys
with mlxpy.Logger("logs", forced_log_id=1) as logger:
    try:
        start = logger.load_checkpoint()["epoch"] + 1
    except FileNotFoundError:
        start = 0
    for epoch in itertools.count(start):
        logger.log_metrics({"loss": abs(epoch - 3)}, "val")
        name = f"epoch-{epoch}" if sys.argv[1] == "names" else "checkpoint"
        logger.log_checkpoint({"epoch": epoch}, name, keep_last=2, keep_best=("val.loss", "min"))
        print(epoch, flush=True)
"""


@pytest.mark.parametrize("names", ["names", "one"])
def test_killed_at_any_instruction(project: Project, names: str) -> None:
    logs = project.path / "logs"
    reached = -1
    for lines in (1, 5, 7):
        with project.start("-c", KILLED, names) as training:
            assert training.stdout
            for _ in range(lines):
                reached = int(training.stdout.readline())
            os.kill(training.pid, signal.SIGKILL)  # the next checkpoint is on its way
        assert len(stored(logs)) <= 5
        with mlxpy.Logger(logs, forced_log_id=1) as logger:
            assert logger.load_checkpoint()["epoch"] >= reached
            if reached >= 3:
                assert logger.best_checkpoint
                assert logger.load_checkpoint(logger.best_checkpoint) == {"epoch": 3}
    rows = (logs / "1/metrics/val.json").read_text().splitlines()
    assert [json.loads(row)["loss"] for row in rows] == [abs(epoch - 3) for epoch in range(len(rows))]
