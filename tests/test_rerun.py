"""``mlxpy rerun``: runs are made again from their directories, when their code has long moved on."""

import os
import re
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pexpect
import pytest
from conftest import MLXPY, Cluster, GitProject, Project, ended, need_cluster, tree_of, wait_until

GIT = "hydra/callbacks=[mlxp_logger,mlxp_git]"
RULE = "def step(x, noise, lr):\n    return x - lr * (x - noise) * {factor}\n"
MAIN = """
import os
import random
import signal
import sys
import time
import hydra
import mlxpy
from rule import step

def train(cfg, logger):
    random.seed(cfg.seed)
    x = cfg.start
    for epoch in range(20):
        x = step(x, random.random(), cfg.lr)
        logger.log_metrics({"epoch": epoch, "x": x, "lr": cfg.lr}, "train")
    if cfg.wait:
        print("waits", flush=True)
        time.sleep(600)
    if cfg.code:
        sys.exit(cfg.code)

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    train(cfg, mlxpy.get_logger())

if __name__ == "__main__":
    main()
"""
CONFIG = "{seed: 0, lr: 0.1, start: 1.5, wait: false, code: 0}\n"


@pytest.fixture
def app(repository: GitProject) -> GitProject:
    repository.write("main.py", MAIN)
    repository.write("rule.py", RULE.format(factor=1))
    repository.write("conf/config.yaml", CONFIG)
    repository.write(".gitignore", "__pycache__\nlogs\n.workdir\nmultirun\noutputs\n")
    repository.commit()
    return repository


def rerun(project: Project, *words: str, exit_code: int = 0, **options: Any) -> tuple[int, str]:
    """Makes a run again: the new run's number, and what was said on standard error."""
    _, errors = project.mlxpy("rerun", *words, exit_code=exit_code, **options)
    found = re.search(r"^Run (\d+) makes run (\d+) again\.$", errors, flags=re.MULTILINE)
    assert found, errors
    assert found[2] == words[0]
    return int(found[1]), errors


def metrics(project: Project, log_id: int) -> bytes:
    return project.file(log_id, "metrics/train.json").read_bytes()


def rerun_all(project: Project, log_ids: Iterable[int]) -> dict[int, int]:
    with ThreadPoolExecutor(2) as pool:  # as many as there are processors at least
        made = pool.map(lambda log_id: (log_id, rerun(project, str(log_id))), log_ids)
        return {log_id: new for log_id, (new, _) in made}


def move_on(app: GitProject) -> None:
    """Changes the development tree as weeks of work would."""
    app.write("rule.py", RULE.format(factor=7))
    app.write("conf/config.yaml", CONFIG.replace("1.5", "99"))
    app.commit()
    (app.path / "main.py").unlink()
    app.write("rule.py", "broken(\n")
    app.write("new.py", "")


def test_runs_from_dirty_trees_come_out_the_same(
    app: GitProject, times: Callable[[int, int], int]
) -> None:
    each = times(1, 4)
    app.write("rule.py", RULE.format(factor=2))
    app.run("main.py", "-m", GIT, f"seed=range({each})", "lr=0.1,0.2")
    app.write("conf/config.yaml", CONFIG.replace("1.5", "2.5"))
    app.write("rule.py", "from extra import step\n")
    app.write("extra.py", RULE.format(factor=3))  # untracked
    local = ["hydra/launcher=mlxp_local", "hydra.launcher.n_jobs=2"]
    app.run("main.py", "-m", GIT, *local, f"seed=range({each})")
    app.write("extra.py", RULE.format(factor=4))
    places = ["mlxp_logger.parent_log_dir=../logs", "mlxp_git.parent_work_dir=../.workdir"]
    places = [f"hydra.callbacks.{place}" for place in places]
    app.run("../main.py", GIT, "lr=0.3", *places, cwd=app.path / "conf")
    assert len(app.copies()) == 3
    count = 3 * each + 1
    assert app.run_ids() == list(range(1, count + 1))
    assert len({metrics(app, log_id) for log_id in app.run_ids()}) == count
    move_on(app)
    before = app.state()
    again = app.run_ids()[times(2, 0) :]  # a run of a sweep: test_a_module
    made = rerun_all(app, again)
    assert sorted(made.values()) == [count + number for number in range(1, len(again) + 1)]
    for old, new in made.items():
        assert metrics(app, new) == metrics(app, old)
        before_info, info = app.info(old), app.info(new)
        assert info["status"] == "COMPLETE"
        assert info["overrides"] == before_info["overrides"]
        assert info["work_dir"] == before_info["work_dir"]
        assert info["version_manager"] == before_info["version_manager"]
    assert app.state() == before


