"""A run is more than its number: a process never writes into the directory of another run."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Cluster, Project, ended, wait_until

# Logs before and after somebody has done something to its directory, which it waits for.
PROGRAM = """
    import os, sys, time
    import mlxpy

    logger = mlxpy.Logger("logs", config={"who": sys.argv[1]})
    logger.log_metrics({"who": sys.argv[1]}, "train")
    if len(sys.argv) > 2:
        print("ready", flush=True)
        sys.stdin.readline()
    logger.log_metrics({"who": sys.argv[1]}, "train")
    logger.log_metrics({"who": sys.argv[1]}, "test")
    logger.log_checkpoint({"who": sys.argv[1]})
    logger.log_artifact(sys.argv[1], "note", "text")
    assert logger.load_checkpoint() == {"who": sys.argv[1]}
    print(logger.log_dir, logger.log_id)
"""


def rows(run: Path, log_name: str) -> list[str]:
    return [
        json.loads(line)["who"] for line in (run / f"metrics/{log_name}.json").read_text().splitlines()
    ]


def files_of(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}


def started(project: Project) -> "subprocess.Popen[str]":
    project.write("program.py", PROGRAM)
    process = project.start("program.py", "old", "wait", stdin=subprocess.PIPE)
    assert process.stdout.readline() == "ready\n"
    return process


def end_of(process: "subprocess.Popen[str]") -> tuple[str, str]:
    stdout, stderr = process.communicate("\n", timeout=60)
    assert process.returncode == 0, stderr
    return stdout, stderr


@pytest.mark.parametrize("place", ["logs/10", "logs/1-kept", "elsewhere/1"])
def test_a_directory_that_is_moved_is_followed(project: Project, place: str) -> None:
    process = started(project)
    new = project.path / place
    new.parent.mkdir(exist_ok=True)
    (project.path / "logs/1").rename(new)
    stdout, stderr = end_of(process)
    assert stdout == f"{new} 1\n"
    assert stderr == (
        f"mlxpy: the directory of run 1 was moved from {project.path}/logs/1 to {new}: the run goes on\n"
    )
    assert rows(new, "train") == ["old", "old"]
    assert rows(new, "test") == ["old"]
    assert (new / "artifacts/text/note.txt").read_text() == "old"
    info = (new / "metadata/info.yaml").read_text()
    assert f"log_dir: {new}\n" in info
    assert "\nstatus: COMPLETE\n" in info
    assert not (project.path / "logs/1").exists()


def test_logs_that_are_moved_leave_their_place_to_others(project: Project) -> None:
    process = started(project)
    (project.path / "logs").rename(project.path / "old_logs")
    project.run("program.py", "new")
    new = files_of(project.path / "logs/1")
    end_of(process)
    assert files_of(project.path / "logs/1") == new
    assert rows(project.path / "old_logs/1", "train") == ["old", "old"]
    assert project.info(1)["run_id"] != project.info(1, "old_logs")["run_id"]
    assert project.statuses() == project.statuses("old_logs") == ["COMPLETE"]


@pytest.mark.parametrize("taken", [False, True])
def test_a_directory_that_is_removed_ends_the_logging_in_a_sentence(
    project: Project, taken: bool
) -> None:
    process = started(project)
    shutil.rmtree(project.path / "logs")
    if taken:
        project.run("program.py", "new")
    before = files_of(project.path / "logs")
    stdout, stderr = end_of(process)
    [sentence] = stderr.splitlines()
    place = Path(stdout.split()[0])
    assert sentence == (
        f"mlxpy: the directory {project.path}/logs/1 of run 1 was removed or replaced: "
        f"its logging has ended, what follows is in {place}"
    )
    assert files_of(project.path / "logs") == before
    assert rows(place, "test") == ["old"]
    shutil.rmtree(place.parent)


def test_a_log_that_stays_open_is_not_lost_sight_of(project: Project) -> None:
    project.write(
        "program.py",
        """
        import shutil, time
        import mlxpy

        logger = mlxpy.Logger("logs")
        logger.log_metrics({"step": 0}, "train")
        shutil.rmtree("logs")
        while logger.log_dir.startswith("/") and not shutil.os.path.exists(logger.log_dir + "/metrics"):
            logger.log_metrics({"step": 1}, "train")
        """,
    )
    assert (
        "was removed or replaced" in project.run("program.py", env={"TMPDIR": str(project.path)}).stderr
    )


class TestWaitingJobs:
    """Jobs whose directories are removed or taken while they wait in the queue."""

    def submit(self, app: Project, cluster: Cluster, who: str, *options: str) -> None:
        done = app.run("main.py", "-m", f"hydra/launcher={cluster.launcher}", f"text={who}", *options)
        assert done.stdout.startswith("Submitted ")

    def hold(self, cluster: Cluster) -> str:
        held = {"mlxp_slurm": "--hold", "mlxp_oar": "--hold"}[cluster.launcher]
        return f'hydra.launcher.option_cmd=["{held}"]'

    def let_go(self, cluster: Cluster, job_id: str) -> None:
        command = {
            "mlxp_slurm": ["scontrol", "release", job_id],
            "mlxp_oar": ["oarresume", job_id],
        }[cluster.launcher]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    @pytest.mark.long("oar")
    @pytest.mark.parametrize("sweep", [pytest.param("one", marks=pytest.mark.long), "one,two"])
    def test_one_whose_number_is_taken_leaves_the_other_alone(
        self, app: Project, cluster: Cluster, sweep: str
    ) -> None:
        if cluster.launcher == "mlxp_sge":
            pytest.skip("Grid Engine keeps a copy of the script, as Slurm does")
        self.submit(app, cluster, f"old{sweep}".replace(",", ",old"), self.hold(cluster))
        count = len(sweep.split(","))
        old = [app.job_id(log_id) for log_id in range(1, count + 1)]
        shutil.rmtree(app.path / "logs")
        self.submit(app, cluster, f"new{sweep}".replace(",", ",new"))
        wait_until(lambda: ended(app) and len(app.statuses()) == count)
        before = {log_id: files_of(app.path / f"logs/{log_id}") for log_id in app.run_ids()}
        for job_id in old:
            self.let_go(cluster, job_id)
        scheduler = cluster.scheduler()
        final = {"COMPLETE", "FAILED", "KILLED", "INTERRUPTED"}
        wait_until(lambda: {state.value for state in scheduler.states(old).values()} <= final)
        after = {log_id: files_of(app.path / f"logs/{log_id}") for log_id in app.run_ids()}
        for run, written in before.items():
            told = without_what_oar_says(after[run], written) if cluster.launcher == "mlxp_oar" else {}
            assert {**after[run], **told} == written


def without_what_oar_says(after: dict[str, bytes], before: dict[str, bytes]) -> dict[str, bytes]:
    """Takes out what OAR itself writes by the paths that it was given: it finds no such script."""
    sentence = rb"(\S*bash: (line 1: )?\./\.script-r\w+\.sh: No such file or directory\n)?"
    for name in [name for name in after if re.fullmatch(r"array/\d+\.std(out|err)", name)]:
        if name not in before:
            assert re.fullmatch(sentence, after.pop(name))
    assert re.fullmatch(sentence, after["log.stderr"].removeprefix(before["log.stderr"]))
    return {"log.stderr": before["log.stderr"]}


def test_a_script_whose_directory_is_another_runs_does_not_touch_it(app: Project) -> None:
    run_elsewhere = {"PATH": fake_sbatch(app)}
    app.run("main.py", "-m", "hydra/launcher=mlxp_slurm", "text=old", env=run_elsewhere)
    shutil.copy(app.file(1, "script.sh"), app.path / "old.sh")
    run_id = app.info(1)["run_id"]
    shutil.rmtree(app.file(1, "."))
    app.run("main.py", "hydra/callbacks=mlxp_logger", "text=new")
    with open(app.file(1, "log.stdout"), "ab") as log:  # as the scheduler opens it
        before = files_of(app.path / "logs")
        subprocess.run(
            ["sh", app.path / "old.sh"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=True,
            env={**os.environ, "TMPDIR": str(app.path)},
        )
    assert files_of(app.path / "logs") == before
    written = (app.path / f"mlxpy-{run_id}.log").read_text()
    assert "lr is " in written
    assert f"mlxpy: the directory {app.path}/logs/1 of run 1 was moved, removed or replaced" in written
    [place] = re.findall(r"nothing is logged there, what the program writes is in (\S+)$", written, re.M)
    assert Path(place, "metrics/train.json").exists()


def fake_sbatch(app: Project) -> str:
    """Makes a queue that takes jobs and never starts them."""
    for name, answer in {"sbatch": "1", "scontrol": ""}.items():
        app.write(f"bin/{name}", f"#!/bin/sh\necho {answer}\n").chmod(0o755)
    return f"{app.path}/bin:{os.environ['PATH']}"


EIGHT = """
    import os, sys, time
    import mlxpy

    go, number = sys.argv[1], int(sys.argv[2])
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        logger = mlxpy.Logger("logs", forced_log_id=number)
    except mlxpy.MlxpyError as error:
        sys.exit(str(error))
    logger.log_metrics({"who": os.getpid()}, "train")
    sys.stdin.readline()
