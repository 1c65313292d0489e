"""A program that starts itself again for its other ranks, as Lightning's ddp does: one run a job."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from conftest import GitProject, Project, need_cluster, wait_until

CALLBACK = "hydra/callbacks=mlxp_logger"
# Environment and arguments are those of lightning/fabric/strategies/launchers/subprocess_script.py.
AGAIN = """
    import os, subprocess, sys

    def start_again(size=2):
        if "LOCAL_RANK" in os.environ:
            return []
        os.environ.update(
            MASTER_ADDR="127.0.0.1", MASTER_PORT="29511", NODE_RANK="0", LOCAL_RANK="0",
            WORLD_SIZE=str(size),
        )
        return [start_rank(rank) for rank in range(1, size)]

    def start_rank(rank):
        from hydra.core.hydra_config import HydraConfig
        from hydra.utils import get_original_cwd, to_absolute_path
        command, cwd = [sys.executable, os.path.abspath(sys.argv[0]), *sys.argv[1:]], None
        if HydraConfig.initialized():
            cwd = get_original_cwd()
            command[1] = to_absolute_path(sys.argv[0])
            command += [
                f'hydra.run.dir="{HydraConfig.get().run.dir}"',
                f"hydra.job.name=train_ddp_process_{rank}", "hydra.output_subdir=null",
            ]
        return subprocess.Popen(command, env={**os.environ, "LOCAL_RANK": str(rank)}, cwd=cwd)

    def train(logger, x, steps=5):
        for step in range(steps):
            row = {"rank": int(os.environ["LOCAL_RANK"]), "x": x, "step": step, "pid": os.getpid()}
            logger.log_metrics(row, "train")

    def wait_for(children):
        codes = [child.wait() for child in children]
        assert not any(codes), codes
"""
CALLBACK_APP = """
    import hydra, mlxpy
    from again import start_again, train, wait_for
    @hydra.main(version_base=None, config_path=None)
    def main(config):
        children = start_again()
        train(mlxpy.get_logger(), config.get("x", 0))
        wait_for(children)
        if config.get("fail"):
            raise ValueError("as asked")
        mlxpy.get_logger().log_checkpoint({"epoch": 3})
    if __name__ == "__main__":
        main()
"""
LAUNCH_APP = """
    import mlxpy
    from again import start_again, train, wait_for
    @mlxpy.launch()
    def main(ctx):
        children = start_again()
        train(ctx.logger, ctx.config.get("x", 0))
        wait_for(children)
    if __name__ == "__main__":
        main()
"""


@pytest.fixture
def ddp(project: Project) -> Project:
    return write_programs(project)


def write_programs(project: Project) -> Any:
    project.write("again.py", AGAIN)
    project.write("callback.py", CALLBACK_APP)
    project.write("launched.py", LAUNCH_APP)
    project.write("configs/config.yaml", "{}\n")
    return project


def rows(project: Project, log_id: int, rank: int) -> list[Any]:
    folder = f"metrics/.ranks/{rank}" if rank else "metrics"
    with project.file(log_id, f"{folder}/train.json").open() as file:
        return list(map(json.loads, file))


def check_run(
    project: Project, log_id: int, x: int = 0, size: int = 2, status: str = "COMPLETE"
) -> None:
    """Checks that each rank is a process of its own with all its rows, and that the run is rank 0's."""
    for rank in range(size):
        found = [(row["rank"], row["x"], row["step"]) for row in rows(project, log_id, rank)]
        assert found == [(rank, x, step) for step in range(5)]
    assert len({rows(project, log_id, rank)[0]["pid"] for rank in range(size)}) == size
    (attempt,) = project.info(log_id)["attempts"]
    assert attempt["process_id"] == rows(project, log_id, 0)[0]["pid"]
    assert project.info(log_id)["status"] == status


