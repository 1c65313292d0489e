"""Jobs that wait for others: `hydra.launcher.after`."""

from pathlib import Path

import pytest
from conftest import CLUSTERS, Project, need_cluster, reconciled, wait_until

from mlxpy_core import Scheduler, SubmissionError
from mlxpy_core._scheduling._lsf import LSFScheduler
from mlxpy_core._scheduling._moab import MoabScheduler
from mlxpy_core._scheduling._oar import OARScheduler
from mlxpy_core._scheduling._pbs import PBSScheduler
from mlxpy_core._scheduling._sge import SGEScheduler
from mlxpy_core._scheduling._slurm import SLURMScheduler
from mlxpy_core._scheduling._submitit import submitit_scheduler

# A run that ends when a file is there: it fails where that says so.
APP = """
import os, time
import hydra, mlxpy

@hydra.main(version_base="1.3", config_path=None)
def main(cfg):
    mlxpy.get_logger().log_metrics({"a": 1}, "train")
    gate = cfg.get("gate")
    while gate and not os.path.exists(gate):
        time.sleep(0.1)
    if gate and open(gate).read():
        raise ValueError("as asked")

main()
"""


@pytest.fixture
def app(project: Project) -> Project:
    project.write("main.py", APP)
    return project


def after(*jobs: str) -> list[str]:
    return list(jobs)


@pytest.mark.parametrize(
    ("scheduler", "job_ids", "ok", "anyhow"),
    [
        (
            SLURMScheduler(), after("7", "8_0"),
            ["--dependency=afterok:7:8_0", "--kill-on-invalid-dep=yes"], ["--dependency=afterany:7:8_0"],
        ),
        (OARScheduler(), after("7", "8"), ["-a 7", "-a 8"], ["-a 7", "-a 8"]),
        (SGEScheduler(), after("7", "8.1", "8.2"), ["-hold_jid 7,8"], ["-hold_jid 7,8"]),
        (
            PBSScheduler(), after("7.server", "8[1].server", "8[2].server"),
            ["-W depend=afterok:7.server:8[].server"], ["-W depend=afterany:7.server:8[].server"],
        ),
        (
            LSFScheduler(), after("7", "8[1]"),
            ['-w "done(7) && done(8[1])"', "-ti"], ['-w "ended(7) && ended(8[1])"'],
        ),
        (MoabScheduler(), after("7", "8"), ["-l depend=afterok:7:8"], ["-l depend=afterany:7:8"]),
        (
            submitit_scheduler("slurm"), after("7", "8_0"),
            ['dependency: "afterok:7:8_0"'], ['dependency: "afterany:7:8_0"'],
        ),
    ],
)  # fmt: skip
def test_how_each_scheduler_is_told(
    scheduler: Scheduler, job_ids: list[str], ok: list[str], anyhow: list[str]
) -> None:
    assert scheduler.after_directives(job_ids, ok=True) == ok
    assert scheduler.after_directives(job_ids, ok=False) == anyhow


def test_one_that_cannot() -> None:
    with pytest.raises(SubmissionError, match="submitit:local cannot wait for others: leave after out"):
        submitit_scheduler("local").after_directives(["7"], ok=True)


def test_what_is_refused(app: Project) -> None:
    launcher = ("main.py", "-m", "hydra/launcher=mlxp_oar")
    waiting = app.start("main.py", "hydra/callbacks=mlxp_logger", f"+gate={app.path}/gate")
    wait_until(lambda: app.statuses() == ["RUNNING"])

    def refused(*words: str) -> str:
        return str(app.run(*launcher, *words, exit_code=1).stderr)

    assert "a job of OARScheduler cannot wait for run 1, which is one of no scheduler" in refused(
        "hydra.launcher.after=[1]"
    )
    app.write("gate", "bad")
    assert waiting.wait(60) == 1
    for words, message in {
        "after=1": "a job that waits for run 1, which is FAILED, would never start",
        "after=2": "no run 2 in",
        "after='info.log_id == 5'": "no run in",
        "after_status=good": "hydra.launcher.after_status=good: give ok or any",
    }.items():
        assert message in refused(f"hydra.launcher.{words}")
    assert app.run_ids() == [1]


@pytest.mark.parametrize("fails", [False, True])
def test_the_launcher_of_this_machine_waits(app: Project, fails: bool) -> None:
    earlier = app.start("main.py", "hydra/callbacks=mlxp_logger", f"+gate={app.path}/gate")
    wait_until(lambda: app.statuses() == ["RUNNING"])
    launcher = app.start("main.py", "-m", "hydra/launcher=mlxp_local", "hydra.launcher.after=1")
    wait_until(lambda: app.statuses() == ["RUNNING", "SUBMITTED"])
    assert "waits for  run 1 (RUNNING)\n" in app.mlxpy("show", "2")[0]
    assert app.mlxpy("status")[0].splitlines()[-1].split()[-1] == "1"
    app.write("gate", "bad" if fails else "")
    _, stderr = launcher.communicate(timeout=120)
    assert earlier.wait(60) == int(fails)
    assert app.statuses() == (["FAILED"] * 2 if fails else ["COMPLETE"] * 2)
    if fails:
        assert "nothing is started: the jobs wait for run 1, which is FAILED\n" in stderr
        assert app.info(2)["exception"]["message"] == "it waits for run 1, which is FAILED"
        assert app.info(2)["attempts"] == []
    else:
        first, second = (app.info(log_id)["attempts"][0] for log_id in (1, 2))
        assert first["end"] <= second["start"]
    assert app.info(2)["scheduler"]["after"] == f"1:{app.info(1)['run_id']}"


def check_that_a_queue_waits(app: Project, name: str) -> None:
    need_cluster(name)
    launcher = ("main.py", "-m", f"hydra/launcher={CLUSTERS[name].launcher}")
    gate = Path(app.path, "gate")
    app.run(*launcher, f"+gate={gate}")
    wait_until(lambda: app.statuses() == ["RUNNING"])
    app.run(*launcher, "hydra.launcher.after=1")
    app.run(*launcher, "hydra.launcher.after='info.log_id == 1'", "hydra.launcher.after_status=any")
    gate.write_text("bad")
    wait_until(lambda: reconciled(app) == ["FAILED", "FAILED", "COMPLETE"], 120)
    assert app.info(2)["attempts"] == []
    assert app.info(2)["exception"]["message"] == "it waits for run 1, which is FAILED"
    assert app.info(1)["attempts"][0]["end"] <= app.info(3)["attempts"][0]["start"]


@pytest.mark.parametrize("name", [pytest.param("slurm", marks=pytest.mark.long), "oar"])
def test_a_real_queue_waits(app: Project, name: str) -> None:
    check_that_a_queue_waits(app, name)


@pytest.mark.parametrize("name", ["slurm", pytest.param("oar", marks=pytest.mark.long)])
def test_a_chain_that_waited_in_a_real_queue_is_submitted_again(app: Project, name: str) -> None:
    check_that_a_queue_waits(app, name)
    app.write("gate", "")
    printed, left = app.mlxpy("resubmit", "2")
    assert printed == "Nothing to submit.\n"
    assert "run 2: a job that waits for run 1, which is FAILED, would never start" in left
    app.mlxpy("resubmit", "2", "1")
    wait_until(lambda: reconciled(app) == ["COMPLETE"] * 3, 120)
    assert app.info(1)["attempts"][-1]["end"] <= app.info(2)["attempts"][0]["start"]
