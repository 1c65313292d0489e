"""Ctrl-C at any moment of a sweep: one sentence, and nothing left that is not what it says.

`MLXPY_MOMENTS=20 MLXPY_JOBS=1000 pytest --long tests/test_interrupts.py -s` prints the figures of
docs/reliability.md.
"""

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import CLUSTERS, REPOSITORY, Project, need_cluster

from mlxpy_core import Reader, Scheduler, Status, load_yaml

MOMENTS = int(os.environ.get("MLXPY_MOMENTS", "4"))
JOBS = int(os.environ.get("MLXPY_JOBS", "20"))
APP = """
    import time
    import hydra

    @hydra.main(version_base="1.3", config_path="conf", config_name="config")
    def main(cfg):
        time.sleep(cfg.seconds)

    if __name__ == "__main__":
        main()
"""
# The queues take the jobs, and start none.
HELD = {"slurm": "--hold", "oar": "--hold"}


@dataclass
class Sweep:
    """A command that sweeps, and where its jobs are."""

    project: Project
    arguments: list[str]
    scheduler: Scheduler | None

    def start(self, logs: str, count: int = JOBS) -> "subprocess.Popen[str]":
        self.project.write("app.py", APP)
        self.project.write("conf/config.yaml", "{x: 0, seconds: 0}\n")
        option = "hydra.callbacks.mlxp_logger" if self.basic else "hydra.launcher"
        parent = f"{option}.parent_log_dir={logs}"
        sweep = ["app.py", "-m", *self.arguments, parent, f"x=range({count})"]
        return self.project.start(*sweep, start_new_session=True)

    @property
    def basic(self) -> bool:
        return "hydra/callbacks=mlxp_logger" in self.arguments


@pytest.fixture(params=["basic", "local", "slurm", "oar", "tsp", "submitit"])
def sweep(
    request: pytest.FixtureRequest, project: Project, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Sweep]:
    name = request.param
    if name == "basic":
        yield Sweep(project, ["hydra/callbacks=mlxp_logger"], None)
    elif name == "local":
        local = ["hydra/launcher=mlxp_local", "hydra.launcher.n_jobs=2", "seconds=600"]
        yield Sweep(project, local, None)
    elif name == "tsp":
        with task_spooler(project, monkeypatch) as scheduler:
            yield Sweep(project, ["hydra/launcher=mlxp_tsp"], scheduler)
    elif name == "submitit":
        need_cluster("slurm")
        held = "+hydra.launcher.parameters.additional_parameters={hold: true}"
        launcher = ["hydra/launcher=mlxp_submitit", "hydra.launcher.cluster=slurm", held]
        # Which job is which, squeue says at once; sacct, which submitit asks, a moment later.
        yield Sweep(project, launcher, CLUSTERS["slurm"].scheduler())
    else:
        need_cluster(name)
        launcher = [f"hydra/launcher=mlxp_{name}", f"hydra.launcher.option_cmd=[{HELD[name]}]"]
        yield Sweep(project, launcher, CLUSTERS[name].scheduler())


@contextmanager
def task_spooler(project: Project, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scheduler]:
    """Installs the example of a scheduler of one's own; what is submitted to it waits."""
    if not shutil.which("tsp"):
        pytest.skip("there is no Task Spooler (command tsp)")
    shutil.copy(REPOSITORY / "examples" / "custom_scheduler" / "mlxpy_tsp.py", project.path)
    project.write(
        "mlxpy_tsp-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: mlxpy-tsp\nVersion: 1.0\n"
    )
    project.write("mlxpy_tsp-1.0.dist-info/entry_points.txt", "[mlxpy]\ntsp = mlxpy_tsp\n")
    monkeypatch.setenv("PYTHONPATH", str(project.path))
    monkeypatch.setenv("TS_SOCKET", str(project.path / "socket"))
    monkeypatch.setenv("TS_MAXFINISHED", "10")
    monkeypatch.syspath_prepend(str(project.path))
    subprocess.run(["tsp", "sleep", "1000"], check=True, capture_output=True)
    try:
        from mlxpy_tsp import TaskSpoolerScheduler

        yield TaskSpoolerScheduler()
    finally:
        subprocess.run(["tsp", "-k"], check=False)
        subprocess.run(["tsp", "-K"], check=True)


def done(project: Project, logs: str) -> float:
    """Tells how far a submission is, from 0 to 1: directories are made, then filled."""
    runs = list((project.path / logs).glob("[0-9]*"))
    whole = [run for run in runs if (run / "metadata/info.yaml").exists()]
    return (len(runs) + len(whole)) / 2 / JOBS


def await_moment(sweep: Sweep, logs: str, process: "subprocess.Popen[str]", moment: float) -> None:
    """Returns at a moment of a submission: 0 is its first directory, 1 its last script, then 2 s more."""
    end = time.monotonic() + 60
    while (
        process.poll() is None and done(sweep.project, logs) < min(moment, 1) and time.monotonic() < end
    ):
        time.sleep(0.02)
    time.sleep(max(0, moment - 1) * 2)


