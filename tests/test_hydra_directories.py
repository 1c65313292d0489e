"""Which directories runs have that ``hydra/callbacks=mlxp_logger`` makes, and where Hydra's output goes."""

import os
import subprocess

import pytest
from conftest import Project, tree_of

CALLBACK = "hydra/callbacks=mlxp_logger"

APP = """
    import hydra

    @hydra.main(config_path=None, version_base="1.3")
    def main(cfg):
        print("in the task")

    main()
"""


@pytest.fixture
def app(project: Project) -> Project:
    project.write("app.py", APP)
    return project


def test_the_directory_of_a_sweep_is_the_same_in_its_jobs(app: Project) -> None:
    app.run("app.py", "-m", CALLBACK, "+x=1,2", "+shared=${hydra:sweep.dir}")
    [sweep] = app.path.glob("logs/.sweeps/*")
    assert [app.yaml(log_id, "config")["shared"] for log_id in (1, 2)] == [str(sweep)] * 2


@pytest.mark.smoke
@pytest.mark.smoke_long(True)
@pytest.mark.parametrize("runs", [False, True])
def test_a_sweep_of_no_run_leaves_nothing(app: Project, runs: bool) -> None:
    if runs:
        app.run("app.py", CALLBACK)
    before = tree_of(app.path)
    done = app.run("app.py", "-m", CALLBACK, "x=1,2", exit_code=1)
    assert "Could not override 'x'" in done.stderr
    assert tree_of(app.path) == before
    assert (app.path / "logs").exists() == runs
    assert not (app.path / "logs/.sweeps").exists()


def test_an_app_that_changes_directory(project: Project) -> None:
    project.write(
        "app.py",
        """
        import os, hydra, mlxpy
        @hydra.main(config_path=None, version_base="1.3")
        def main(cfg):
            open("here.txt", "w").close()
            os.chdir("/")
            mlxpy.get_logger().log_metrics({"a": 1}, "train")
            mlxpy.get_logger().log_checkpoint(1)
        if __name__ == "__main__": main()
        """,
    )
    for arguments in ([], ["-m", "+x=1"]):
        project.run("app.py", *arguments, CALLBACK, "hydra.job.chdir=true")
    for log_id in (1, 2):
        assert project.file(log_id, "here.txt").exists()
        assert project.file(log_id, "metrics/train.json").exists()
        assert project.info(log_id)["work_dir"] == str(project.path)


@pytest.mark.smoke
@pytest.mark.smoke_long("mine/one", "mine/0")
@pytest.mark.parametrize(
    ("chosen", "arguments"),
    [
        ("mine/one", ["hydra.run.dir=mine/one"]),
        ("mine/0", ["-m", "hydra.sweep.dir=mine", "+x=1"]),
        ("mine/x=1", ["-m", "hydra.sweep.dir=mine", "hydra.sweep.subdir=x\\=${x}", "+x=1"]),
    ],
)
def test_an_output_directory_that_the_user_chose_is_hydras(
    app: Project, chosen: str, arguments: list[str]
) -> None:
    app.run("app.py", *arguments, CALLBACK)
    assert (app.path / chosen / ".hydra").is_dir()
    assert not app.file(1, ".hydra").exists()
    assert app.statuses() == ["COMPLETE"]
    assert sorted(os.listdir(app.path)) == ["app.py", "logs", "mine"]
    assert not (app.path / "logs/.sweeps").exists()


def test_use_run_dir_false_leaves_hydras_output_where_it_was(app: Project) -> None:
    option = "hydra.callbacks.mlxp_logger.use_run_dir=false"
    app.run("app.py", CALLBACK, option)
    app.run("app.py", "-m", CALLBACK, option, "+x=1")
    assert len(list(app.path.glob("outputs/*/*/.hydra"))) == 1
    assert len(list(app.path.glob("multirun/*/*/0/.hydra"))) == 1
    assert app.statuses() == ["COMPLETE"] * 2