@pytest.mark.long("oar")
def test_queued_runs_come_out_the_same(app: GitProject, cluster: Cluster) -> None:
    app.write("rule.py", RULE.format(factor=2))
    app.run("main.py", "-m", GIT, f"hydra/launcher={cluster.launcher}", "seed=1,2")
    wait_until(lambda: ended(app))
    move_on(app)
    shutil.rmtree(app.copies()[0])
    assert app.mlxpy("rerun", "2")[0] == "Submitted 1 job to the cluster queue!\n"
    wait_until(lambda: len(app.statuses()) == 3 and ended(app))
    assert metrics(app, 3) == metrics(app, 2)
    assert app.info(3)["scheduler"]["name"] == cluster.name
    here, _ = rerun(app, "3", "lr=0.5", "--here")
    assert app.info(here)["scheduler"] is None
    assert app.yaml(here, "config") == {**app.yaml(2, "config"), "lr": 0.5}


# What else a run may be.


def test_code_that_is_gone_comes_back_from_its_commit_alone(app: GitProject, tmp_path: Path) -> None:
    app.run("main.py", GIT)
    move_on(app)
    shutil.rmtree(app.copies()[0])
    new, errors = rerun(app, "1")
    assert metrics(app, new) == metrics(app, 1)
    assert "config." not in errors
    shutil.rmtree(app.copies()[0])
    shutil.rmtree(app.path / ".git")
    GitProject(app.path)
    app.commit("of another history")
    _, errors = app.mlxpy("rerun", "1", exit_code=1)
    assert errors.startswith(f"Error: the code is gone: {app.path} has no commit")
    assert errors.count("\n") == 1
    shutil.move(app.path / "logs", tmp_path / "logs")
    shutil.rmtree(app.path)
    _, errors = app.mlxpy("rerun", "1", exit_code=1, cwd=tmp_path)
    commit = re.escape(Path(app.path).name)
    assert re.fullmatch(
        rf"Error: the code is gone: there is no repository \S+/{commit}, and no copy of \w{{40}}: clone it there\n",
        errors,
    )
    assert len(list((tmp_path / "logs").glob("[0-9]*"))) == 2


def test_that_changes_were_not_kept_is_told(app: GitProject) -> None:
    app.write("rule.py", RULE.format(factor=2))
    app.run("main.py", GIT, "hydra.callbacks.mlxp_git.on_dirty=ignore")
    new, errors = rerun(app, "1")
    commit = app.git("rev-parse", "HEAD")[:12]
    assert (
        "mlxpy: what may differ: uncommitted changes of its code were not kept: "
        f"this is commit {commit}\n" in errors
    )
    assert metrics(app, new) == metrics(app, 1)


