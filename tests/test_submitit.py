"""Executors of submitit as schedulers, its own and another package's, and what its programs find in jobs."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
from conftest import REPOSITORY, Project, ended, need_cluster, reconciled, wait_until
from sweepers import BEST, BEST_FILE, BEST_SWEEPER

from hydra_plugins.mlxpy._launching import _sbatch
from mlxpy_core import MlxpyError, find_scheduler
from mlxpy_core._scheduling import _submitit

LAUNCHER = ["-m", "hydra/launcher=mlxp_submitit"]


def on(executor: str) -> str:
    return f"hydra.launcher.cluster={executor}"


@pytest.fixture(params=["local", "slurm", "oar"])
def executor(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name != "local":
        need_cluster(name)
    return name


def test_the_versions_whose_private_names_are_used() -> None:
    # Who installs another one looks at the tests below, and at those of the options of submitit_slurm.
    assert f"submitit {version('submitit')}" in str(_sbatch.__doc__)
    assert f"submitit {version('submitit')}" in str(_submitit.__doc__)


@pytest.mark.smoke
def test_the_directives_that_submitit_writes() -> None:
    options = {
        "timeout_min": 90, "mem_gb": 1.5, "nodes": 1, "gpus_per_node": 0, "comment": "it's", "signal_delay_s": 30,
        "additional_parameters": {"mail_type": "END", "exclusive": True},
    }  # fmt: skip
    assert _sbatch.sbatch_directives(options) == [
        """--comment='it'"'"'s'""", "--exclusive", "--gpus-per-node=0", "--mail-type=END", "--mem=1536MB",
        "--nodes=1", "--signal=USR2@30", "--time=90",
    ]  # fmt: skip


def test_a_sweep_of_any_executor(app: Project, executor: str) -> None:
    app.write(BEST_FILE, BEST)
    waits = [
        "hydra.launcher.wait=true",
        "hydra.launcher.poll_interval_s=1",
        "hydra.launcher.timeout_min=5",
    ]
    done = app.run("main.py", *LAUNCHER, on(executor), BEST_SWEEPER, "lr=1,2", *waits)
    assert "Submitted 2 jobs to the cluster queue!\n" in done.stdout
    assert "Best value: 0\n" in done.stdout
    assert app.statuses() == ["COMPLETE"] * 2
    for log_id in (1, 2):
        assert app.file(log_id, "log.stdout").read_text() == f"lr is {log_id}\n"
        assert app.file(log_id, "log.stderr").read_text() == "to stderr\n"
        assert app.info(log_id)["scheduler"]["name"] == f"submitit:{executor}"
        assert "#SUBMITIT timeout_min: 5\n" in app.file(log_id, "script.sh").read_text()
    assert app.job_id(1) != app.job_id(2)
    assert app.file(1, "array").exists() == (executor != "local")
    if executor == "local":  # all have the same script
        by_hand = subprocess.run([app.file(2, "script.sh")], capture_output=True, text=True, check=True)
        assert by_hand.stdout == "lr is 2\n"
        assert [attempt["status"] for attempt in app.info(2)["attempts"]] == ["COMPLETE"] * 2


@pytest.mark.long("local", "oar")
def test_what_becomes_of_jobs(app: Project, executor: str) -> None:
    app.run("main.py", *LAUNCHER, on(executor), "fail=kill", "seconds=0,600")
    wait_until(lambda: reconciled(app) == ["KILLED", "RUNNING"])
    app.mlxpy("cancel", "--yes", "2")
    cancelled = "KILLED" if executor == "oar" else "INTERRUPTED"
    wait_until(lambda: reconciled(app) == ["KILLED", cancelled])


@pytest.mark.long("local", "oar")
def test_runs_go_on_and_are_made_again(app: Project, executor: str) -> None:
    app.run("main.py", *LAUNCHER, on(executor), "lr=1,2", "fail=true", "hydra.launcher.timeout_min=5")
    wait_until(lambda: app.statuses() == ["FAILED"] * 2)
    first = app.job_id(2)
    assert app.mlxpy("resubmit", "2")[0] == "Submitted 1 job to the cluster queue!\n"
    out, told = app.mlxpy("rerun", "2", "fail=false", "lr=3")
    assert (out, told.splitlines()[-1]) == (
        "Submitted 1 job to the cluster queue!\n",
        "Run 3 makes run 2 again.",
    )

    def attempts() -> list[list[str]]:
        infos = [app.info(log_id) for log_id in (1, 2, 3)]
        return [[attempt["status"] for attempt in info["attempts"]] for info in infos]

    wait_until(lambda: attempts() == [["FAILED"], ["FAILED", "FAILED"], ["COMPLETE"]])
    assert app.job_id(2) != first
    assert app.file(2, "log.stdout").read_text() == "lr is 2\n" * 2
    assert app.file(3, "log.stdout").read_text() == "lr is 3\n"
    assert app.info(3)["scheduler"]["name"] == f"submitit:{executor}"
    here = app.mlxpy("rerun", "2", "fail=false", "--here")[1]
    assert "Run 4 makes run 2 again." in here
    assert app.info(4)["status"] == "COMPLETE"


def test_a_job_comes_back_as_often_as_submitit_lets_it(app: Project) -> None:
    need_cluster("slurm")
    app.run(
        "main.py",
        *LAUNCHER,
        on("slurm"),
        "seconds=600",
        # Slurm itself sends the signal 90 s before the end, or up to a minute earlier still.
        "hydra.launcher.timeout_min=5",
        "hydra.launcher.max_num_timeout=1",
    )

    def attempts() -> list[str]:
        return [attempt["status"] for attempt in app.info()["attempts"]]

    for earlier in ([], ["INTERRUPTED"]):
        # Slurm may keep it waiting for minutes where other jobs wait, too.
        wait_until(lambda: attempts() == [*earlier, "RUNNING"], 300)  # noqa: B023  # within its turn
        subprocess.run(["scancel", "--signal=USR2", app.job_id(1)], check=True)
    scheduler = find_scheduler("submitit:slurm")
    wait_until(lambda: scheduler.states([app.job_id(1)]).get(app.job_id(1)) == "FAILED")
    assert attempts() == ["INTERRUPTED", "INTERRUPTED"]


SLOW_SBATCH = """#!/bin/sh
touch asked
while [ ! -e answer ]; do sleep 0.05; done
exec {sbatch} --hold "$@"
"""


def test_ctrl_c_does_not_break_off_what_the_queue_has_begun_to_take(app: Project) -> None:
    need_cluster("slurm")
    sbatch = app.write("bin/sbatch", SLOW_SBATCH.format(sbatch=shutil.which("sbatch")))
    sbatch.chmod(0o755)
    path = {"PATH": f"{sbatch.parent}{os.pathsep}{os.environ['PATH']}"}
    with app.start("main.py", *LAUNCHER, on("slurm"), env=path, start_new_session=True) as process:
        wait_until(lambda: (app.path / "asked").exists())
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to sbatch, too
        app.write("answer", "")
        _, told = process.communicate(timeout=60)
    assert told == "mlxpy: interrupted: 1 job stays in the queue (to cancel: mlxpy cancel 1)\n"
    assert process.returncode == 130
    subprocess.run(["scancel", app.job_id(1)], check=True)


def test_debug_runs_here(app: Project) -> None:
    app.write("main.py", "import submitit\n" + (app.path / "main.py").read_text().replace(
        '"lr is"', 'submitit.JobEnvironment(), "lr is"'
    ))  # fmt: skip
    done = app.run("main.py", *LAUNCHER, on("debug"), "lr=2")
    assert done.stdout == "Ran 1 job on this machine: run 1.\n"
    assert re.match(
        r"JobEnvironment\(job_id=\d+\.1, .* lr is 2\n", app.file(1, "log.stdout").read_text()
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "submitit knows no executor '': give debug, local, oar, slurm\n"),
        (
            [on("local"), "hydra.launcher.tasks_per_node=2"],
            "submitit:local starts one task for each job: leave tasks_per_node out (nothing was",
        ),
        (
            [on("slurm"), "+hydra.launcher.parameters.partition=moon"],
            "submitit:slurm refused: sbatch: error: ",
        ),
    ],
    ids=["no executor", "tasks", "partition"],
)
def test_what_is_refused(app: Project, options: list[str], message: str) -> None:
    need_cluster("slurm")
    done = app.run("main.py", *LAUNCHER, "lr=1,2", *options, exit_code=1)
    assert done.stderr.startswith(f"mlxpy: {message}")
    assert done.stderr.count("\n") == 1


def test_parameters_that_an_executor_does_not_have(tmp_path: Path) -> None:
    need_cluster("slurm")
    scheduler = find_scheduler("submitit:slurm")
    script = tmp_path / "script.sh"
    for head, message in {
        "#SUBMITIT partitio: x\n": r"refused: Unavailable parameter\(s\): \['partitio'\] Valid parameters are:",
        "#SUBMITIT partition\n": r"takes parameters such as 'timeout_min: 10', not \['partition'\]",
    }.items():
        script.write_text(head)
        with pytest.raises(MlxpyError, match=f"submitit:slurm {message}"):
            scheduler.submit(script)
    assert scheduler.array_directives(2, 1) == ["array_parallelism: 1"]
    need_cluster("oar")
    with pytest.raises(
        MlxpyError, match="submitit:oar cannot bound how many jobs of an array run at once"
    ):
        find_scheduler("submitit:oar").array_directives(2, 1)


RANKS = """
    import os, hydra, mlxpy, submitit

    @hydra.main(config_path=None, version_base="1.3")
    def main(cfg):
        job = submitit.JobEnvironment()
        torch = submitit.helpers.TorchDistributedEnvironment().export()
        mlxpy.get_logger().log_metrics({
            "job": job.job_id, "rank": torch.rank, "local_rank": torch.local_rank, "size": torch.world_size,
            "nodes": job.num_nodes, "node": job.node, "hosts": str(job.hostnames), "master": os.environ["MASTER_ADDR"],
            "port": torch.master_port, "folder": str(job.paths.folder),
        }, "env")

    main()