def test_a_sweep_dir_that_is_asked_for_early_takes_no_id(app: Project) -> None:
    app.write(
        "early.py",
        """
        from hydra.experimental.callback import Callback
        class Early(Callback):
            def on_multirun_start(self, config, **kwargs): print(config.hydra.sweep.subdir)
            def on_job_start(self, config, **kwargs): print(config.hydra.sweep.subdir)
        """,
    )
    own = "+hydra.callbacks.zz={_target_:early.Early}"
    done = app.run("app.py", "-m", CALLBACK, own, "+x=1,2")
    assert app.run_ids() == [1, 2]
    assert [line for line in done.stdout.splitlines() if line.startswith("/")] == [
        str(app.path / "logs" / "1"),
        str(app.path / "logs" / "2"),
    ]


def test_the_directory_of_runs_is_relative_to_the_command(app: Project) -> None:
    (app.path / "sub").mkdir()
    option = "hydra.callbacks.mlxp_logger.parent_log_dir"
    app.run("../app.py", CALLBACK, f"{option}=../my logs", cwd=app.path / "sub")
    app.run("../app.py", "-m", CALLBACK, f"{option}=../my logs", "+x=1", cwd=app.path / "sub")
    assert app.statuses("my logs") == ["COMPLETE"] * 2


def test_a_forced_id_continues_the_run(app: Project) -> None:
    option = "hydra.callbacks.mlxp_logger.forced_log_id=4"
    app.run("app.py", CALLBACK, option)
    app.run("app.py", CALLBACK, option, "+x=1")
    assert app.run_ids() == [4]
    assert len(app.info(4)["attempts"]) == 2
    assert app.file(4, "metadata/config.1.yaml").read_text() == "{}\n"


@pytest.mark.smoke
@pytest.mark.smoke_long([])
@pytest.mark.parametrize("arguments", [[], ["-m", "+x=1,2"]], ids=["run", "sweep"])
@pytest.mark.parametrize("chosen", [[], ["hydra.run.dir=out", "hydra.sweep.dir=out"]])
def test_a_run_that_cannot_get_its_directory_stops_with_one_sentence(
    app: Project, arguments: list[str], chosen: list[str]
) -> None:
    (app.path / "logs").write_text("a file")
    done = app.run("app.py", *arguments, CALLBACK, *chosen, exit_code=1)
    assert done.stderr == f"mlxpy: cannot make a run directory in {app.path}/logs: Not a directory\n"
    assert "in the task" not in done.stdout


def test_a_forced_id_in_a_sweep_is_refused(app: Project) -> None:
    option = "hydra.callbacks.mlxp_logger.forced_log_id=4"
    done = app.run("app.py", "-m", CALLBACK, option, "+x=1,2", exit_code=1)
    assert done.stderr.startswith("mlxpy: forced_log_id=4 would put all jobs of a sweep into one run")
    assert not (app.path / "logs").exists()


def test_two_runs_at_once_do_not_share_a_directory(app: Project) -> None:
    processes = [app.start("app.py", CALLBACK) for _ in range(2)]
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0, 0]
    assert app.statuses() == ["COMPLETE"] * 2


def test_git_sees_no_results(app: Project) -> None:
    app.run("app.py", CALLBACK)
    subprocess.run(["git", "init", "-q"], cwd=app.path, check=True)
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=app.path, capture_output=True, text=True, check=True
    )
    assert status.stdout == "?? app.py\n"


@pytest.mark.parametrize(
    "place",
    [
        "hydra.run.dir=mine",
        pytest.param("hydra.callbacks.mlxp_logger.use_run_dir=false", marks=pytest.mark.long),
        "+unused=1",
    ],
)
def test_a_refused_continuation_leaves_hydras_files_alone(project: Project, place: str) -> None:
    project.write(
        "app.py",
        """
        import logging, sys
        import hydra
        @hydra.main(version_base=None, config_path=None)
        def main(cfg):
            logging.info("in the task")
            print("started", flush=True)
            sys.stdin.read()
        main()
        """,
    )
    words = ["app.py", CALLBACK, "hydra.callbacks.mlxp_logger.forced_log_id=1", place]
    with project.start(*words, stdin=subprocess.PIPE) as living:
        assert living.stdout
        assert "started\n" in iter(living.stdout.readline, "")
        before = tree_of(project.path)
        done = project.run(*words, "+other=1", exit_code=1)
        assert "is still running on this machine" in done.stderr
        assert tree_of(project.path) == before
        living.communicate()
    assert project.statuses() == ["COMPLETE"]