def test_overrides_and_the_exit_code_of_the_program(app: GitProject) -> None:
    app.run("main.py", CALLBACK, "seed=3", "code=3", "+extra=1", exit_code=3)
    new, errors = rerun(app, "1", "seed=4", "lr=0.2", "extra=2", "+more=3", exit_code=3)
    assert app.info(new)["status"] == "FAILED"
    assert app.yaml(new, "config") == {
        "seed": 4, "lr": 0.2, "start": 1.5, "wait": False, "code": 3, "extra": 2, "more": 3,
    }  # fmt: skip
    told = [line.removeprefix("mlxpy: config.") for line in errors.splitlines() if "config." in line]
    assert sorted(told) == [
        "extra was 1 and is 2",
        "lr was 0.1 and is 0.2",
        "more was not there and is 3",
        "seed was 3 and is 4",
    ]
    # What Hydra refuses.
    for override, words in (
        ("nothing=1", "Could not override 'nothing'"),
        ("seed=1,2", "Ambiguous value for argument 'seed=1,2'"),
    ):
        new, errors = rerun(app, "1", override, exit_code=1)
        assert words in errors
        assert app.info(new)["status"] == "FAILED"
        assert "before the program started" in app.info(new)["exception"]["message"]


def test_ctrl_c_ends_the_program_and_the_command(app: GitProject) -> None:
    app.run("main.py", CALLBACK)
    terminal = pexpect.spawn(MLXPY, ["rerun", "1", "wait=true"], cwd=str(app.path), timeout=60)
    terminal.expect("waits")
    process_id = app.info(2)["process_id"]
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130
    assert app.info(2)["status"] == "INTERRUPTED"
    assert not Path(f"/proc/{process_id}").exists()


# Other ways to start a program.


def test_a_module(app: GitProject) -> None:
    for name in ("main.py", "rule.py"):
        app.write(f"package/{name}", (app.path / name).read_text().replace("from rule", "from .rule"))
    app.write("package/conf/config.yaml", CONFIG)
    app.write("package/__init__.py", "")
    app.run("-m", "package.main", "-m", GIT, "seed=2")
    shutil.rmtree(app.path / "package")
    assert rerun(app, "1")[0] == 2
    assert metrics(app, 2) == metrics(app, 1)


LAUNCHED = MAIN.replace(
    """@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    train(cfg, mlxpy.get_logger())
""",
    """@mlxpy.launch(config_path="conf")
def main(ctx):
    train(ctx.config, ctx.logger)
""",
)


LOCAL_SCHEDULER = ["+mlxpy.use_scheduler=True", "+mlxpy.scheduler.name=LocalScheduler"]
STREAMS = "+mlxpy.logger.log_streams_to_file=True"


# Those of a scheduler: the next test.
@pytest.mark.parametrize(
    "scheduler", [[], pytest.param(LOCAL_SCHEDULER, marks=pytest.mark.long)], ids=["here", "local"]
)
def test_a_launched_program(app: GitProject, scheduler: list[str]) -> None:
    app.write("main.py", LAUNCHED)
    app.run("main.py", "+mlxpy.use_version_manager=True", *scheduler, "lr=0.3", "+new=1")
    move_on(app)
    rerun(app, "1", STREAMS)
    assert metrics(app, 2) == metrics(app, 1)
    assert app.yaml(2, "config")["new"] == 1
    assert app.yaml(2, "mlxpy")["logger"]["log_streams_to_file"] is True


@pytest.mark.long("oar")
def test_a_launched_program_in_a_queue(app: GitProject, cluster: Cluster) -> None:
    app.write("main.py", LAUNCHED)
    queue = ["+mlxpy.use_scheduler=True", f"+mlxpy.scheduler.name={cluster.name}"]
    app.run("main.py", "+mlxpy.use_version_manager=True", *queue, STREAMS, "seed=2")
    wait_until(lambda: ended(app))
    move_on(app)
    app.mlxpy("rerun", "1")
    wait_until(lambda: len(app.statuses()) == 2 and ended(app))
    assert metrics(app, 2) == metrics(app, 1)
    assert app.yaml(2, "mlxpy")["logger"]["log_streams_to_file"] is True