"""


def test_programs_of_submitit_find_their_ranks(project: Project) -> None:
    need_cluster("slurm")
    project.write("main.py", RANKS)
    project.run(
        "main.py",
        "-m",
        "hydra/launcher=mlxp_slurm",
        "hydra.launcher.nodes=2",
        "hydra.launcher.tasks_per_node=2",
    )
    wait_until(lambda: ended(project))
    files = ["metrics/env.json", *(f"metrics/.ranks/{rank}/env.json" for rank in (1, 2, 3))]
    places = [project.file(1, name) for name in files]
    wait_until(lambda: all(place.exists() and place.read_text().endswith("\n") for place in places))
    found = [json.loads(place.read_text()) for place in places]
    assert [(one["rank"], one["local_rank"], one["node"]) for one in found] == [
        (0, 0, 0),
        (1, 1, 0),
        (2, 0, 1),
        (3, 1, 1),
    ]
    of_all = {name: {one[name] for one in found} for name in found[0]}
    assert of_all["size"] == {4}
    assert of_all["nodes"] == {2}
    assert of_all["job"] == {project.job_id(1)}
    assert of_all["folder"] == {str(project.path / "logs/1")}
    assert len(of_all["hosts"]) == len(of_all["master"]) == len(of_all["port"]) == 1
    assert str(of_all["hosts"]).count("n") == 2


@pytest.mark.long  # the page is run by test_doc_pages
def test_the_guide_for_who_comes_from_submitit(project: Project) -> None:
    need_cluster("slurm")
    guide = (REPOSITORY / "docs/from-submitit.md").read_text()
    program, commands = (
        re.findall(rf"```{kind}[^\n]*\n(.*?)```", guide, re.DOTALL) for kind in ("python", "sh")
    )
    project.write("main.py", program[0])
    before, after = (shlex.split(command)[1:] for command in commands[0].splitlines())
    assert [one for one in after if one not in before] == ["hydra/launcher=mlxp_slurm"]
    project.run(*before, env={"HYDRA_FULL_ERROR": "1"})
    outputs = project.path.glob("multirun/*/*/.submitit/*/*_log.out")
    printed = sorted(
        line for path in outputs for line in path.read_text().splitlines() if line.startswith("lr")
    )
    assert project.run(*after).stdout == "Submitted 2 jobs to the cluster queue!\n"
    wait_until(lambda: ended(project))
    now = [project.file(log_id, "log.stdout").read_text() for log_id in (1, 2)]
    assert [line.partition(" in job ")[0] for line in printed] == [
        "lr 1: task 0 of 1",
        "lr 2: task 0 of 1",
    ]
    assert now == [f"lr {log_id}: task 0 of 1 in job {project.job_id(log_id)}\n" for log_id in (1, 2)]
    # Each option of the one is one of the other, with an effect in the same line.
    options = {re.sub(r"=.*", "", word) for word in after if word.startswith("hydra.launcher.")}
    script = project.file(1, "script.sh").read_text()
    assert options == {"hydra.launcher.timeout_min", "hydra.launcher.cpus_per_task"}
    assert re.findall("^#SBATCH (--(?:time|cpus-per-task)=.*)", script, re.MULTILINE) == [
        "--cpus-per-task=1",
        "--time=10",
    ]
