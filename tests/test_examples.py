"""The examples, run as their reader runs them; the tutorial command by command."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, Project

from mlxpy import Logger

pytest.importorskip("numpy", reason="numpy is not installed")


def rows(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.open()]


@pytest.fixture
def tutorial(project: Project) -> Project:
    """The tutorial's directory, with no mlxpy.yaml yet."""
    shutil.copytree(REPOSITORY / "examples" / "tutorial", project.path, dirs_exist_ok=True)
    (project.path / "configs" / "mlxpy.yaml").unlink(missing_ok=True)
    return project


READ = """
import mlxpy as expy
parent_log_dir = './logs/'
reader = expy.Reader(parent_log_dir)
query = "config.optimizer.lr <= 1e-2 & info.status == 'COMPLETE'"
results = reader.search(query_string=query, asPandas = True)
print(results)
results = reader.search(query_string=query)
print(results)
print(results[0]['train.loss'])
"""


def test_the_tutorial_launching_logging_reading_and_resuming(tutorial: Project) -> None:
    done = tutorial.run("main.py")
    assert done.stdout == "Completed training with learing rate: 0.001\n"
    assert (tutorial.path / "configs" / "mlxpy.yaml").exists()

    done = tutorial.run("main.py", "+optimizer.lr=0.01,0.1")
    assert done.stdout.count("Completed training with learing rate: 0.01\n") == 1
    assert done.stdout.count("Completed training with learing rate: 0.1\n") == 1
    assert tutorial.run_ids() == [1, 2, 3]
    assert tutorial.statuses() == ["COMPLETE"] * 3

    shown = """
        metadata/config.yaml metadata/info.yaml metadata/mlxpy.yaml metrics/train.json
        artifacts/Checkpoint/last_ckpt.pkl .keys/metrics.yaml
    """
    for log_id in (1, 2, 3):
        assert all(tutorial.file(log_id, name).is_file() for name in shown.split())
    logged = rows(tutorial.file(1, "metrics/train.json"))
    assert [(row["epoch"], row["iter"]) for row in logged] == [
        (epoch, iteration) for epoch in range(2) for iteration in range(15)
    ]
    assert logged[-1]["loss"] < logged[0]["loss"]
    assert tutorial.yaml(1, "config") == {
        "seed": None,
        "model": {"num_layers": 4},
        "optimizer": {"lr": 0.001},
        "num_epoch": 2,
    }
    assert tutorial.info(1)["log_dir"] == str(tutorial.path / "logs" / "1")

    tutorial.write("read.py", READ)
    shown = tutorial.run("read.py", env={"COLUMNS": "100"}).stdout
    frame, table = shown.split("\n\n[2 rows x 33 columns]\n")
    assert frame.splitlines()[0].split() == ["info.log_id", "...", "train.loss"]
    assert [line.split()[1] for line in frame.splitlines()[1:]] == ["1", "2"]
    _, header, _, *lines, _, count, losses = table.splitlines()
    assert [cell.strip() for cell in header.split("|")[1:-1]] == [
        "info.log_id", "info.status", "config.optimizer.lr", "...", "train.epoch", "train.iter", "train.loss",
    ]  # fmt: skip
    assert [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines] == [
        ["1", "COMPLETE", "0.001", "...", *["LAZYLOADING"] * 3],
        ["2", "COMPLETE", "0.01", "...", *["LAZYLOADING"] * 3],
    ]
    assert count == "[2 runs x 33 columns, 27 not shown]"
    assert json.loads(losses) == [row["loss"] for row in logged]

    shutil.copy(tutorial.path / "main_resuming.py", tutorial.path / "main.py")
    done = tutorial.run("main.py", "+mlxpy.logger.forced_log_id=1", "+num_epoch=4")
    assert done.stdout.startswith("Starting from epoch 2\nCompleted training")
    assert tutorial.run_ids() == [1, 2, 3]
    continued = rows(tutorial.file(1, "metrics/train.json"))
    assert continued[:30] == logged
    assert [row["epoch"] for row in continued[30:]] == [2] * 15 + [3] * 15
    assert tutorial.yaml(1, "config.1")["num_epoch"] == 2


def test_the_tutorial_seeding(tutorial: Project) -> None:
    for seed in ("1", "1", "2"):
        tutorial.run("main_seeded.py", f"+seed={seed}")
    first, second, other = (
        tutorial.file(log_id, "metrics/train.json").read_bytes() for log_id in (1, 2, 3)
    )
    assert first == second != other


@pytest.fixture
def digits(project: Project) -> Project:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    shutil.copytree(REPOSITORY / "examples" / "digits", project.path, dirs_exist_ok=True)
    return project


