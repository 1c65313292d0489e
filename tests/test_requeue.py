"""Runs that are killed, cancelled, put back and submitted again, and have one history all the same."""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from conftest import Project, need_cluster, wait_until

from mlxpy_core import RunDirectory
from mlxpy_core._operations._reconciling import reconcile_runs
from mlxpy_core._runs._info_file import read_info
from mlxpy_core._runs._status import is_final

# Logs rows, checkpoints every few, and resumes; only some ask whether they are to stop.
TRAINING = """
import sys, time
import hydra
import mlxpy

@hydra.main(version_base="1.3", config_path=None)
def main(cfg):
    logger = mlxpy.get_logger()
    try:
        state = logger.load_checkpoint()
    except FileNotFoundError:
        state = {"step": 0, "value": cfg.seed}
    for step in range(state["step"], cfg.steps):
        if cfg.listens and logger.should_stop:
            return
        state = {"step": step + 1, "value": state["value"] * 48271 % 2147483647}
        logger.log_metrics({"step": step, "value": state["value"]}, "train")
        if step % 10 == 0:
            logger.log_metrics({"score": state["value"] / 7}, "eval")
        if step % 7 == 0:
            logger.log_checkpoint(state)
        time.sleep(cfg.pause)
    # Nobody ends before all blows have fallen.
    while len(mlxpy.current_run().info["attempts"]) <= cfg.blows:
        if cfg.listens and logger.should_stop:
            return
        time.sleep(0.05)

main()
"""
STEPS = 120
SIGNAL_BATCH = ["scancel", "--signal=USR2", "--batch"]


@dataclass(frozen=True)
class Blow:
    """What happens to a run that is running.

    Attributes:
        strike: does it, given the run's info.
        comes_back: whether the job is put back into the queue by itself.
    """

    strike: Callable[[dict[str, Any]], object]
    comes_back: bool


def kill(number: signal.Signals) -> Callable[[dict[str, Any]], object]:
    return lambda info: os.kill(info["process_id"], number)


def command(*words: str) -> Callable[[dict[str, Any]], object]:
    return lambda info: subprocess.run(
        [*words, info["scheduler"]["scheduler_job_id"]], check=True, capture_output=True
    )


DEATHS = [Blow(kill(signal.SIGKILL), comes_back=False), Blow(kill(signal.SIGTERM), comes_back=False)]
BLOWS = {
    "slurm": [
        *DEATHS,
        Blow(command("scontrol", "requeue"), comes_back=True),
        Blow(command(*SIGNAL_BATCH), comes_back=True),
    ],
    "oar": [*DEATHS, Blow(command("oardel", "--checkpoint"), comes_back=True)],
}


def rows(run: RunDirectory) -> int:
    try:
        return (run.metrics / "train.json").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def info_of(run: RunDirectory) -> dict[str, Any]:
    return read_info(run) or {"status": "unreadable", "attempts": []}


def settled(runs: list[RunDirectory]) -> bool:
    reconcile_runs(runs)
    return all(is_final(info_of(run)) for run in runs)