@pytest.mark.smoke
@pytest.mark.smoke_long
@pytest.mark.parametrize(
    ("command", "log_ids"),
    [
        pytest.param(["callback.py", CALLBACK], [1], marks=pytest.mark.long),
        (["callback.py", CALLBACK, "hydra.callbacks.mlxp_logger.forced_log_id=5"], [5]),
        (["callback.py", "-m", "hydra/launcher=mlxp_local", "+x=3"], [1]),
        pytest.param(["launched.py"], [1], marks=pytest.mark.long),
        (["launched.py", "+x=0,1"], [1, 2]),
    ],
    ids=lambda value: " ".join(map(str, value)),
)
def test_each_job_is_one_run(ddp: Project, command: list[str], log_ids: list[int]) -> None:
    done = ddp.run(*command)
    assert ddp.run_ids() == log_ids
    for log_id in log_ids:
        check_run(ddp, log_id, ddp.yaml(log_id, "config").get("x", 0))
    assert "another attempt" not in done.stderr


@pytest.mark.smoke
def test_other_ranks_join_the_jobs_of_a_sweep_and_leave_the_files_of_hydra_alone(ddp: Project) -> None:
    done = ddp.run("callback.py", "-m", CALLBACK, "+x=0,1")
    assert "another attempt" not in done.stderr
    for log_id in (1, 2):
        check_run(ddp, log_id, log_id - 1)
        assert ddp.file(log_id, ".hydra/overrides.yaml").read_text() == f"- +x={log_id - 1}\n"
    # Nothing else lies among the runs, and nothing beside them.
    assert ddp.run_ids() == [1, 2]
    assert len(list(ddp.path.glob("logs/.sweeps/*"))) == 1
    assert not (ddp.path / "multirun").exists()
    assert not (ddp.path / "outputs").exists()


def test_overrides_that_no_environment_holds(ddp: Project) -> None:
    ddp.write(
        "long.py", CALLBACK_APP.replace("wait_for(children)", "[child.wait() for child in children]")
    )
    done = ddp.run("long.py", "-m", CALLBACK, "+x=1", f"+long='{'x' * 70_000}'")
    assert done.stderr.count("the overrides of that job are too long to be told") == 1
    assert ddp.statuses() == ["COMPLETE"]


def test_other_ranks_start_no_study_of_their_own(ddp: Project) -> None:
    if not find_spec("optuna"):  # to import it takes seconds
        pytest.skip("optuna is not installed")
    checkpoint = 'mlxpy.get_logger().log_checkpoint({"epoch": 3})'
    ddp.write("study.py", CALLBACK_APP.replace(checkpoint, 'return config["x"]'))
    study = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=1", "hydra.sweeper.n_jobs=1"]
    ddp.run("study.py", "-m", CALLBACK, *study, "+x=choice(0,1)")
    assert ddp.run_ids() == [1]
    check_run(ddp, 1, ddp.yaml(1, "config")["x"])


def test_workers_of_joblib_start_themselves_again(ddp: Project) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="no joblib launcher")
    ddp.run("callback.py", "-m", CALLBACK, "hydra/launcher=joblib", "+x=3")
    assert ddp.run_ids() == [1]
    check_run(ddp, 1, x=3)


def test_the_status_is_that_of_rank_0(ddp: Project) -> None:
    program = CALLBACK_APP.replace('if config.get("fail")', "if children")
    ddp.write("fails.py", program)
    ddp.run("fails.py", CALLBACK, exit_code=1)
    check_run(ddp, 1, status="FAILED")
    assert ddp.info()["exception"]["message"] == "as asked"


def test_a_program_of_a_copy_starts_itself_again(tmp_path: Path) -> None:
    project = GitProject(tmp_path / "project")
    write_programs(project).write(".gitignore", "logs\n.workdir\n")
    project.commit()
    project.run("callback.py", "hydra/callbacks=[mlxp_logger,mlxp_git]")
    assert project.run_ids() == [1]
    check_run(project, 1)
    assert len(project.copies()) == 1


@pytest.mark.parametrize("when", ["before its run", "in its run"])
def test_a_program_without_hydra(ddp: Project, when: str) -> None:
    ddp.write(
        "own.py",
        """
        import glob, os, sys, time, mlxpy
        from again import start_again, train, wait_for
        children = start_again() if sys.argv[1] == "before its run" else []
        for x in (0, 1):
            logger = mlxpy.Logger("logs")
            children += start_again()
            train(logger, x)
            # As by the barrier of a real one: the ranks have joined before the run ends.
            while len(glob.glob(logger.log_dir + "/metrics/.ranks/*")) < 1 and children:
                time.sleep(0.01)
            if x:
                wait_for(children)
        """,
    )
    ddp.run("own.py", when)
    assert ddp.run_ids() == [1, 2]
    for log_id in (1, 2):
        check_run(ddp, log_id, log_id - 1)


