"""``mlxpy resubmit`` and ``mlxpy clean``, on runs that were interrupted and on what runs leave behind."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import printed
from conftest import Cluster, GitProject, Project, reconciled, wait_until

from mlxpy_core import RunDirectory, dump_yaml, load_yaml
from mlxpy_core._io._files import write_whole
from mlxpy_core._operations._cancelling import cancel, plan_cancellation
from mlxpy_core._operations._resubmission import claimed_resubmission, plan_resubmission
from mlxpy_core._runs._run_claims import claim_operation
from mlxpy_core._runs._status import is_final

LOGGER = "hydra/callbacks=mlxp_logger"
GIT = "hydra/callbacks=[mlxp_logger,mlxp_git]"
# Stops where it is told to, once: as if it had been killed there.
MAIN = """
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
import hydra
import mlxpy

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    logger = mlxpy.get_logger()
    try:
        epoch, x = logger.load_checkpoint()
    except FileNotFoundError:
        epoch, x = 0, cfg.start
    while epoch < 10:
        x = (x * 1103515245 + 12345) % 2**31
        logger.log_metrics({"epoch": epoch, "x": x}, "train")
        epoch += 1
        if epoch % 3 == 0:
            logger.log_checkpoint((epoch, x))
        if epoch == cfg.stop and mlxpy.current_run().attempt == 1:
            if cfg.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(600)
    if cfg.fail:
        raise ValueError("as asked")

if __name__ == "__main__":
    main()