def living(group: int) -> list[str]:
    """Lists the commands of a session that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, _, _, session = (path / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(session) == group and state not in "ZX":
                found.append((path / "cmdline").read_text().replace("\0", " "))
    return found


def check_what_is_left(sweep: Sweep, logs: str) -> dict[str, int]:
    """Checks that each run is whole and has the status that it has; returns how many have which."""
    project, scheduler = sweep.project, sweep.scheduler
    statuses = project.statuses(logs)
    ids = project.run_ids(logs)
    assert len(statuses) == len(ids), "a run without info.yaml"
    assert all(project.file(i, "metadata/config.yaml", logs).exists() for i in ids)
    waiting = [i for i, status in zip(ids, statuses, strict=True) if status == "SUBMITTED"]
    if scheduler and waiting:
        notes = [load_yaml(project.file(i, ".keys/job.yaml", logs).read_text()) for i in waiting]
        jobs = [str(note["scheduler_job_id"]) for note in notes]
        assert set(scheduler.states(jobs).values()) == {Status.SUBMITTED}
        assert len(scheduler.states(jobs)) == len(jobs)
        scheduler.cancel(jobs)
    else:
        assert not waiting
    assert "RUNNING" not in statuses
    if ids:
        assert len(Reader(project.path / logs).search()) == len(ids)
    return {status: statuses.count(status) for status in sorted(set(statuses))}


def test_ctrl_c_while_hydra_finds_mlxpy(project: Project) -> None:
    """Before that there is nothing but Python and Hydra."""
    arguments = ["app.py", "-m", "hydra/launcher=mlxp_local", "seconds=600", f"x=range({JOBS})"]
    project.write("app.py", APP)
    project.write("conf/config.yaml", "{x: 0, seconds: 0}\n")
    with project.start("-X", "importtime", *arguments, start_new_session=True) as process:
        assert process.stderr
        while "mlxpy_core" not in process.stderr.readline():
            assert process.poll() is None
        os.killpg(process.pid, signal.SIGINT)
        lines = process.stderr.read().splitlines()
    said = [line for line in lines if not line.startswith("import time:")]
    assert said == ["mlxpy: interrupted: nothing was started"]
    assert process.returncode == 130
    assert not living(process.pid)
    assert not project.run_ids()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_after_the_last_job_a_signal_is_the_programs(project: Project, number: signal.Signals) -> None:
    app = APP.replace(
        "main()\n", 'main()\n        print("after", flush=True)\n        time.sleep(600)\n'
    )
    project.write("app.py", app)
    project.write("conf/config.yaml", "{x: 0, seconds: 0}\n")
    sweep = ["app.py", "-m", "hydra/callbacks=mlxp_logger", "x=range(3)"]
    with project.start(*sweep, start_new_session=True) as process:
        assert process.stdout
        while process.stdout.readline() != "after\n":
            assert process.poll() is None
        os.killpg(process.pid, number)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == -number
    assert ("KeyboardInterrupt" in stderr) is (number == signal.SIGINT)
    assert project.statuses() == ["COMPLETE"] * 3


@pytest.mark.parametrize(
    "handled",
    [
        'end_by_signals("mlxpy: interrupted: gone")',
        'Interruption("mlxpy: interrupted: gone").await_signals([signal.SIGINT])',
    ],
    ids=["between", "within"],
)
def test_ctrl_c_in_a_finalizer_ends_the_program(project: Project, handled: str) -> None:
    """Python drops what is raised there."""
    project.write(
        "app.py",
        f"""
        import signal
        import time
        from mlxpy_core import Interruption, end_by_signals

        class Closed:
            def __del__(self):
                print("ready", flush=True)
                time.sleep(600)

        {handled}
        closed = Closed()
        del closed
        print("the program goes on", flush=True)
        time.sleep(600)
        """,
    )
    with project.start("app.py") as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert stderr == "mlxpy: interrupted: gone\n"
    assert process.returncode == 130


TURNS = [0, *(pytest.param(turn, marks=pytest.mark.long) for turn in range(1, MOMENTS))]


@pytest.mark.long("oar")  # submitted as by the others
@pytest.mark.parametrize("turn", TURNS)
def test_ctrl_c_at_any_moment_of_a_sweep(sweep: Sweep, turn: int) -> None:
    moment = random.Random(f"{sweep.arguments} {turn}").uniform(0, 1.5)
    with sweep.start("logs") as process:
        await_moment(sweep, "logs", process, moment)
        at = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
        took = time.monotonic() - at
    print(f"{sweep.arguments[0]:24} {moment:5.2f} {took:5.2f} s {process.returncode} {stderr.strip()}")
    assert not living(process.pid)
    left = check_what_is_left(sweep, "logs")
    print(" " * 24, left)
    # When it has ended, or but for the program's own end, signals are the program's.
    whole = left == {"COMPLETE": JOBS} if sweep.basic else f"Submitted {JOBS} jobs" in stdout
    if process.returncode != 0 and not whole:
        assert process.returncode == 130, stdout + stderr
        assert re.fullmatch(r"mlxpy: interrupted: [^\n]+\n", stderr), stderr
