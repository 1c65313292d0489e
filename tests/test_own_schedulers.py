"""Schedulers that a user's package brings know their jobs as the built-in ones do."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
from conftest import REPOSITORY, Project, ended, wait_until

from mlxpy_core import Reader

# A queue in a folder: a job is a shell that leaves its exit status there; one that asks for it starts anew.
TINY = r"""
import os, pathlib, subprocess, uuid, mlxpy
FOLDER = pathlib.Path(__file__).with_name("tiny")
JOB = 'cd "$0"; until TINY_ID=$1 "$2"; s=$?; [ ! -e $1.again ]; do rm $1.again; done; echo ${s:-0} > $1.done'

class TinyScheduler(mlxpy.Scheduler):
    job_variable, requeue = "TINY_ID", f'touch "{FOLDER}/$TINY_ID.again"; exit 1'
    def submit(self, script):
        job_id = uuid.uuid4().hex
        subprocess.Popen(["sh", "-c", JOB, FOLDER, job_id, script], start_new_session=True, stdout=-3, stderr=-3)
        return job_id
    def states(self, job_ids):
        codes = {i: int(f.read_text()) for i in job_ids if (f := FOLDER / f"{i}.done").exists()}
        S = mlxpy.Status
        return {i: S.RUNNING if i not in codes else S.KILLED if codes[i] > 128 else
                S.FAILED if codes[i] else S.COMPLETE for i in job_ids}
    def cancel_command(self, job_ids): return ["false"]
    def requeue_directives(self): return []
    def warning_directives(self, seconds): return []
"""
APP = """
    import os, sys, time
    import hydra, mlxpy

    @hydra.main(config_path=None, version_base="1.3")
    def main(cfg):
        logger = mlxpy.get_logger()
        try:
            first = logger.load_checkpoint() + 1
        except FileNotFoundError:
            first = 0
        for step in range(first, 3):
            logger.log_metrics({"step": step}, "train")
            logger.log_checkpoint(step)
            if step == 1 and cfg.get("waits") and first == 0:
                time.sleep(600)

    main()
"""


@pytest.fixture
def tiny(project: Project) -> Project:
    (project.path / "tiny").mkdir()
    project.write("tiny_queue.py", TINY)
    project.write("app.py", APP)
    return project


def submitted(tiny: Project, *overrides: str) -> None:
    program = """
        import sys
        from pathlib import Path
        from mlxpy_core import Job, ScriptOptions, find_scheduler, launch_of_this_process, submit_jobs
        from mlxpy_core import take_run_directory

        run = take_run_directory(Path("logs").absolute())
        parent = f"hydra.callbacks.mlxp_logger.parent_log_dir={run.path.parent}"
        number = f"hydra.callbacks.mlxp_logger.forced_log_id={run.log_id}"
        command = [sys.executable, "app.py", "hydra/callbacks=mlxp_logger", parent, number, *sys.argv[1:]]
        options = ScriptOptions(requeue=True, warn_s=10)
        job = Job(run, {}, launch_of_this_process(), command, options)
        submit_jobs(find_scheduler("tiny_queue.TinyScheduler"), [job])
    """
    tiny.write("submit.py", program)
    tiny.run("submit.py", *overrides)


def waits_in_step_1(tiny: Project) -> bool:
    rows = tiny.file(1, "metrics/train.json")
    checkpoint = tiny.file(1, "artifacts/Checkpoint/checkpoint.pkl")
    return rows.exists() and len(rows.read_text().splitlines()) == 2 and checkpoint.exists()


def status(tiny: Project) -> str:
    """Gives the run's status as a reader shows it who can import the scheduler."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tiny.path))
        patch.delitem(sys.modules, "tiny_queue", raising=False)
        [found] = Reader(tiny.path / "logs").search()["info.status"]
    return str(found)


def test_one_that_is_killed_is_found_out(tiny: Project) -> None:
    submitted(tiny, "+waits=1")
    wait_until(lambda: waits_in_step_1(tiny))
    assert status(tiny) == "RUNNING"
    os.kill(tiny.info(1)["process_id"], signal.SIGKILL)
    wait_until(lambda: (tiny.path / "tiny" / f"{tiny.job_id(1)}.done").exists())
    assert status(tiny) == "KILLED"
    assert tiny.statuses() == ["KILLED"]


def test_a_job_knows_its_id_and_a_warning_signal_puts_it_back(tiny: Project) -> None:
    submitted(tiny, "+waits=1")
    wait_until(lambda: waits_in_step_1(tiny))
    os.kill(tiny.info(1)["process_id"], signal.SIGUSR1)
    wait_until(lambda: ended(tiny))
    attempts = tiny.info(1)["attempts"]
    assert [(one["status"], one["signal"]) for one in attempts] == [
        ("INTERRUPTED", "SIGUSR1"),
        ("COMPLETE", None),
    ]
    scheduler = tiny.info(1)["scheduler"]
    assert scheduler["name"] == "tiny_queue.TinyScheduler"
    ids = {scheduler["scheduler_job_id"], *(one["job_id"] for one in attempts)}
    assert ids == {tiny.job_id(1)}
    rows = tiny.file(1, "metrics/train.json").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [0, 1, 2]


def test_task_spooler_whose_jobs_are_not_told_their_ids(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not shutil.which("tsp"):
        pytest.skip("there is no Task Spooler (command tsp)")
    example = REPOSITORY / "examples" / "custom_scheduler"
    shutil.copy(example / "mlxpy_tsp.py", project.path)
    metadata = project.path / "mlxpy_tsp-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mlxpy-tsp\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[mlxpy]\ntsp = mlxpy_tsp\n")
    monkeypatch.setenv("PYTHONPATH", str(project.path))
    monkeypatch.setenv("TS_SOCKET", str(project.path / "socket"))
    project.write("app.py", APP)
    try:
        project.run("app.py", "-m", "hydra/launcher=mlxp_tsp", "+waits=1")
        wait_until(lambda: waits_in_step_1(project))
        assert project.info(1)["scheduler"]["scheduler_job_id"] is None
        project.mlxpy("ls")
        assert project.statuses() == ["RUNNING"]
        os.kill(project.info(1)["process_id"], signal.SIGKILL)
        subprocess.run(["tsp", "-w", project.job_id(1)], check=False)
        project.mlxpy("ls")
        assert project.statuses()[0] in ("KILLED", "FAILED")
    finally:
        subprocess.run(["tsp", "-K"], check=True)
