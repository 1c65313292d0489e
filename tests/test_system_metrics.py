"""What the machine does while a run goes on, logged by a thread of its own."""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Project, wait_until

import mlxpy
from mlxpy_core._cli._sizes import size_text
from mlxpy_core._tracking._gpus import Gpus, visible_gpus
from mlxpy_core._tracking._metrics import MetricsWriter
from mlxpy_core._tracking._system_metrics import SystemMetrics, pause_after

OPTION = "hydra.callbacks.mlxp_logger.system_metrics"
APP = """
import os, signal, subprocess, sys, threading, time
import hydra
import mlxpy

def await_rows(count):
    path = os.path.join(mlxpy.get_logger().metrics_dir, "system.json")
    end = time.monotonic() + 60
    while not os.path.exists(path) or open(path).read().count("\\n") < count:
        assert time.monotonic() < end
        time.sleep(0.01)

@hydra.main(version_base="1.3", config_path=None)
def main(cfg):
    exec(cfg.code)

main()
"""
BUSY = "import sys, threading; threading.Thread(target=sys.stdin.read, daemon=True).start()\\nwhile True: pass"


def rows(run: Path) -> list[dict[str, Any]]:
    path = run / "metrics" / "system.json"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def start_code(project: Project, code: str, *options: str, **more: Any) -> Any:
    project.write("app.py", APP)
    callback = ("hydra/callbacks=mlxp_logger", f"{OPTION}=true", f"{OPTION}_interval_s=0.1")
    return project.start("app.py", *callback, *options, f"+code='{code}'", **more)


def run_code(project: Project, code: str, *options: str, exit_code: int = 0, **more: Any) -> str:
    with start_code(project, code, *options, **more) as process:
        stdout, stderr = process.communicate(timeout=100)
    assert process.returncode == exit_code, stdout + stderr
    return str(stderr)


@pytest.mark.cold
def test_processes_memory_and_disk_are_metrics(project: Project) -> None:
    project.write("busy.py", BUSY.replace("\\n", "\n"))
    code = "child = subprocess.Popen([sys.executable, 'busy.py'], stdin=subprocess.PIPE); await_rows(3); child.kill()"
    assert run_code(project, code.replace("'", "\\'")) == ""
    found = rows(project.path / "logs" / "1")
    assert max(row["cpu_percent"] for row in found) > 10
    assert max(row["processes"] for row in found) >= 2
    last = found[-1]
    assert last["memory"] > 10 * 2**20
    assert 0 < last["machine_memory_percent"] < 100
    assert last["disk_free"] > 0
    assert last["seconds"] > found[0]["seconds"]
    table, _ = project.mlxpy("ls", "-c", "system.cpu_percent", "-c", "system.memory")
    assert table.split()[:3] == ["id", "system.cpu_percent", "system.memory"]
    assert size_text(last["memory"]) in table


def test_they_are_not_the_first_metric_that_is_shown(tmp_path: Path) -> None:
    with mlxpy.Logger(tmp_path) as logger:
        logger.log_metrics({"cpu_percent": 3}, "system")
        logger.log_metrics({"loss": 0.5}, "train")
    (shown,) = mlxpy.Reader(tmp_path).search()
    assert "system.cpu_percent" in shown
    assert "train.loss" in Project(tmp_path.parent).mlxpy("ls", "--logs", str(tmp_path))[0]


def test_a_program_of_the_decorator_has_the_same_setting(project: Project) -> None:
    project.write(
        "configs/mlxpy.yaml", "logger: {system_metrics: true, system_metrics_interval_s: 0.1}\n"
    )
    project.write("configs/config.yaml", "{}\n")
    project.write(
        "main.py",
        """
        import os, time
        import mlxpy

        @mlxpy.launch(config_path="configs")
        def main(ctx):
            while not os.path.exists(os.path.join(ctx.logger.metrics_dir, "system.json")):
                time.sleep(0.01)

        main()
        """,
    )
    project.run("main.py")
    assert rows(project.path / "logs" / "1")
    assert project.yaml(1, "mlxpy")["logger"]["system_metrics"] is True


