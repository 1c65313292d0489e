"""Programs that only look like ranks of one run: each experiment is a run of its own."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import GitProject, Project, need_cluster

from mlxpy_core._runs._ranks import claim_of_this_process, doubt_of_this_process
from mlxpy_core._tracking._placement import say_that_ranks_submit

CALLBACK = "hydra/callbacks=mlxp_logger"
PROGRAM = """
    import hydra, mlxpy
    @hydra.main(version_base=None, config_path=None)
    def main(config):
        logger = mlxpy.get_logger()
        logger.log_metrics({"x": config.get("x", 0)}, "train")
    main()
"""
ADDRESS = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
# The shell that srun --pty gives.
STEP = {
    "SLURM_JOB_ID": "77", "SLURM_CLUSTER_NAME": "c", "SLURM_STEP_ID": "0", "SLURM_PROCID": "0",
    "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_LAUNCHER_PORT": "40001",
}  # fmt: skip


class Programs(Project):
    """A project whose programs run beside and after one another."""

    def together(self, *commands: Sequence[str], env: dict[str, str], ranks: bool = True) -> list[str]:
        """Runs commands at once, as ranks 0, 1, ... unless told otherwise; gives their standard error."""
        started = []
        for rank, command in enumerate(commands):
            variables = {**env, "RANK": str(rank)} if ranks else env
            started.append(self.start(*command, env=variables))
        errors = []
        for process in started:
            stdout, stderr = process.communicate(timeout=60)
            assert process.returncode == 0, stdout + stderr
            errors.append(stderr)
        return errors

    def rows(self, log_id: int, rank: int = 0) -> Any:
        folder = f"metrics/.ranks/{rank}" if rank else "metrics"
        return [json.loads(line) for line in self.file(log_id, f"{folder}/train.json").open()]

    def runs(self) -> list[list[int]]:
        """Gives for each run the ranks that have logged to it."""
        assert set(self.statuses()) == {"COMPLETE"}
        return [
            [
                *([0] if self.file(log_id, "metrics/train.json").exists() else []),
                *sorted(int(path.name) for path in self.file(log_id, "metrics/.ranks").glob("*")),
            ]
            for log_id in self.run_ids()
        ]


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    project = Programs(tmp_path)
    project.write("main.py", PROGRAM)
    project.write("other.py", PROGRAM)
    return project


# Variables.


@pytest.mark.smoke
@pytest.mark.smoke_long
def test_commands_in_the_shell_of_a_step_are_runs_of_their_own(programs: Programs) -> None:
    programs.run("main.py", "-m", CALLBACK, "+x=3,4", env=STEP)
    programs.together(*[["main.py", CALLBACK]] * 2, env=STEP, ranks=False)
    assert programs.runs() == [[0]] * 4
    assert [programs.rows(log_id)[0]["x"] for log_id in range(1, 5)] == [3, 4, 0, 0]


def started_with(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    """Has this process look as if it had been started with these variables."""
    monkeypatch.setattr("mlxpy_core._runs._ranks.environment_at_start", lambda: variables)


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"RANK": "", "WORLD_SIZE": ""}, None),
        ({"WORLD_SIZE": ""}, None),
        ({"WORLD_SIZE": "2"}, None),
        ({"RANK": "1"}, None),
        ({"RANK": "0", "WORLD_SIZE": "1"}, None),
        ({"RANK": "abc", "WORLD_SIZE": "2"}, "RANK=abc and WORLD_SIZE=2 name no rank"),
        ({"RANK": "1", "WORLD_SIZE": "abc"}, "RANK=1 and WORLD_SIZE=abc name no rank"),
        ({"RANK": "-1", "WORLD_SIZE": "2"}, "RANK=-1 and WORLD_SIZE=2 name no rank"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK=2 and WORLD_SIZE=2 name no rank"),
        (
            {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": ""},
            "RANK=1 and WORLD_SIZE=2 come without MASTER_ADDR and MASTER_PORT, where ranks meet",
        ),
        (
            {"SLURM_PROCID": "4", "SLURM_STEP_NUM_TASKS": "4"},
            "SLURM_PROCID=4 and SLURM_STEP_NUM_TASKS=4 name no rank",
        ),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, None),
        ({"LOCAL_RANK": "x", "WORLD_SIZE": "2"}, None),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": ""}, None),
        ({"PMI_RANK": "1", "PMI_SIZE": "x"}, None),
        ({"PMIX_RANK": "1"}, None),
    ],
    ids=str,
)
def test_variables_that_name_no_rank(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], sentence: str | None
) -> None:
    started_with(monkeypatch, **{**ADDRESS, **variables})
    assert claim_of_this_process() is None
    assert doubt_of_this_process() == sentence


@pytest.mark.parametrize(
    ("rank", "sentence"),
    [({"RANK": "abc"}, "RANK=abc and WORLD_SIZE=2 name no rank"), ({}, "")],
    ids=str,
)
def test_a_run_says_which_variables_it_does_not_believe(
    programs: Programs, rank: dict[str, str], sentence: str
) -> None:
    done = programs.run("main.py", CALLBACK, env={**ADDRESS, "WORLD_SIZE": "2", **rank})
    assert sentence in done.stderr
    assert done.stderr.count("\n") == bool(sentence)
    assert programs.runs() == [[0]]


def test_a_program_that_sets_the_variables_itself(programs: Programs) -> None:
    own = "import os\nos.environ.update(RANK='{}', WORLD_SIZE='2', MASTER_ADDR='::1', MASTER_PORT='1')\n"
    for rank in (0, 1):
        programs.write(f"rank{rank}.py", own.format(rank) + (programs.path / "main.py").read_text())
        programs.run(f"rank{rank}.py", CALLBACK)
    programs.run("rank1.py", "-m", CALLBACK, "+x=1,2")
    assert programs.runs() == [[0]] * 4


def test_a_program_of_a_copy_that_sets_the_variables_itself(tmp_path: Path) -> None:
    project = GitProject(tmp_path / "project")
    own = "import os\nos.environ.update(RANK='1', WORLD_SIZE='2', MASTER_ADDR='::1', MASTER_PORT='1')\n"
    program = project.write("main.py", PROGRAM)
    program.write_text(own + program.read_text())
    project.write(".gitignore", "logs\n.workdir\n")
    project.commit()
    project.run("main.py", "hydra/callbacks=[mlxp_logger,mlxp_git]")
    assert project.statuses() == ["COMPLETE"]


def test_variables_of_a_shell_that_starts_jobs(
    programs: Programs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    variables = {**ADDRESS, "RANK": "1", "WORLD_SIZE": "2"}
    launched = ["main.py", "-m", "hydra/launcher=mlxp_local", "+x=1"]
    sentence = "this is rank 1, and each rank submits jobs of its own: RANK=1 and WORLD_SIZE=2 in the"
    assert sentence in programs.run(*launched, env=variables).stderr
    assert programs.runs() == [[0]]
    started_with(monkeypatch, **{**variables, "RANK": "0"})
    say_that_ranks_submit()
    started_with(monkeypatch, **variables)
    monkeypatch.setenv("MLXPY_RANKS", "off")
    say_that_ranks_submit()
    assert capsys.readouterr().err == ""
    monkeypatch.delenv("MLXPY_RANKS")
    say_that_ranks_submit()
    assert sentence in capsys.readouterr().err


# By hand.


def test_a_launch_by_hand(programs: Programs) -> None:
    env = {**ADDRESS, "WORLD_SIZE": "2"}
    errors = programs.together(*[["main.py", CALLBACK, "+x=1"]] * 2, env=env)
    believed = "RANK=1 and WORLD_SIZE=2 in the environment, and rank 0 has the same command"
    assert errors[0] == ""
    assert errors[1].startswith(f"mlxpy: this is rank 1 of run 1: {believed}")
    assert errors[1].endswith("; MLXPY_RANKS=off makes each process a run of its own\n")
    assert programs.runs() == [[0, 1]]
    assert programs.rows(1, 1) == [{"x": 1}]


def test_the_same_command_again_by_hand_waits_for_its_own_rank_0(programs: Programs) -> None:
    env = {**ADDRESS, "WORLD_SIZE": "2"}
    programs.run("main.py", CALLBACK, env={**env, "RANK": "0"})
    with programs.start("main.py", CALLBACK, env={**env, "RANK": "1"}) as rank_1:
        programs.run("main.py", CALLBACK, env={**env, "RANK": "0"})
        _, stderr = rank_1.communicate(timeout=60)
    assert rank_1.returncode == 0, stderr
    assert programs.runs() == [[0], [0, 1]]


def test_experiments_that_only_share_an_address(programs: Programs) -> None:
    env = {**ADDRESS, "WORLD_SIZE": "2"}
    hold = ["hydra.callbacks.mlxp_logger.name=hold.Hold"]
    programs.write("hold.py", HOLD)
    commands = [["main.py", CALLBACK, f"+x={x}", *hold] for x in range(2)]
    errors = programs.together(*commands, env={**env, "HOLD": "2"})
    assert programs.runs() == [[0]] * 2
    sentence = "this is a run of its own, not rank 1 of another: rank 0 has another command"
    assert errors[1] == f"mlxpy: {sentence}\n"


# Keeps rank 0's run open until there are so many.
HOLD = """
    import glob, os, time, mlxpy
    class Hold(mlxpy.Logger):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            while len(glob.glob(f"{self.log_dir}/../[0-9]*")) < int(os.environ["HOLD"]):
                time.sleep(0.01)