"""
CONFIG = "{start: 1, stop: 0, how: kill, fail: false}\n"


@pytest.fixture
def app(repository: GitProject) -> GitProject:
    repository.write("main.py", MAIN)
    repository.write("conf/config.yaml", CONFIG)
    repository.write(".gitignore", "__pycache__\nlogs\n.workdir\nmultirun\n")
    repository.commit()
    return repository


def mlxpy(app: Project, *words: str, exit_code: int = 0) -> tuple[str, str]:
    """Does what `Project.mlxpy` does, in this process."""
    return printed(app.path / "logs", *words, exit_code=exit_code)


def history(app: Project, log_id: int) -> list[Any]:
    lines = app.file(log_id, "metrics/train.json").read_text().splitlines()
    return [json.loads(line) for line in lines]


def undisturbed(start: int) -> list[Any]:
    rows, x = [], start
    for epoch in range(10):
        x = (x * 1103515245 + 12345) % 2**31
        rows.append({"epoch": epoch, "x": x})
    return rows


# Runs go on.


@pytest.mark.parametrize("callbacks", [LOGGER, pytest.param(GIT, marks=pytest.mark.long)])
def test_runs_of_this_machine_go_on(app: GitProject, callbacks: str) -> None:
    app.run("main.py", callbacks, "stop=2", exit_code=-signal.SIGKILL)  # before its first checkpoint
    app.run("main.py", "-m", callbacks, "start=2,3", "stop=8", exit_code=-signal.SIGKILL)
    assert len(history(app, 2)) == 8
    _, errors = app.mlxpy("resubmit", "1-2")
    assert errors == "".join(f"Run {log_id} goes on, here.\n" for log_id in (1, 2))
    assert app.run_ids() == [1, 2]
    for log_id in (1, 2):
        assert history(app, log_id) == undisturbed(log_id)
        info = app.info(log_id)
        assert [attempt["status"] for attempt in info["attempts"]] == ["KILLED", "COMPLETE"]
        assert info["status"] == "COMPLETE"
        assert (info["version_manager"] is None) is (callbacks == LOGGER)
        assert info["work_dir"] == str(app.copies()[0] if callbacks == GIT else app.path)


def test_runs_of_a_local_launcher_go_on(app: GitProject) -> None:
    words = ["hydra/launcher=mlxp_local", "hydra.launcher.env_cmd='export SET=1'"]
    app.write("main.py", MAIN.replace("    while", '    assert os.environ["SET"] == "1"\n    while', 1))
    app.run("main.py", "-m", GIT, *words, "stop=5", exit_code=1)
    assert app.statuses() == ["KILLED"]
    mlxpy(app, "resubmit", "info.status == 'KILLED'")
    assert history(app, 1) == undisturbed(1)
    assert app.statuses() == ["COMPLETE"]


@pytest.mark.long("oar")
def test_jobs_go_on(app: GitProject, cluster: Cluster) -> None:
    app.run("main.py", "-m", GIT, f"hydra/launcher={cluster.launcher}", "start=1,2", "stop=5")
    app.run("main.py", "-m", GIT, f"hydra/launcher={cluster.launcher}", "start=3", "stop=4", "how=wait")
    checkpoint = app.file(3, "artifacts/Checkpoint/checkpoint.pkl")
    wait_until(lambda: checkpoint.exists() and len(history(app, 3)) == 4)
    _, errors = mlxpy(app, "resubmit", "3", exit_code=0)
    assert errors == "Left alone: run 3 is RUNNING: cancel it first.\n"
    mlxpy(app, "cancel", "3", "--yes")
    # The job of a process that has ended may be in the queue for a moment more.
    wait_until(lambda: reconciled(app)[:2] == ["KILLED"] * 2 and is_final(app.info(3)))
    shutil.rmtree(app.copies()[0])
    assert mlxpy(app, "resubmit", "1-3")[0] == "Submitted 3 jobs to the cluster queue!\n"
    assert app.file(1, "array/script.sh").exists()
    wait_until(lambda: app.statuses() == ["COMPLETE"] * 3)
    assert app.run_ids() == [1, 2, 3]
    for log_id in (1, 2, 3):
        assert history(app, log_id) == undisturbed(log_id)
        info = app.info(log_id)
        assert len(info["attempts"]) == 2
        assert info["attempts"][0]["job_id"] != info["attempts"][1]["job_id"]


def test_only_what_has_ended_is_submitted(app: GitProject) -> None:
    app.run("main.py", LOGGER)
    with app.start("main.py", LOGGER, "stop=4", "how=wait", "fail=true") as process:
        wait_until(lambda: app.statuses()[1:] == ["RUNNING"])
        refused = (
            "Left alone: run 1 is COMPLETE (--complete submits it, too).\n"
            "Left alone: run 2 is RUNNING: cancel it first.\n"
        )
        assert mlxpy(app, "resubmit", "1-2") == ("Nothing to submit.\n", refused)
        process.kill()
    assert len(app.info()["attempts"]) == 1
    mlxpy(app, "resubmit", "1-2", "--complete", exit_code=1)
    assert [len(app.info(log_id)["attempts"]) for log_id in (1, 2)] == [2, 2]
    assert app.statuses() == ["COMPLETE", "FAILED"]


@pytest.mark.long("oar")
def test_what_waits_is_not_submitted_again_and_keeps_its_copy(app: GitProject, cluster: Cluster) -> None:
    held = "-h" if cluster.launcher == "mlxp_sge" else "--hold"
    hold = [f"hydra/launcher={cluster.launcher}", f'hydra.launcher.option_cmd=["{held}"]']
    app.run("main.py", "-m", GIT, *hold)
    try:
        in_use = f"Kept: {app.copies()[0]} is in use.\n"
        assert mlxpy(app, "clean", "--yes") == ("Nothing to remove.\n", in_use)
        refused = "Left alone: run 1 is SUBMITTED: cancel it first.\n"
        assert mlxpy(app, "resubmit", "1") == ("Nothing to submit.\n", refused)
    finally:
        mlxpy(app, "cancel", "1", "--yes")
    wait_until(lambda: reconciled(app) == ["INTERRUPTED"])


@pytest.mark.long("oar")
def test_a_scheduler_that_refuses_changes_nothing(app: GitProject, cluster: Cluster) -> None:
    app.run("main.py", "-m", f"hydra/launcher={cluster.launcher}", "stop=5")
    wait_until(lambda: reconciled(app) == ["KILLED"])
    note = app.file(1, ".keys/job.yaml")
    noted = load_yaml(note.read_text())
    good = noted["options"]["option_cmd"]
    noted["options"]["option_cmd"] = [cluster.refused]
    note.write_text(dump_yaml(noted))
    before = app.info()
    _, errors = mlxpy(app, "resubmit", "1", exit_code=1)
    assert re.search(cluster.words, errors)
    assert "(nothing was submitted; run 1 as before)" in errors
    assert app.info() == before
    noted = load_yaml(note.read_text())
    noted["options"]["option_cmd"] = good
    note.write_text(dump_yaml(noted))
    mlxpy(app, "resubmit", "1")
    wait_until(lambda: app.statuses() == ["COMPLETE"])
    assert history(app, 1) == undisturbed(1)


@pytest.mark.long("oar")
def test_a_submission_that_was_broken_off(app: GitProject, cluster: Cluster, tmp_path: Path) -> None:
    # Its client dies with the process that submits, before the queue has the job.
    client = {"mlxp_slurm": "sbatch", "mlxp_oar": "oarsub", "mlxp_sge": "qsub"}[cluster.launcher]
    (tmp_path / "bin").mkdir()
    deadly = tmp_path / "bin" / client
    deadly.write_text("#!/bin/sh\nkill -9 $PPID\n")
    deadly.chmod(0o755)
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    launcher = f"hydra/launcher={cluster.launcher}"
    app.run("main.py", "-m", launcher, exit_code=-signal.SIGKILL, env={"PATH": path})
    output, errors = mlxpy(app, "status")
    assert output.startswith("1 SUBMITTED\n")
    assert "the submission of run 1 was broken off: mlxpy resubmit 1" in errors
    assert mlxpy(app, "resubmit", "1")[0] == "Submitted 1 job to the cluster queue!\n"
    wait_until(lambda: app.statuses() == ["COMPLETE"])
    assert history(app, 1) == undisturbed(1)


# A queue that notes what it is given; what was submitted before the file "later" exists has died.
NOTING = """
import os, pathlib, uuid, mlxpy
FOLDER = pathlib.Path(__file__).parent