def test_the_line_of_a_shell_script(app: GitProject) -> None:
    lines = "factor=1\npython main.py hydra/callbacks=mlxp_logger seed=$((factor + 1)) 'lr=0.5'\n"
    app.write("jobs.sh", f"#!/bin/bash\n{lines}")
    path = {"PATH": f"{Path(MLXPY).parent}:{os.environ['PATH']}"}  # python is this one
    mlxpysub = str(Path(MLXPY).with_name("mlxpysub"))
    done = app.run(mlxpysub, "jobs.sh", "--scheduler", "LocalScheduler", env=path)
    assert "Ran 1 job" in done.stdout
    assert app.yaml(1, "config")["seed"] == 2
    new, _ = rerun(app, "1", "start=5", env=path)
    assert app.yaml(new, "config") == {**app.yaml(1, "config"), "start": 5}


@pytest.mark.long("oar")
def test_what_sets_a_job_up_sets_it_up_again(app: GitProject, cluster: Cluster) -> None:
    app.write("main.py", MAIN.replace("    x =", '    assert os.environ["SET"] == "up"\n    x =', 1))
    options = ["env_cmd='export SET=up'", "cleanup_cmd='touch cleaned'"]
    options += ["requeue=true", "signal_delay_s=60"] if cluster.launcher == "mlxp_slurm" else []
    chosen = [f"hydra.launcher.{option}" for option in options]
    app.run("main.py", "-m", f"hydra/launcher={cluster.launcher}", *chosen)
    wait_until(lambda: (app.path / "cleaned").exists())
    assert app.statuses() == ["COMPLETE"]
    (app.path / "cleaned").unlink()
    new, _ = rerun(app, "1", "--here")
    assert metrics(app, new) == metrics(app, 1)
    assert (app.path / "cleaned").exists()


def test_a_script_without_hydra(app: GitProject) -> None:
    app.write(
        "plain.py",
        """
        import sys
        import mlxpy
        with mlxpy.Logger(config={"words": sys.argv[1:]}) as logger:
            logger.log_metrics({"x": len(sys.argv)}, "train")
        """,
    )
    app.run("plain.py", "a=b c", "--flag", "it's")
    new, errors = rerun(app, "1")
    assert metrics(app, new) == metrics(app, 1)
    assert app.yaml(new, "config") == {"words": ["a=b c", "--flag", "it's"]}
    unknown = f"there is no record of its code: {app.path} is used as it is now\n"
    assert f"mlxpy: what may differ: {unknown}" in errors
    assert app.run_ids() == [1, 2]


def test_a_program_that_makes_no_run_any_more(app: GitProject) -> None:
    app.write("plain.py", "import mlxpy\nmlxpy.Logger(config={})\n")
    app.run("plain.py")
    app.write("plain.py", "print('nothing')\n")
    new, _ = rerun(app, "1", exit_code=1)
    assert app.info(new)["status"] == "FAILED"
    (app.path / "plain.py").unlink()
    rerun(app, "1", exit_code=2)  # Python's
    assert app.statuses() == ["COMPLETE", "FAILED", "FAILED"]
    assert app.mlxpy("status") == ("1 COMPLETE, 2 FAILED\n", "")


# Where a rerun writes.

WRITES = """
import os
import pathlib
import signal
import hydra
import mlxpy
from hydra.core.hydra_config import HydraConfig

@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(cfg):
    output = pathlib.Path(HydraConfig.get().runtime.output_dir)
    attempt = mlxpy.current_run().attempt
    with (output / "weights").open("a") as file:
        file.write(f"lr {cfg.lr}, attempt {attempt}\\n")
    if os.environ.get("KILL") and attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    {arguments}
    main()
"""
CALLBACK = "hydra/callbacks=mlxp_logger"
LOCAL = "hydra/launcher=mlxp_local"
WITHOUT_RUN_DIR = "hydra.callbacks.mlxp_logger.use_run_dir=false"


def writes(project: Project, hydra: str = "{}", arguments: str = "pass") -> Project:
    """Makes a program that writes to Hydra's output directory, and a config with Hydra's settings."""
    project.write("main.py", WRITES.replace("{arguments}", arguments))
    project.write("conf/config.yaml", f"lr: 1\nhydra: {hydra}\n")
    return project