def test_a_rank_whose_run_ended_before_it_started_does_not_join_it(ddp: Project) -> None:
    ddp.write(
        "late.py",
        """
        import os, subprocess, sys, mlxpy
        logger = mlxpy.Logger("logs")
        if "LOCAL_RANK" not in os.environ:
            environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"}
            environment |= {"LOCAL_RANK": "1", "WORLD_SIZE": "2"}
            logger.close()
            sys.exit(subprocess.run([sys.executable, *sys.argv], env=environment).returncode)
        logger.log_metrics({"late": True}, "train")
        """,
    )
    done = ddp.run("late.py", exit_code=1)
    sentence = f"run 1 in {ddp.path}/logs has ended, of which this process was started as rank 1\n"
    assert done.stderr.endswith(sentence)
    assert ddp.statuses() == ["COMPLETE"]
    assert not ddp.file(1, "metrics").exists()


def test_ranks_that_are_off_have_runs_of_their_own(ddp: Project) -> None:
    ddp.run("callback.py", CALLBACK, "hydra.callbacks.mlxp_logger.ranks=off")
    ddp.run("launched.py", env={"MLXPY_RANKS": "off"})
    assert ddp.run_ids() == [1, 2, 3, 4]
    assert set(ddp.statuses()) == {"COMPLETE"}


def test_a_misspelt_switch_is_refused(ddp: Project) -> None:
    done = ddp.run("callback.py", CALLBACK, env={"MLXPY_RANKS": "none"}, exit_code=1)
    assert done.stderr == "mlxpy: MLXPY_RANKS='none' is neither auto nor off: give one of them\n"
    done = ddp.run("callback.py", CALLBACK, "hydra.callbacks.mlxp_logger.ranks=no", exit_code=1)
    assert done.stderr == "mlxpy: ranks='no' is neither auto nor off: give one of them\n"
    assert ddp.run_ids() == []


def test_a_job_of_slurm_starts_itself_again(ddp: Project) -> None:
    need_cluster("slurm")
    ddp.run("callback.py", "-m", "hydra/launcher=mlxp_slurm", "+x=3")
    wait_until(lambda: ddp.statuses() == ["COMPLETE"])
    check_run(ddp, 1, x=3)


def test_an_interactive_step_of_slurm_starts_itself_again(ddp: Project) -> None:
    need_cluster("slurm")
    # The variables that srun --pty leaves in its shell say rank 0 of two, to every program.
    script = f"[ $SLURM_PROCID = 1 ] || {{ {sys.executable} callback.py {CALLBACK}; }}"
    subprocess.run(["srun", "-n", "2", "sh", "-c", script], cwd=ddp.path, check=True, timeout=60)
    assert ddp.run_ids() == [1]
    check_run(ddp, 1)


LIGHTNING = """
    import warnings
    warnings.filterwarnings("ignore")
    import hydra, lightning, mlxpy, torch
    from torch.utils.data import DataLoader, TensorDataset

    class Model(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)
        def training_step(self, batch, step):
            mlxpy.get_logger().log_metrics({"rank": self.global_rank, "step": step}, "train")
            return self.layer(batch[0]).pow(2).mean()
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    @hydra.main(version_base=None, config_path=None)
    def main(config):
        trainer = lightning.Trainer(
            accelerator="cpu", devices=2, strategy="ddp", max_epochs=1, logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        )
        trainer.fit(Model(), DataLoader(TensorDataset(torch.ones(8, 2))))
        if config.get("x") == 2 and trainer.is_global_zero:
            raise ValueError("as asked")
    if __name__ == "__main__":
        main()
"""


@pytest.mark.long  # the short form is in tests/test_frameworks.py
@pytest.mark.parametrize(("launcher", "jobs"), [("basic", 2), ("mlxp_local", 1)])
def test_lightning_itself(project: Project, launcher: str, jobs: int) -> None:
    if not find_spec("lightning"):
        pytest.skip("lightning (with torch) is not installed")
    project.write("main.py", LIGHTNING)
    swept = ",".join(map(str, range(3 - jobs, 3)))
    project.run("main.py", "-m", CALLBACK, f"hydra/launcher={launcher}", f"+x={swept}", exit_code=1)
    assert project.run_ids() == list(range(1, jobs + 1))
    for log_id in project.run_ids():
        for rank in (0, 1):
            found = [(row["rank"], row["step"]) for row in rows(project, log_id, rank)]
            assert found == [(rank, step) for step in range(4)]
    assert project.statuses() == [*["COMPLETE"] * (jobs - 1), "FAILED"]


