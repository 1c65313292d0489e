"""Why runs ended, and second tries with other options of the launcher."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import NOBODY, Project, need_cluster, need_root

from hydra_plugins.mlxpy._launching._new_options import changed_launcher
from mlxpy_core import MlxpyError, Reader, RunDirectory
from mlxpy_core._operations._retrying import retry_runs
from mlxpy_core._scheduling._slurm import SLURMScheduler, reason_of_state

APP = """
import time
import hydra, mlxpy

@hydra.main(version_base="1.3", config_path=None)
def main(cfg):
    mlxpy.get_logger().log_metrics({"a": 1}, "train")
    held = [bytearray(10 * 2**20) for _ in range(cfg.get("pieces", 0))]
    time.sleep(cfg.get("seconds", 0))

main()
"""
# A queue whose only job is in the state that a file says.
COMMANDS = {
    "sbatch": "echo 7",
    "squeue": """
read -r state < "$0.state"
case "$*" in *exit_code*) echo "7|7|$state" ;; *) echo "7|7|${state%|*}" ;; esac""",
    "sacct": "exit 1",
    "scontrol": "exit 1",
}


class Queue(Project):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        for name, text in COMMANDS.items():
            self.write(f"bin/{name}", f"#!/bin/sh\n{text}\n").chmod(0o755)
        self.end("PENDING|0")
        self.write("main.py", APP)
        self.environment = {"PATH": f"{path}/bin{os.pathsep}{os.environ['PATH']}"}

    def end(self, state: str) -> None:
        self.write("bin/squeue.state", f"{state}\n")

    def submit(self, *words: str, **options: Any) -> Any:
        command = ["main.py", "-m", "hydra/launcher=mlxp_slurm", *words]
        return self.run(*command, env=self.environment, **options)

    def command(self, *words: str, **options: Any) -> tuple[str, str]:
        return self.mlxpy(*words, env=self.environment, **options)


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue(tmp_path)


@pytest.mark.parametrize(
    ("state", "exit_code", "reason"),
    [
        ("OUT_OF_MEMORY", "0:125", "OUT_OF_MEMORY"),
        ("CANCELLED by 0", "0:0", "CANCELLED"),
        ("NODE_FAIL", "1:0", "NODE_FAIL"),
        ("PREEMPTED", "0:0", "PREEMPTED"),
        ("FAILED", "3:0", "EXIT_CODE"),
        ("FAILED", "768", "EXIT_CODE"),
        ("FAILED", "9:0", None),  # so sacct has 137, too
        ("FAILED", "0:9", None),
        ("FAILED", "35072", None),
        ("COMPLETED", "0:0", None),
        ("RUNNING", "0:0", None),
    ],
)
def test_what_slurm_says_of_an_end(state: str, exit_code: str, reason: str | None) -> None:
    assert reason_of_state(state, exit_code) == reason


@pytest.mark.parametrize(
    ("option", "before", "typed", "after"),
    [
        ("mem_gb", 8, "*2", 16),
        ("timeout_min", 5, "*1.5", 8),
        ("mem_gb", 8, "12", 12),
        ("mem_per_cpu", "8GB", "*2", "16GB"),
        ("additional_parameters.mem", "1.5G", "*2", "3.0G"),
        ("additional_parameters.time", "01:00:00", "*2", "02:00:00"),
        ("additional_parameters.time", "50:00", "*2", "100:00"),
        ("additional_parameters.time", "1-12:00:00", "*2", "3-00:00:00"),
        ("option_cmd", [], "[--mem]", ["--mem"]),
    ],
)
def test_a_changed_option(option: str, before: Any, typed: str, after: Any) -> None:
    top, _, below = option.partition(".")
    launcher = {"node": "SlurmLauncherNode", "options": {top: {below: before} if below else before}}
    changed, _ = changed_launcher(launcher, {option: typed})
    assert changed["changed"] == {option: after}
    value = changed["options"][top]
    assert (value[below] if below else value) == after


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mem_gbb": "2"}, "hydra.launcher.mem_gbb is no option of this launcher: did you mean mem_gb?"),
        ({"mem_gb": "*2"}, "hydra.launcher.mem_gb has no value to be multiplied: give the new one"),
        ({"mem_gb": "much"}, "hydra.launcher.mem_gb=much: Value 'much' of type 'str' could not"),
        ({"mem_gb": "1,2"}, "hydra.launcher.mem_gb=1,2 is several values: give one"),
        ({"partition": "*2"}, "hydra.launcher.partition=low is no number to be multiplied"),
        ({"timeout_min": "*x"}, "hydra.launcher.timeout_min=*x: give a number above 0 after the *"),
        (
            {"wait": "true"},
            "hydra.launcher.wait is the whole submission's: leave it out, it stays as it was",
        ),
    ],
)
def test_an_option_that_cannot_be_changed_so(change: dict[str, str], message: str) -> None:
    launcher = {"node": "SlurmLauncherNode", "options": {"timeout_min": 1, "partition": "low"}}
    with pytest.raises(MlxpyError, match=re.escape(message)):
        changed_launcher(launcher, change)


def test_runs_out_of_memory_are_given_more(queue: Queue) -> None:
    queue.submit("hydra.launcher.mem_gb=2", "hydra.launcher.timeout_min=10")
    assert "#SBATCH --mem=2GB\n" in queue.file(1, "script.sh").read_text()
    queue.end("OUT_OF_MEMORY|9")
    resubmit = ("resubmit", "info.end_reason == 'OUT_OF_MEMORY'")
    _, error = queue.command(*resubmit, "hydra.launcher.mem_mb=*2", exit_code=1)
    assert "hydra.launcher.mem_mb is no option of this launcher" in error
    printed, _ = queue.command(*resubmit, "hydra.launcher.mem_gb=*2")
    assert printed == "Submitted 1 job to the cluster queue!\n"
    script = queue.file(1, "script.sh").read_text()
    assert "#SBATCH --mem=4GB\n" in script
    assert "#SBATCH --time=10\n" in script
    assert queue.info()["scheduler"]["options"] == "mem_gb=4"
    assert queue.info()["end_reason"] is None


def test_tries_of_a_command_that_looks_now_and_then(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.submit(
        "hydra.launcher.mem_gb=2", "hydra.launcher.timeout_min=10",
        "hydra.launcher.retries={OUT_OF_MEMORY: 1, NODE_FAIL: 1}",
        "hydra.launcher.escalate={mem_gb: 2, timeout_min: 3}",
    )  # fmt: skip
    queue.end("OUT_OF_MEMORY|9")
    assert queue.command("status")[1] == ""
    assert queue.statuses() == ["FAILED"]
    if os.getuid() == 0:  # a run that somebody else has put in the place of this user's
        os.chown(queue.file(1, ".keys/job.yaml"), NOBODY, NOBODY)
        monkeypatch.setenv("PATH", queue.environment["PATH"])
        assert not retry_runs([RunDirectory(queue.path / "logs/1")], SLURMScheduler()).job_ids
        os.chown(queue.file(1, ".keys/job.yaml"), 0, 0)
    assert queue.command("status", "--retry")[1] == "Submitted again: run 1.\n"
    assert queue.statuses() == ["FAILED"]  # what it listed, it asked about: that one ended, too
    script = queue.file(1, "script.sh").read_text()
    assert "#SBATCH --mem=4GB\n" in script  # time was not what it lacked
    assert "#SBATCH --time=10\n" in script
    assert queue.info()["retries"] == {"OUT_OF_MEMORY": 1}
    assert queue.command("status", "--retry")[1] == ""
    queue.command("resubmit", "1")
    queue.end("NODE_FAIL|0")
    assert queue.command("status", "--retry")[1] == "Submitted again: run 1.\n"
    assert queue.info()["retries"] == {"NODE_FAIL": 1}  # who submits it starts anew
    assert "#SBATCH --mem=4GB\n" in queue.file(1, "script.sh").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "hydra.launcher.retries={OOM: 1}",
            "hydra.launcher.retries={'OOM': 1} names no reasons: they are OUT_OF_",
        ),
        ("hydra.launcher.escalate={mem_gb: 2}", "hydra.launcher.mem_gb has no value to be multiplied"),
    ],
)
def test_tries_that_could_not_be_made(queue: Queue, words: str, message: str) -> None:
    done = queue.submit(words, exit_code=1)
    assert message in done.stderr
    assert not (queue.path / "logs").exists()


@pytest.mark.cold
def test_a_launcher_that_waits_gives_a_real_job_more_memory(project: Project) -> None:
    need_cluster("slurm")
    project.write("main.py", APP)
    project.run(
        "main.py", "-m", "hydra/launcher=mlxp_slurm", "+pieces=40", "+seconds=4",
        "+hydra.launcher.additional_parameters.mem=300M", "hydra.launcher.retries={OUT_OF_MEMORY: 1}",
        "hydra.launcher.escalate={additional_parameters.mem: 2}", "hydra.launcher.wait=true",
        "hydra.launcher.poll_interval_s=1",
    )  # fmt: skip
    first, second = project.info()["attempts"]
    assert (first["status"], first["end_reason"]) == ("KILLED", "OUT_OF_MEMORY")
    assert (second["status"], second["options"]) == ("COMPLETE", "additional_parameters.mem=600M")
    shown, _ = project.mlxpy("show", "1")
    assert "KILLED (OUT_OF_MEMORY)" in shown
    assert "COMPLETE, with additional_parameters.mem=600M" in shown


def test_the_kernel_knows_who_was_killed_for_memory(project: Project) -> None:
    need_root()
    group = Path("/sys/fs/cgroup/memory", f"mlxpy-test-{os.getpid()}")
    try:
        group.mkdir()
    except OSError:
        pytest.skip("no cgroup of this machine's first version can be made here")
    try:
        (group / "memory.limit_in_bytes").write_text("150000000")
        project.write("main.py", APP)
        enter = f"echo $$ > {group}/cgroup.procs && exec {sys.executable} main.py"
        options = "hydra/callbacks=mlxp_logger +pieces=40"
        done = subprocess.run(["sh", "-c", f"{enter} {options}"], cwd=project.path, capture_output=True)
        assert done.returncode == -9
        found = Reader(project.path / "logs").search("info.end_reason == 'OUT_OF_MEMORY'")
        assert list(found["info.status"]) == ["KILLED"]
    finally:
        group.rmdir()