def check_rerun_leaves_all(project: Project, *words: str, exit_code: int = 0) -> int:
    """Makes run 1 again, and checks that no file of it changes; returns the new run's number."""
    before = tree_of(project.path, leave_out={".mlxpy"})
    new, errors = rerun(project, "1", *words, exit_code=exit_code)
    after = tree_of(project.path, leave_out={".mlxpy"})
    assert {name: after.get(name) for name in before} == before
    (made,) = (name for name in set(after) - set(before) if name.endswith("weights"))
    assert f"writes to {project.path}/logs/{new}\n" in errors + stderr_of(project, new)
    assert made == f"logs/{new}/weights"
    return new


def stderr_of(project: Project, log_id: int) -> str:
    path = project.file(log_id, "log.stderr")
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize(
    ("hydra", "command"),
    [
        ("{}", [CALLBACK, "hydra.run.dir=results/${lr}"]),
        ("{}", [CALLBACK, "hydra.run.dir=."]),
        pytest.param("{run: {dir: 'results/${hydra:job.name}'}}", [CALLBACK], marks=pytest.mark.long),
        ("{run: {dir: results}}", ["-m", CALLBACK, "lr=1,2"]),
        pytest.param(
            "{sweep: {dir: results, subdir: '${hydra:job.num}'}}", ["-m", LOCAL, "lr=1"],
            marks=pytest.mark.long,
        ),
        pytest.param("{}", ["-m", LOCAL, "hydra.sweep.dir=results", "lr=1"], marks=pytest.mark.long),
        ("{run: {dir: results}}", ["-m", CALLBACK, LOCAL, WITHOUT_RUN_DIR, "lr=1"]),
    ],
)  # fmt: skip
def test_what_is_there_stays(project: Project, hydra: str, command: list[str]) -> None:
    app = writes(project, hydra)
    app.run("main.py", *command)
    if hydra == "{run: {dir: results}}" and LOCAL not in command:
        rerun(app, "1", "lr=3")  # is the first in that place
    check_rerun_leaves_all(app, *(["lr=5"] if "${lr}" not in command[-1] else []))


@pytest.mark.parametrize(
    "launcher", [[], pytest.param(["-m", LOCAL], marks=pytest.mark.long)], ids=["here", "local"]
)
def test_a_place_of_its_own_is_written_to_and_gone_on_in(project: Project, launcher: list[str]) -> None:
    place = "{dir: 'results/${lr}'}"
    app = writes(project, f"{{run: {place}, sweep: {{dir: 'results/${{lr}}', subdir: '.'}}}}")
    app.run("main.py", *launcher, CALLBACK)
    before = (app.path / "results/1/weights").read_bytes()
    for words, written in (([], "logs/2"), (["lr=5"], "results/5")):
        new, errors = rerun(app, "1", *words, env={"KILL": "1"}, exit_code=128 + 9)
        app.mlxpy("resubmit", str(new))
        lines = (app.path / written / "weights").read_text().splitlines()
        assert [line.rpartition(" ")[2] for line in lines] == ["1", "2"]
    assert "is there already" not in errors
    # The next finds that one.
    again, errors = rerun(app, "1", "lr=5", "hydra.run.dir=results/5")
    said = errors + stderr_of(app, again)
    assert f"results/5 is there already: run {again}, which makes run 1 again, writes to " in said
    assert (app.path / "results/5/weights").read_text().count("\n") == 2
    assert (app.path / "results/1/weights").read_bytes() == before