"""


def test_of_eight_processes_that_start_one_run_exactly_one_does(
    project: Project, times: Callable[[int, int], int]
) -> None:
    project.write("eight.py", EIGHT)
    for number in range(1, times(2, 20) + 1):
        pipes = {"stdin": subprocess.PIPE}
        processes = [project.start("eight.py", "-", str(number), **pipes) for _ in range(8)]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        told = []
        while len(told) < 7:  # the one that runs waits
            for process in [one for one in processes if one not in told]:
                try:
                    process.wait(0.05)
                except subprocess.TimeoutExpired:
                    continue
                told.append(process)
        [runs] = [process for process in processes if process not in told]
        for process in told:
            _, errors = process.communicate()
            assert process.returncode == 1
            assert f"run {number} in " in errors
            assert "wait for its end or stop it before continuing it" in errors
        assert runs.poll() is None
        runs.communicate("\n", timeout=60)
        assert runs.returncode == 0
        info = project.info(number)
        assert [attempt["status"] for attempt in info["attempts"]] == ["COMPLETE"]
        assert info["process_id"] == runs.pid
        assert not list(project.file(number, ".keys").glob("*claim*"))


def test_a_claim_that_a_killed_process_has_left_is_passed_over(project: Project) -> None:
    project.write("die.py", KILLED_WITH_A_CLAIM)
    project.run("die.py", exit_code=-9)
    project.run("-c", "import mlxpy; mlxpy.Logger('logs', forced_log_id=1)")
    assert [attempt["status"] for attempt in project.info(1)["attempts"]] == ["COMPLETE"]


KILLED_WITH_A_CLAIM = """
    import os, signal
    from pathlib import Path
    from mlxpy_core import take_run

    take_run(Path("logs").absolute(), 1)
    os.kill(os.getpid(), signal.SIGKILL)
"""