@pytest.mark.long("oar")  # that its jobs come back is the next test's, too
@pytest.mark.parametrize("name", list(BLOWS))
def test_blows_leave_one_history(project: Project, name: str, times: Callable[[int, int], int]) -> None:
    need_cluster(name)
    count, rounds = times(2, 8), times(2, 4)
    chance = random.Random(name)
    project.write("main.py", TRAINING)
    seeds = ",".join(str(seed) for seed in range(1, count // 2 + 1))
    settings = [
        f"+steps={STEPS}",
        f"+seed={seeds}",
        "+listens=true,false",
        "hydra.launcher.requeue=true",
    ]
    blown = [f"+blows={rounds}", "+pause=0.03"]
    project.run("main.py", "-m", f"hydra/launcher=mlxp_{name}", *blown, *settings)
    runs = [RunDirectory(project.path / "logs" / str(log_id)) for log_id in range(1, count + 1)]
    left = dict.fromkeys(runs, rounds)
    blows = 0
    again: list[RunDirectory] = []
    # A submission to OAR takes seconds, and each of its runs is submitted five times.
    ask, end = 0.0, time.monotonic() + 600
    while any(left.values()):
        assert time.monotonic() < end, left
        for run in [run for run, more in left.items() if more]:
            info = info_of(run)
            attempt = rounds - left[run] + 1
            if info["status"] != "RUNNING" or len(info["attempts"]) != attempt:
                continue
            if rows(run) < chance.randrange(STEPS * attempt // (rounds + 2)):
                continue
            blow = chance.choice(BLOWS[name])
            blow.strike(info)
            left[run] -= 1
            blows += 1
            if not blow.comes_back:
                again.append(run)
        if again and time.monotonic() > ask:
            if settled(again):
                project.mlxpy("resubmit", *(str(run.log_id) for run in again))
                again = []
            ask = time.monotonic() + 1
        time.sleep(0.05)  # for a moment at random; the processor is for the runs
    assert blows == count * rounds
    if again:
        wait_until(lambda: settled(again))
        project.mlxpy("resubmit", *(str(run.log_id) for run in again))
    wait_until(lambda: project.statuses() == ["COMPLETE"] * count, 300, shown=project.statuses)
    undisturbed = Project(project.path / "undisturbed")
    undisturbed.write("main.py", TRAINING)
    undisturbed.run(
        "main.py", "-m", "hydra/callbacks=mlxp_logger", "+blows=0", "+pause=0", *settings[:3]
    )
    for run in runs:
        assert len(info_of(run)["attempts"]) == rounds + 1
        for log in ("train", "eval"):
            expected = undisturbed.file(run.log_id, f"metrics/{log}.json").read_bytes()
            assert (run.metrics / f"{log}.json").read_bytes() == expected


TIME_LIMITS = {
    # Slurm may send a signal up to a minute before it is due.
    "slurm": ["hydra.launcher.timeout_min=2", "hydra.launcher.signal_delay_s=45"],
    "oar": [
        "hydra.launcher.option_cmd=['-l core=1,walltime=0:0:40']",
        "hydra.launcher.signal_delay_s=25",
    ],
}


@pytest.mark.parametrize("name", list(TIME_LIMITS))
def test_a_job_whose_time_is_nearly_up_puts_itself_back(project: Project, name: str) -> None:
    need_cluster(name)
    project.write("main.py", TRAINING)
    settings = ["+steps=20", "+seed=1", "+listens=true", "+pause=0.03"]
    requeue = [f"hydra/launcher=mlxp_{name}", "hydra.launcher.requeue=true", *TIME_LIMITS[name]]
    project.run("main.py", "-m", *requeue, "+blows=1", *settings)
    (run,) = (RunDirectory(project.path / "logs" / str(log_id)) for log_id in project.run_ids())
    wait_until(lambda: info_of(run)["status"] == "COMPLETE", 240, lambda: info_of(run))
    attempts = info_of(run)["attempts"]
    assert [(one["status"], one["signal"]) for one in attempts] == [
        ("INTERRUPTED", "SIGUSR2"),
        ("COMPLETE", None),
    ]
    same_job = attempts[0]["job_id"] == attempts[1]["job_id"]
    assert same_job is (name == "slurm")  # OAR has it come back as another one
    assert rows(run) == 20


def test_a_job_that_somebody_stops_stays_away(project: Project) -> None:
    need_cluster("slurm")
    project.write("main.py", TRAINING)
    settings = ["+steps=20", "+seed=1", "+listens=true", "+pause=0.03", "+blows=1"]
    project.run("main.py", "-m", "hydra/launcher=mlxp_slurm", "hydra.launcher.requeue=true", *settings)
    run = RunDirectory(project.path / "logs" / "1")
    wait_until(lambda: info_of(run)["status"] == "RUNNING")
    project.mlxpy("cancel", "1", "--yes")
    wait_until(lambda: settled([run]))
    info = info_of(run)
    assert (info["status"], info["signal"], len(info["attempts"])) == ("INTERRUPTED", "SIGTERM", 1)


def test_a_scheduler_without_requeue_says_so(project: Project) -> None:
    project.write("main.py", TRAINING)
    command = [
        "-m",
        "hydra/launcher=mlxp_pbs",
        "hydra.launcher.requeue=true",
        "hydra.launcher.dry_run=true",
    ]
    done = project.run("main.py", *command, exit_code=1)
    assert done.stderr == ("mlxpy: jobs of PBSScheduler cannot put themselves back: leave requeue out\n")
    done = project.run("main.py", *command[:-1], "hydra.launcher.requeue=true", exit_code=1)
    assert (
        "cannot put themselves back: leave requeue out (nothing was submitted; run 1 failed)"
        in done.stderr
    )


def test_a_run_whose_lost_node_lives_is_not_written_by_two(project: Project) -> None:
    """Its job starts again elsewhere while the old process goes on; a job's id stands for its host here."""
    project.write(
        "main.py",
        """
        import os, sys
        import mlxpy
        logger = mlxpy.Logger("logs", forced_log_id=1)
        for step in range(2):
            logger.log_metrics({"step": step, "by": os.getpid()}, "train")
            print("logged", flush=True)
            sys.stdin.readline()
        logger.log_checkpoint("state")
        """,
    )
    job: dict[str, Any] = {"env": {"MLXPY_JOB_ID": "7"}, "stdin": subprocess.PIPE}
    with project.start("main.py", **job) as old:
        assert old.stdout.readline() == "logged\n"
        with project.start("main.py", **job) as new:
            assert new.stdout.readline() == "logged\n"
            _, complaint = old.communicate("\n\n", timeout=60)
            new.communicate("\n\n", timeout=60)
    assert "another attempt at run 1" in complaint
    assert old.returncode == 1
    assert new.returncode == 0
    logged = [json.loads(line) for line in project.file(1, "metrics/train.json").open()]
    assert [(row["step"], row["by"]) for row in logged] == [(0, old.pid), (0, new.pid), (1, new.pid)]
    assert [attempt["status"] for attempt in project.info()["attempts"]] == ["KILLED", "COMPLETE"]
    assert project.info()["process_id"] == new.pid