def test_they_are_off_by_default(project: Project) -> None:
    run_code(project, "assert threading.active_count() == 1", f"{OPTION}=false")
    assert not project.file(1, "metrics").exists()


def test_without_psutil_a_sentence_says_so_and_the_program_goes_on(project: Project) -> None:
    project.write("psutil.py", "raise ImportError('no psutil here')\n")
    error = run_code(project, "print(1)")
    assert (
        error == "mlxpy: there will be no system metrics (no psutil here): pip install 'mlxpy[system]'\n"
    )
    assert project.info()["status"] == "COMPLETE"


def test_an_interval_that_is_none(project: Project) -> None:
    error = run_code(project, "print(1)", f"{OPTION}_interval_s=0", exit_code=1)
    assert error == "mlxpy: system_metrics_interval_s=0.0 is no number of seconds: give one above 0\n"


def test_the_end_does_not_wait_for_the_next_row(project: Project) -> None:
    run_code(project, "await_rows(1)", f"{OPTION}_interval_s=100000")
    assert len(rows(project.path / "logs" / "1")) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_reach_the_program(project: Project, number: signal.Signals) -> None:
    with start_code(project, "await_rows(2); time.sleep(100)", f"{OPTION}_interval_s=0.01") as process:
        wait_until(lambda: len(rows(project.path / "logs" / "1")) >= 2)
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode != 0
    assert project.info()["status"] == "INTERRUPTED"


def test_a_fork_is_not_measured_and_may_log(project: Project) -> None:
    project.write(
        "script.py",
        """
        import os, sys, threading, time
        import mlxpy

        logger = mlxpy.Logger("logs", system_metrics=True, system_metrics_interval_s=0.01)
        lock, held, done = logger._run.metrics.lock, threading.Event(), threading.Event()

        def hold():
            with lock:
                held.set()
                done.wait()

        threading.Thread(target=hold).start()
        held.wait()
        child = os.fork()
        if child == 0:
            assert threading.active_count() == 1
            logger.log_metrics({"x": 1}, "child")
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        done.set()
        """,
    )
    project.run("script.py")
    assert (
        next((project.path / "logs/1").glob("metrics/.subprocesses/*/child.json")).read_text()
        == '{"x": 1}\n'
    )


def test_what_goes_wrong_is_told_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def place() -> Path:
        raise OSError("no disk")

    metrics = MetricsWriter(tmp_path / "metrics", tmp_path / ".keys" / "metrics.yaml")
    before = threading.active_count()
    measuring = SystemMetrics(metrics, place, 0.01)
    measuring.start()
    wait_until(lambda: threading.active_count() == before)
    assert capfd.readouterr().err == "mlxpy: there are no system metrics from here on: no disk\n"


def test_a_directory_that_is_moved_is_followed(tmp_path: Path) -> None:
    moved = tmp_path / "moved" / "1"
    moved.parent.mkdir()
    with mlxpy.Logger(tmp_path / "logs", system_metrics=True, system_metrics_interval_s=0.01) as logger:
        wait_until(lambda: rows(Path(logger.log_dir)))
        os.rename(logger.log_dir, moved)
        before = len(rows(moved))
        wait_until(lambda: len(rows(moved)) > before + 1)
    assert not (tmp_path / "logs" / "1").exists()