def test_a_rerun_of_two_tasks_in_a_queue(project: Project) -> None:
    need_cluster("slurm")
    app = writes(project, "{sweep: {dir: results, subdir: one}}")
    app.run("main.py", "-m", "hydra/launcher=mlxp_slurm", "hydra.launcher.tasks_per_node=2")
    wait_until(lambda: ended(app))
    # A run ends with its first task; the second may write later.
    wait_until(lambda: (app.path / "results/one/weights").read_text().count("\n") == 2)
    before = tree_of(app.path / "results")
    app.mlxpy("rerun", "1")
    wait_until(lambda: len(app.statuses()) == 2 and ended(app))
    wait_until(lambda: app.file(2, "weights").read_text().count("\n") == 2)
    assert tree_of(app.path / "results") == before
    assert len(app.info(2)["attempts"]) == 1


# Programs whose code sets the arguments.


def test_arguments_of_a_run_that_the_code_sets(project: Project) -> None:
    app = writes(project, arguments=f"import sys; sys.argv = [sys.argv[0], '{CALLBACK}', 'lr=4']")
    app.run("main.py")
    new, _ = rerun(app, "1")
    assert app.yaml(new, "config") == {"lr": 4}
    _, errors = app.mlxpy("rerun", "1", "lr=5", exit_code=1)
    assert errors.startswith("Error: the arguments of run 1 are set in its program")
    assert app.run_ids() == [1, 2]


def test_arguments_of_a_sweep_that_the_code_sets(project: Project) -> None:
    app = writes(project, arguments=f"import sys; sys.argv += ['-m', '{CALLBACK}', 'lr=4,5']")
    app.run("main.py")
    _, errors = app.mlxpy("rerun", "2", exit_code=1)
    assert errors.startswith("Error: the arguments of run 2 are set in its program")
    assert errors.count("\n") == 1
    _, errors = app.mlxpy("resubmit", "2", "--complete")
    assert "the arguments of run 2 are set in its program" in errors
    assert app.run_ids() == [1, 2]


def test_a_job_that_the_code_makes_leaves_what_is_there(project: Project) -> None:
    sweep = f"import sys; sys.argv += ['-m', '{LOCAL}', 'lr=5', 'hydra.sweep.dir=results']"
    app = writes(project, arguments=sweep)
    app.run("main.py")
    before = tree_of(app.path / "results")
    new, _ = rerun(app, "1")
    assert app.yaml(new, "config") == {"lr": 5}
    assert tree_of(app.path / "results") == before
    assert app.file(new, "weights").exists()


@pytest.mark.parametrize(
    "sweep", [["-m"], pytest.param([], marks=pytest.mark.long)], ids=["sweep", "run"]
)
def test_what_the_code_adds_to_the_command_is_no_matter(project: Project, sweep: list[str]) -> None:
    app = writes(project, arguments=f"import sys; sys.argv += ['{CALLBACK}']")
    app.run("main.py", *sweep, "lr=5")
    assert app.yaml(rerun(app, "1", "lr=7")[0], "config") == {"lr": 7}


def test_hydra_zen(project: Project) -> None:
    pytest.importorskip("hydra_zen", reason="hydra_zen is not installed")
    app = project
    app.write(
        "zen.py",
        """
        import sys
        import hydra_zen
        import mlxpy

        def task(cfg):
            mlxpy.get_logger().log_metrics({"x": cfg.x}, "train")

        if __name__ == "__main__":
            overrides = ["hydra/callbacks=mlxp_logger"]
            if len(sys.argv) > 1:
                hydra_zen.launch({"x": 1}, task, overrides=[*overrides, "x=2,3"], multirun=True)
            else:
                hydra_zen.launch({"x": 1}, task, overrides=overrides)
        """,
    )
    app.run("zen.py")
    new, _ = rerun(app, "1")
    assert metrics(app, new) == metrics(app, 1)
    assert "are set in its program" in app.mlxpy("rerun", "1", "x=2", exit_code=1)[1]
    app.run("zen.py", "sweep")
    assert "are set in its program" in app.mlxpy("rerun", "3", exit_code=1)[1]
    assert app.run_ids() == [1, 2, 3, 4]