"""


def test_a_rank_without_rank_0_is_told_what_it_waits_for(programs: Programs) -> None:
    env = {**ADDRESS, "RANK": "1", "WORLD_SIZE": "2", "MLXPY_PATIENCE_S": "0.1"}
    done = programs.run("main.py", CALLBACK, env=env, exit_code=1)
    believed, off = "RANK=1 and WORLD_SIZE=2 in the environment", "makes each process a run of its own"
    waits = f"this waits for rank 0, since it is rank 1: {believed}; MLXPY_RANKS=off {off}"
    failed = f"the process of rank 0 has not started a run in {programs.path}/logs within 0.1 s: look at what it printed"
    assert done.stderr == f"mlxpy: {waits}\nmlxpy: {failed}\n"
    programs.run("main.py", CALLBACK, env={**env, "MLXPY_RANKS": "off"})
    assert programs.runs() == [[0]]


# Launchers.


def srun(programs: Programs, *command: str, tasks: int = 2) -> None:
    need_cluster("slurm")
    subprocess.run(["srun", "-n", str(tasks), *command], cwd=programs.path, check=True, timeout=90)


PYTHON = f"{sys.executable} main.py {CALLBACK}"


@pytest.mark.long
def test_each_task_of_a_step_is_an_experiment(programs: Programs) -> None:
    srun(programs, "bash", "-c", f"{PYTHON} +x=$SLURM_PROCID", tasks=3)
    assert programs.runs() == [[0]] * 3
    assert sorted(programs.rows(log_id)[0]["x"] for log_id in (1, 2, 3)) == [0, 1, 2]


def test_each_task_of_a_step_has_several_experiments(programs: Programs) -> None:
    # The last has more of them than the first.
    loop = (
        f"for x in $(seq $SLURM_PROCID); do {PYTHON} +x=$SLURM_PROCID$x; done; {PYTHON} +x=$SLURM_PROCID"
    )
    srun(programs, "bash", "-c", loop)
    assert programs.runs() == [[0]] * 3


def test_a_task_that_starts_when_the_run_of_rank_0_has_ended(programs: Programs) -> None:
    ended = "grep -qs COMPLETE logs/1/metadata/info.yaml"
    waiting = f"until [ $SLURM_PROCID = 0 ] || {ended}; do sleep 0.1; done"
    programs.write("task.sh", f"{waiting}\n{PYTHON} +x=1\n")
    srun(programs, "bash", "task.sh")
    assert programs.runs() == [[0], [0]]


def test_a_task_that_is_late_for_the_run_that_it_was_given(programs: Programs) -> None:
    run = ["main.py", CALLBACK, "hydra.callbacks.mlxp_logger.forced_log_id=1"]
    step = {**STEP, "SLURM_STEP_NUM_TASKS": "2"}
    for restart in ("0", "1"):  # as of a job that was put back into the queue
        for rank in ("0", "1"):
            programs.run(*run, env={**step, "SLURM_RESTART_COUNT": restart, "SLURM_PROCID": rank})
        assert programs.runs() == [[0, 1]]
        assert [attempt["status"] for attempt in programs.info()["attempts"]] == ["COMPLETE"] * (
            int(restart) + 1
        )
        assert programs.rows(1, rank=1) == programs.rows(1) == [{"x": 0}] * (int(restart) + 1)


def test_a_step_whose_rank_0_fails_before_its_run(programs: Programs) -> None:
    fails = f"{sys.executable} -c 'raise SystemExit(0)'"
    script = f"if [ $SLURM_PROCID = 0 ]; then {fails}; else {PYTHON} +x=$SLURM_PROCID; fi"
    srun(programs, "bash", "-c", script, tasks=3)
    assert programs.runs() == [[0]] * 2


def test_a_step_whose_tasks_write_to_directories_of_their_own(programs: Programs) -> None:
    programs.write("hold.py", HOLD.replace("{self.log_dir}/../[0-9]*", "logs?/1"))
    own = "hydra.callbacks.mlxp_logger.parent_log_dir=logs$SLURM_PROCID"
    hold = "hydra.callbacks.mlxp_logger.name=hold.Hold"  # rank 0 runs until all others do
    srun(programs, "bash", "-c", f"HOLD=2 {PYTHON} {own} {hold}")
    assert [programs.run_ids(f"logs{task}") for task in range(2)] == [[1]] * 2


def test_a_step_whose_tasks_do_not_see_one_another(programs: Programs) -> None:
    if subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "true"]).returncode:
        pytest.skip("no PID namespace can be had on this machine")
    # Rank 0 takes longer than the others need to look around.
    program = "import os, time\ntime.sleep(4 * (os.environ['SLURM_PROCID'] == '0'))\n"
    (programs.path / "main.py").write_text(program + (programs.path / "main.py").read_text())
    srun(programs, "unshare", "--pid", "--fork", "--mount-proc", *PYTHON.split())
    assert programs.runs() == [[0, 1]]


def test_a_step_runs_several_programs_one_after_the_other(programs: Programs) -> None:
    programs.write("all.sh", f"set -e\n{PYTHON} +x=2\n{PYTHON} +x=2\n")  # others: the next test
    srun(programs, "bash", "all.sh")
    assert programs.runs() == [[0, 1]] * 2
    assert [programs.rows(log_id, 1)[0]["x"] for log_id in (1, 2)] == [2, 2]


def test_a_step_in_which_rank_0_prepares_something(programs: Programs) -> None:
    prepare = PYTHON.replace("main", "other")
    programs.write("all.sh", f"[ $SLURM_PROCID = 1 ] || {prepare}\n{PYTHON} +x=1\n")
    srun(programs, "bash", "all.sh")
    assert programs.runs() == [[0], [0, 1]]


def test_a_step_of_several_programs_at_once(programs: Programs) -> None:
    other = PYTHON.replace("main", "other")
    programs.write("programs.conf", f"0 {PYTHON}\n1 {other}\n")
    srun(programs, "--multi-prog", "programs.conf")
    assert programs.runs() == [[0]] * 2


def test_an_allocation_and_a_script_of_the_users_own(programs: Programs) -> None:
    need_cluster("slurm")
    options = {"cwd": programs.path, "check": True, "timeout": 90}
    subprocess.run(["salloc", "-n", "2", *PYTHON.split()], **options)
    programs.write("job.sh", f"#!/bin/sh\n{PYTHON}\n")
    subprocess.run(["sbatch", "--wait", "-n", "2", "--output=out", "job.sh"], **options)
    assert programs.runs() == [[0]] * 2


def mpirun(programs: Programs, *command: str) -> None:
    if not shutil.which("mpirun"):
        pytest.skip("no mpirun on this machine")
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    environment = {**os.environ, **root}
    line = ["mpirun", "--oversubscribe", *command]
    subprocess.run(line, cwd=programs.path, env=environment, check=True, timeout=90)


def test_ranks_of_mpirun_are_one_run(programs: Programs, times: Callable[[int, int], int]) -> None:
    launches = times(1, 2)
    for _ in range(launches):
        mpirun(programs, "-n", "2", *PYTHON.split())
    assert programs.runs() == [[0, 1]] * launches


def test_experiments_of_mpirun(programs: Programs) -> None:
    mpirun(programs, "-n", "2", "bash", "-c", f"{PYTHON} +x=$OMPI_COMM_WORLD_RANK")
    assert programs.runs() == [[0]] * 2


@pytest.mark.long
def test_programs_of_mpirun(programs: Programs) -> None:
    other = PYTHON.replace("main", "other").split()
    mpirun(programs, "-n", "1", *PYTHON.split(), ":", "-n", "1", *other)
    assert programs.runs() == [[0]] * 2


# As mpiexec of MPICH: it tells its launches apart by nothing but itself.
MPIEXEC = """
    import os, subprocess, sys
    ranks = [
        subprocess.Popen(
            [sys.executable, *sys.argv[1:]], env={**os.environ, "PMI_RANK": str(rank), "PMI_SIZE": "2"}
        )
        for rank in range(2)
    ]
    sys.exit(any([rank.wait() for rank in ranks]))
"""


def test_a_launch_of_mpirun_whose_rank_0_fails_before_its_run(programs: Programs) -> None:
    mpirun(programs, "-n", "1", "true", ":", "-n", "1", *PYTHON.split())
    assert programs.runs() == [[0]]


def test_two_launches_of_mpich_at_once(programs: Programs) -> None:
    programs.write("mpiexec.py", MPIEXEC)
    programs.together(*[["mpiexec.py", "main.py", CALLBACK]] * 2, env={}, ranks=False)
    assert programs.runs() == [[0, 1]] * 2