def test_several_threads_follow_it_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with mlxpy.Logger(tmp_path / "logs") as logger:
        meeting = threading.Barrier(8)

        def locate() -> None:
            meeting.wait()
            logger._run.locate()

        for number in range(20):
            (tmp_path / str(number)).mkdir()
            os.rename(logger.log_dir, tmp_path / str(number) / "1")
            threads = [threading.Thread(target=locate) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    assert capfd.readouterr().err.count("was moved") == 20


def test_a_program_resumes_as_without_them(tmp_path: Path) -> None:
    with mlxpy.Logger(tmp_path) as logger:
        for step in range(3):
            logger.log_metrics({"step": step}, "train")
            logger.log_checkpoint(step, f"after{step}")
    options: dict[str, Any] = {"system_metrics": True, "system_metrics_interval_s": 0.01}
    with mlxpy.Logger(tmp_path, forced_log_id=1, **options) as logger:
        logger.load_checkpoint("after0")
        wait_until(lambda: rows(tmp_path / "1"))
        logger.load_checkpoint("after1")
        logger.log_metrics({"step": 2}, "train")
    train = (tmp_path / "1" / "metrics" / "train.json").read_text().splitlines()
    assert [json.loads(row)["step"] for row in train] == [0, 1, 2]


def test_a_slow_row_is_followed_by_a_longer_pause() -> None:
    assert pause_after(0.001, 10) == 10
    assert pause_after(0.1, 10) == pytest.approx(20)


UUIDS = ["GPU-aa11", "GPU-bb22", "GPU-cc33", ""]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ["GPU-aa11", "GPU-bb22", "GPU-cc33"]),
        ({"CUDA_VISIBLE_DEVICES": "2,0"}, ["GPU-cc33", "GPU-aa11"]),
        ({"CUDA_VISIBLE_DEVICES": "1,9,0"}, ["GPU-bb22"]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-b, MIG-7"}, ["GPU-bb22", "MIG-7"]),
        ({"CUDA_VISIBLE_DEVICES": ""}, []),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, []),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, []),
        ({"CUDA_VISIBLE_DEVICES": "0", "SLURM_JOB_GPUS": "1"}, ["GPU-aa11"]),
        ({"SLURM_JOB_GPUS": "1,2"}, ["GPU-bb22", "GPU-cc33"]),
        ({"SLURM_JOB_GPUS": "4,5,6,7"}, ["GPU-aa11", "GPU-bb22", "GPU-cc33"]),
        ({"SLURM_JOB_GPUS": "0,1", "SLURM_STEP_GPUS": "1"}, ["GPU-bb22"]),
    ],
)
def test_which_gpus_a_program_sees(environment: dict[str, str], expected: list[str]) -> None:
    assert visible_gpus(environment, UUIDS) == expected


class FakeNVML:
    """NVIDIA's library on a machine with two GPUs and a third that the cgroup hides; the second is a MIG."""

    class NVMLError(Exception):
        pass

    def __init__(self, *, driver: bool = True) -> None:
        self.driver = driver

    def nvmlInit(self) -> None:  # noqa: N802  # NVML's name
        if not self.driver:
            raise self.NVMLError("no driver")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802  # NVML's name
        return 3

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802  # NVML's name
        if index == 2:
            raise self.NVMLError("no permission")
        return index

    def nvmlDeviceGetUUID(self, handle: int) -> str:  # noqa: N802  # NVML's name
        return UUIDS[handle]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> int:  # noqa: N802  # NVML's name
        return UUIDS.index(uuid)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:  # noqa: N802  # NVML's name
        if handle == 1:
            raise self.NVMLError("not supported")
        return SimpleNamespace(gpu=87)

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:  # noqa: N802  # NVML's name
        return SimpleNamespace(used=3 * 2**30, total=8 * 2**30)

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:  # noqa: N802  # NVML's name
        if handle == 1:
            raise self.NVMLError("not supported")
        return 250500


def test_gpus_are_measured_as_far_as_they_let(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNVML())
    memory = {"memory": 3 * 2**30, "memory_percent": 37.5}
    assert Gpus({}).sample() == {
        "gpu0_percent": 87,
        "gpu0_power": 250.5,
        **{f"gpu0_{name}": value for name, value in memory.items()},
        **{f"gpu1_{name}": value for name, value in memory.items()},
    }
    monkeypatch.setitem(sys.modules, "pynvml", FakeNVML(driver=False))
    assert Gpus({}).sample() == {}