def test_the_digits_go_on_where_they_stopped_and_their_results(digits: Project) -> None:
    forced = ["hydra/callbacks=mlxp_logger", "hydra.callbacks.mlxp_logger.forced_log_id=4"]
    digits.run("train.py", "-m", forced[0], "optimizer.lr=1e-3,1e-2", "epochs=5,3")
    digits.run("train.py", *forced, "optimizer.lr=1e-2", "epochs=5")
    assert digits.statuses() == ["COMPLETE"] * 4
    whole, continued = (digits.file(log_id, "metrics/test.json").read_text() for log_id in (3, 4))
    assert [row["epoch"] for row in map(json.loads, continued.splitlines())] == [*range(5)]
    assert continued == whole
    shown = digits.run("results.py", env={"COLUMNS": "120"}).stdout
    cells = [
        [cell.strip() for cell in line.split("|")[1:4]] for line in shown.splitlines() if "|" in line
    ]
    assert cells == [
        ["info.log_id", "config.optimizer.lr", "config.seed"],
        ["1", "0.001", "0"],
        ["2", "0.001", "0"],
        ["3", "0.01", "0"],
        ["4", "0.01", "0"],
    ]
    accuracies = {
        line.split()[0]: float(line.split()[-1]) for line in shown.splitlines() if line[:2] == "0."
    }
    assert set(accuracies) == {"0.001", "0.010"}
    assert accuracies["0.010"] > 0.9 > accuracies["0.001"] > 0.5
    assert (digits.path / "logs" / "accuracy.png").read_bytes().startswith(b"\x89PNG")
    with Logger(digits.path / "logs", forced_log_id=4) as logger:
        assert logger.load_artifact("confusion").shape == (10, 10)


def test_the_digits_train_without_mlxpys_callback(digits: Project) -> None:
    digits.run("train.py", "epochs=1")
    assert not (digits.path / "logs").exists()


def test_results_of_nothing_say_so(digits: Project) -> None:
    assert "no directory" in digits.run("results.py", exit_code=1).stderr
    (digits.path / "logs").mkdir()
    done = digits.run("results.py", exit_code=1)
    assert done.stderr == "no such runs in logs: train first, with hydra/callbacks=mlxp_logger\n"


@pytest.fixture
def task_spooler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A queue of our own."""
    if not shutil.which("tsp"):
        pytest.skip("no task-spooler on this machine")
    monkeypatch.setenv("TS_SOCKET", str(tmp_path / "queue"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    yield
    subprocess.run(["tsp", "-K"], check=True)


@pytest.fixture(scope="module")
def site_of_scheduler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the package of the example, installed."""
    place = tmp_path_factory.mktemp("scheduler")
    source, site = place / "source", place / "site"
    shutil.copytree(REPOSITORY / "examples" / "custom_scheduler", source)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(site), str(source)], check=True)
    return site


@pytest.fixture
def scheduler_of_ones_own(site_of_scheduler: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(site_of_scheduler))


@pytest.mark.usefixtures("task_spooler", "scheduler_of_ones_own")
def test_a_sweep_by_a_scheduler_of_ones_own(project: Project) -> None:
    shutil.copytree(REPOSITORY / "examples" / "tutorial", project.path, dirs_exist_ok=True)
    queue = ["+mlxpy.use_scheduler=True", "+mlxpy.scheduler.name=tsp"]
    assert project.run("main.py", *queue).stdout == "Submitted 1 job to the cluster queue!\n"
    project.write(
        "app.py",
        """
        import hydra, mlxpy
        @hydra.main(config_path=None, version_base="1.3")
        def main(cfg): mlxpy.get_logger().log_metrics({"x": cfg.x}, "train")
        main()
        """,
    )
    project.run("app.py", "-m", "hydra/launcher=mlxp_tsp", "+x=4")
    subprocess.run(["tsp", "-w", "1"], check=True)  # the last; one runs at a time
    assert project.statuses() == ["COMPLETE"] * 2
    assert project.file(1, "log.stdout").read_text().startswith("Completed training")
    assert project.info(2)["scheduler"]["name"] == "TaskSpoolerScheduler"


STATES = """
import subprocess, time
from pathlib import Path
from mlxpy_core._scheduling._find_scheduler import find_scheduler

scheduler = find_scheduler("tsp")
give_up = time.monotonic() + 60

def submit(command):
    script = Path(f"{command.replace(' ', '_')}.sh").absolute()
    script.write_text(f"#!/bin/sh\\n{command}\\n")
    script.chmod(0o755)
    return scheduler.submit(script)

def wait_for(*words):
    while (found := [state.value for _, state in sorted(scheduler.states(jobs).items())]) != list(words):
        assert time.monotonic() < give_up, found
        time.sleep(0.1)

jobs = [submit(command) for command in ("exit 0", "exit 3", "kill -9 $$", "exec sleep 50", "exit 4")]
wait_for("COMPLETE", "FAILED", "KILLED", "RUNNING", "SUBMITTED")
subprocess.run(scheduler.cancel_command([jobs[4], jobs[3]]), check=True, capture_output=True)
wait_for("COMPLETE", "FAILED", "KILLED", "KILLED")
"""


@pytest.mark.usefixtures("task_spooler", "scheduler_of_ones_own")
def test_what_became_of_jobs_of_a_scheduler_of_ones_own(project: Project) -> None:
    project.path.joinpath("states.py").write_text(STATES)
    project.run("states.py")