# What a rank starts besides.


def test_another_program_of_a_rank_has_a_run_of_its_own(project: Project) -> None:
    project.write("other.py", "import mlxpy\nmlxpy.Logger('logs').log_metrics({'other': 1}, 'other')\n")
    project.write(
        "main.py",
        """
        import subprocess, sys, mlxpy
        logger = mlxpy.Logger("logs")
        logger.log_metrics({"main": 1}, "main")
        subprocess.run([sys.executable, sys.argv[1]], check=True)
        """,
    )
    address = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    ranks = [
        project.start("main.py", "other.py", env={**address, "RANK": str(rank)}) for rank in range(2)
    ]
    for rank in ranks:
        _, stderr = rank.communicate(timeout=60)
        assert rank.returncode == 0, stderr
    found = [
        sorted(str(path.relative_to(project.file(log_id, "."))) for path in files)
        for log_id in project.run_ids()
        for files in [project.file(log_id, "metrics").rglob("*.json")]
    ]
    assert sorted(found) == [
        ["metrics/.ranks/1/main.json", "metrics/main.json"],
        ["metrics/other.json"],
        ["metrics/other.json"],
    ]


def test_a_child_process_that_inherits_the_rank_is_not_that_rank(project: Project) -> None:
    project.write(
        "main.py",
        """
        import multiprocessing, os, mlxpy
        def work():
            with mlxpy.Logger("logs") as logger:
                logger.log_metrics({"child": True}, "child")
        if __name__ == "__main__":
            logger = mlxpy.Logger("logs")
            logger.log_metrics({"rank": os.environ["RANK"]}, "main")
            for method in ("spawn", "fork"):
                child = multiprocessing.get_context(method).Process(target=work)
                child.start()
                child.join()
                assert child.exitcode == 0
        """,
    )
    address = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    ranks = [project.start("main.py", env={**address, "RANK": str(rank)}) for rank in range(2)]
    for rank in ranks:
        _, stderr = rank.communicate(timeout=60)
        assert rank.returncode == 0, stderr
    children = [i for i in project.run_ids() if project.file(i, "metrics/child.json").exists()]
    assert (len(project.run_ids()), len(children)) == (5, 4)


def test_processes_that_a_program_spawns_as_its_ranks_are_one_run(project: Project) -> None:
    project.write(
        "main.py",
        """
        import multiprocessing, os, mlxpy
        def work(rank):
            os.environ.update(RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="::1", MASTER_PORT="1")
            with mlxpy.Logger("logs") as logger:
                logger.log_metrics({"rank": rank}, "train")
                barrier.wait()
        barrier = None
        def start(rank, one):
            global barrier
            barrier = one
            work(rank)
        if __name__ == "__main__":
            context = multiprocessing.get_context("spawn")
            one = context.Barrier(2)
            children = [context.Process(target=start, args=(rank, one)) for rank in range(2)]
            for child in children:
                child.start()
            for child in children:
                child.join()
                assert child.exitcode == 0
        """,
    )
    project.run("main.py")
    assert project.run_ids() == [1]
    assert [rows(project, 1, rank) for rank in range(2)] == [[{"rank": 0}], [{"rank": 1}]]


def test_a_job_that_a_run_submits_is_a_run_of_its_own(ddp: Project) -> None:
    need_cluster("slurm")
    ddp.write(
        "main.py",
        """
        import subprocess, sys, mlxpy
        logger = mlxpy.Logger("logs")
        command = [sys.executable, "callback.py", "-m", "hydra/launcher=mlxp_slurm"]
        subprocess.run(command, check=True)
        """,
    )
    ddp.run("main.py")  # Slurm's jobs inherit the environment of the run
    wait_until(lambda: ddp.statuses() == ["COMPLETE"] * 2)
    check_run(ddp, 2)