class NotingScheduler(mlxpy.Scheduler):
    def submit(self, script):
        with open(FOLDER / "submitted", "a") as file:
            file.write(f"{script.parent.name}\\n")
        return ("later" if (FOLDER / "later").exists() else "died") + uuid.uuid4().hex
    def states(self, job_ids):
        noted = FOLDER / "cancelled"
        cancelled = noted.read_text().split() if noted.exists() else []
        return {job_id: state(job_id, cancelled) for job_id in job_ids}
    def cancel_command(self, job_ids):
        return ["sh", "-c", f'echo "$@" >> {FOLDER}/cancelled', "sh", *job_ids]

def state(job_id, cancelled):
    if job_id in cancelled:
        return mlxpy.Status.INTERRUPTED
    return mlxpy.Status.KILLED if job_id.startswith("died") else mlxpy.Status.SUBMITTED
"""
# A command that waits until others are ready, too.
AT_ONCE = """
import importlib, sys
import mlxpy, mlxpy_core._operations
from mlxpy_core._cli._main import main
importlib.import_module(f"mlxpy_core._cli._commands._{sys.argv[1]}")
print("ready", flush=True)
sys.stdin.readline()
main(sys.argv[1:])
"""


def at_once(project: Project, count: int, *arguments: str) -> list[tuple[str, str]]:
    """Has so many processes do a command at the same moment; returns what they printed."""
    project.write("at_once.py", AT_ONCE)
    processes = [project.start("at_once.py", *arguments, stdin=subprocess.PIPE) for _ in range(count)]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=60) for process in processes]
    assert not any("Traceback" in errors for _, errors in outputs)
    return outputs


def found_out_by_noting(project: Project) -> list[str]:
    """As `found_out`, by a program that finds the `NotingScheduler`, which lies beside it."""
    ((output, _),) = at_once(project, 1, "status", "--json")
    return [row["status"] for row in json.loads(output)]


def submit_to_noting(project: Project, count: int) -> None:
    """Submits so many jobs to a `NotingScheduler`."""
    project.write("noting.py", NOTING)
    project.write(
        "submit.py",
        f"""
        import pathlib, sys
        from mlxpy_core import Job, find_scheduler, launch_of_this_process, submit_jobs, take_run_directory
        runs = [take_run_directory(pathlib.Path("logs").absolute()) for _ in range({count})]
        jobs = [Job(run, {{}}, launch_of_this_process(), [sys.executable, "submit.py"]) for run in runs]
        submit_jobs(find_scheduler("noting.NotingScheduler"), jobs)
        """,
    )
    project.run("submit.py")


def test_each_run_is_submitted_once_by_processes_at_once(
    project: Project, times: Callable[[int, int], int]
) -> None:
    count = times(6, 20)
    submit_to_noting(project, count)
    assert set(found_out_by_noting(project)) == {"FAILED"}
    (project.path / "submitted").unlink()
    project.write("later", "")
    outputs = at_once(project, times(3, 5), "resubmit", f"1-{count}")
    assert (project.path / "submitted").exists(), outputs
    submitted = (project.path / "submitted").read_text().split()
    assert sorted(map(int, submitted)) == list(range(1, count + 1))
    told = [re.search(r"Submitted (\d+) jobs?", output) for output, _ in outputs]
    assert sum(int(match[1]) for match in told if match) == count
    others = [errors for output, errors in outputs if f"Submitted {count} jobs" not in output]
    assert all("Left alone: run " in errors for errors in others)
    assert not list((project.path / "logs").glob("*/.keys/*claim*"))


def test_each_job_is_cancelled_once_by_processes_at_once(
    project: Project, times: Callable[[int, int], int]
) -> None:
    count = times(6, 20)
    project.write("later", "")
    submit_to_noting(project, count)
    jobs = [project.job_id(log_id) for log_id in range(1, count + 1)]
    outputs = at_once(project, times(3, 5), "cancel", f"1-{count}", "--yes")
    assert sorted((project.path / "cancelled").read_text().split()) == sorted(jobs), outputs
    told = [re.search(r"^Cancelled ", output, re.M) for output, _ in outputs]
    left = r"Left alone: (run \d+ (has just been (taken|cancelled) by .*|is INTERRUPTED)|\d+ more)\.\n"
    for (_, errors), did in zip(outputs, told, strict=True):
        assert did or errors, outputs
        assert re.fullmatch(f"({left})*", errors), errors
    assert found_out_by_noting(project) == ["INTERRUPTED"] * count
    assert not list((project.path / "logs").glob("*/.keys/*claim*"))


SLOW_TO_END = """
import signal, sys, mlxpy
logger = mlxpy.Logger("logs")
signal.signal(signal.SIGTERM, lambda *_: print("a signal", flush=True))
print("started", flush=True)
sys.stdin.readline()
"""


def test_what_another_process_has_just_cancelled_gets_no_second_signal(project: Project) -> None:
    project.write("slow.py", SLOW_TO_END)
    run = RunDirectory(project.path / "logs" / "1")

    def goes_on() -> bool:  # until its handler has returned, it is INTERRUPTED
        return project.info(1)["status"] == "RUNNING"

    with project.start("slow.py", stdin=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == "started\n"
        first, second = plan_cancellation([run]), plan_cancellation([run])
        assert cancel(first).runs == [run]
        assert process.stdout.readline() == "a signal\n"
        wait_until(goes_on)
        late = cancel(second)
        assert late.runs == []
        assert late.left == ["run 1 has just been cancelled by another process"]
        assert cancel(plan_cancellation([run])).runs == [run]  # who asks again means it
        assert process.stdout.readline() == "a signal\n"
        assert process.communicate("\n", timeout=60)[0] == ""


def test_processes_at_once_make_a_run_again_as_a_new_one_each(app: GitProject) -> None:
    app.run("main.py", LOGGER)
    outputs = at_once(app, 2, "rerun", "1")
    told = sorted(re.findall(r"^Run .*", "".join(errors for _, errors in outputs), re.M))
    assert told == [f"Run {number} makes run 1 again." for number in (2, 3)]
    assert app.statuses() == ["COMPLETE"] * 3


def test_the_other_process_is_told_who_has_taken_a_run(app: GitProject) -> None:
    app.run("main.py", LOGGER, "fail=true", exit_code=1)
    run = RunDirectory(app.path / "logs" / "1")
    claim = claim_operation(run, "submission")
    told = f"Left alone: run 1 has just been taken by process {os.getpid()} on {socket.gethostname()}.\n"
    assert mlxpy(app, "resubmit", "1") == ("Nothing to submit.\n", told)
    claim.release()
    assert "has just been taken" not in mlxpy(app, "resubmit", "1", exit_code=1)[1]


def test_runs_that_were_submitted_since_they_were_looked_at_are_left(app: GitProject) -> None:
    app.run("main.py", LOGGER, "fail=true", exit_code=1)
    plan = plan_resubmission([RunDirectory(app.path / "logs" / "1")])
    ((run, (earlier, _)),) = plan.here.items()
    mlxpy(app, "resubmit", "1", exit_code=1)
    with claimed_resubmission({run: earlier}) as mine:
        assert mine.here == {}
        assert mine.left == ["run 1 has just been taken by another process"]


# What no run needs is removed.


def age(path: Path) -> None:
    long_ago = time.time() - 7200
    os.utime(path, (long_ago, long_ago))


def test_copies_go_when_their_runs_have_ended(app: GitProject) -> None:
    app.run("main.py", GIT)
    app.write("main.py", f"# another version\n{MAIN}")
    (first,) = app.copies()
    with app.start("main.py", GIT, "stop=4", "how=wait") as process:
        wait_until(lambda: app.statuses()[1:] == ["RUNNING"])
        (second,) = set(app.copies()) - {first}
        output, errors = mlxpy(app, "clean", "--yes")
        assert output == f"{first} (a copy of code)\nRemoved 1.\n"
        assert errors == f"Kept: {second} is in use.\n"
        assert app.copies() == [second]
        process.kill()
    assert mlxpy(app, "clean", "--yes")[0].startswith(f"{second} (a copy of code)\n")
    assert app.copies() == []
    assert mlxpy(app, "clean", "--yes") == ("Nothing to remove.\n", "")
    mlxpy(app, "rerun", "1")
    assert app.copies() == [first]
    assert history(app, 3) == undisturbed(1)


def test_copies_that_hold_more_than_their_commit_stay(app: GitProject) -> None:
    app.write(".gitignore", "__pycache__\nlogs\n.workdir\nresults\ndata\n")
    app.write("data/set.csv", "")
    app.commit()
    app.run("main.py", GIT, "hydra.callbacks.mlxp_git.link=[data]")
    (copy,) = app.copies()
    results = copy / "results/table.csv"  # which git ignores
    results.parent.mkdir()
    results.write_text("")
    assert mlxpy(app, "clean", "--yes") == (
        "Nothing to remove.\n",
        f"Kept: {copy} holds what its commit does not: results/table.csv.\n",
    )
    results.unlink()
    (copy / "main.py").write_text("")
    assert "does not: main.py." in mlxpy(app, "clean", "--yes")[1]
    (copy / "main.py").write_text(MAIN.lstrip())
    shutil.move(app.path / ".git", app.path / ".gone")
    assert f"{copy} is all that is left of commit {copy.name[:12]}" in mlxpy(app, "clean", "--yes")[1]
    shutil.move(app.path / ".gone", app.path / ".git")
    mlxpy(app, "clean", "--yes")
    assert not copy.exists()
    assert (app.path / "data/set.csv").exists()


def test_what_is_no_copy_is_not_removed(app: GitProject, tmp_path: Path) -> None:
    app.run("main.py", GIT)
    info = app.info()
    other = GitProject(tmp_path / "main")  # as a branch of the repository is called
    other.commit()
    info["version_manager"] |= {"safe_copy": str(other.path), "commit_hash": "main"}
    app.file(1, "metadata/info.yaml").write_text(dump_yaml(info))
    assert mlxpy(app, "clean", "--yes") == ("Nothing to remove.\n", "")
    assert other.path.exists()


def test_frozen_configs_and_empty_directories(app: GitProject) -> None:
    app.run("main.py", "-m", "hydra/launcher=mlxp_local")
    logs = app.path / "logs"
    (named,) = (path for path in (logs / ".configs").iterdir() if path.is_dir())
    old, young = logs / ".configs/0123abcd", logs / ".configs/4567cdef"
    for path in (old, young, *(logs / name for name in ("2", "3", "notes", "4", "5"))):
        path.mkdir()
    (old / "config.yaml").write_text("")
    for run in (logs / "4", logs / "5"):  # killed as it began
        write_whole(run / ".keys/claim-1.1/process.yaml", "")
    (logs / "5/main.log").write_text("said before")
    for path in (named, old, *(logs / name for name in ("2", "notes", "4", "5"))):
        age(path)
    expected = f"{old} (a frozen config)\n" + "".join(
        f"{logs}/{name} (a directory of no run)\n" for name in "24"
    )
    refused = "Error: nothing was done: nobody is at the terminal to agree; add --yes\n"
    assert mlxpy(app, "clean", exit_code=1) == (expected, refused)
    assert old.exists()
    assert mlxpy(app, "clean", "--yes") == (f"{expected}Removed 3.\n", "")
    assert not old.exists()
    left = {path.name for path in logs.iterdir()}
    assert {"1", "3", "5", "notes", ".configs"} <= left
    assert not {"2", "4"} & left
    assert named.exists()
    assert young.exists()
