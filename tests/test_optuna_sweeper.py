"""``hydra/sweeper=mlxp_optuna``: a search that keeps the queue full, prunes, and survives its process."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from commands import run
from conftest import NOBODY, REPOSITORY, Project, need_cluster, need_root, wait_until

if not (find_spec("optuna") and int(version("optuna").partition(".")[0]) >= 4):
    pytest.skip("there is no optuna 4", allow_module_level=True)  # to import another takes seconds

# After the skip: what follows needs optuna 4, or is below what does.
import optuna
from optuna.storages.journal import JournalFileBackend

from mlxpy_core import Logger, Reader, load_yaml
from mlxpy_core._report._content import report_content

SEARCH = ["-m", "hydra/sweeper=mlxp_optuna", "hydra.sweeper.study=s"]
LOCAL = [*SEARCH, "hydra/launcher=mlxp_local"]
X = "x=interval(0.0,4.0)"
# So many times the process of a search is killed; many more before a release.
KILLS = int(os.environ.get("MLXPY_TEST_KILLS", "0"))
CLUSTER_KILLS = int(os.environ.get("MLXPY_TEST_CLUSTER_KILLS", "1"))

APP = """
import os, pathlib, signal, time
import hydra, mlxpy

def wait_for(name):
    end = time.monotonic() + 90
    while not pathlib.Path(hydra.utils.to_absolute_path(name)).exists():
        assert time.monotonic() < end, name
        time.sleep(0.02)

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    logger = mlxpy.get_logger()
    trial = cfg.num
    if cfg.how == "slow" and trial == 0:
        wait_for("go")
    if cfg.how == "fail" and trial == 0:
        raise ValueError("as asked")
    if cfg.how == "fail" and trial == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if cfg.how == "wait":
        pathlib.Path(f"started-{trial}").touch()
        wait_for("go")
    if cfg.how == "prune":
        loss = 1 if trial else 0  # the first one is what others are compared with
        for step in range(1, 9):
            logger.log_metrics({"loss": loss, "step": step}, "val")
            if trial:
                wait_for_prune(logger)
            if logger.should_prune:
                break
        return loss
    logger.log_metrics({"loss": 9.0}, "val")
    logger.log_metrics({"loss": (cfg.x - 2) ** 2, "size": cfg.x, "over": cfg.x - 3}, "val")
    if cfg.how == "none":
        return None
    if cfg.how == "text":
        return "no number"
    if cfg.how == "two":
        return (cfg.x - 2) ** 2, -cfg.x
    return (cfg.x - 2) ** 2

def wait_for_prune(logger):
    end = time.monotonic() + 90
    while not logger.should_prune:
        assert time.monotonic() < end
        time.sleep(0.02)

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def app(project: Project) -> Project:
    project.write("main.py", APP)
    project.write("conf/config.yaml", "{x: 1.0, how: return, num: '${hydra:job.num}', db: a}\n")
    return project


def study_of(app: Project, name: str = "s") -> Any:
    """Opens a study as optuna-dashboard does."""
    journal = JournalFileBackend(str(app.path / f"logs/.studies/{name}/journal.log"))
    return optuna.load_study(study_name=name, storage=optuna.storages.JournalStorage(journal))


def states(app: Project) -> list[str]:
    return [trial.state.name for trial in study_of(app).trials]


def trial_numbers(app: Project) -> list[int]:
    return [app.info(log_id)["trial"]["number"] for log_id in app.run_ids()]


def test_trials_run_here_one_after_another_and_what_they_found_is_shown(app: Project) -> None:
    space = [X, "+y=interval(0.0,1.0)", "hydra.sweeper.n_trials=4", "hydra.sweeper.sampler.seed=1"]
    done = app.run("main.py", *SEARCH, *space)
    lines = done.stdout.splitlines()
    assert lines[0] == ("Trials run here one after another; hydra/launcher=mlxp_local runs 2 at once.")
    assert [line.split()[1] for line in lines[1:7]] == ["0:", "0:", "1:", "1:", "2:", "2:"]
    assert done.stderr == ""
    study = study_of(app)
    best = study.best_trial
    assert [trial.value for trial in study.trials] == [(t.params["x"] - 2) ** 2 for t in study.trials]
    [sweep] = app.path.glob("logs/.sweeps/*")
    results = load_yaml((sweep / "optimization_results.yaml").read_text())
    assert (results["best_params"], results["best_value"]) == (best.params, best.value)
    assert app.info(1)["study"] == "s"
    assert trial_numbers(app) == [0, 1, 2, 3]
    # It is shown by whoever shows runs.
    logs = app.path / "logs"
    tagged = ["'best-of-s' in info.tags", "-c", "info.trial.number", "--json"]
    assert f'"info.trial.number": {best.number}' in run(logs, "ls", *tagged).stdout
    found = done.stdout[done.stdout.index("Study s: 4 complete\nBest: ") :].splitlines()[:3]
    assert found[2].startswith("Importances: ")
    assert run(logs, "ls", "info.study == 's'").stdout.splitlines()[-3:] == found
    log_id = best.user_attrs["run"]
    assert found[1].endswith(f"(trial {best.number}, run {log_id})")
    shown = run(logs, "show", str(log_id)).stdout
    assert f"search\n  Trial {best.number}\n  " + "\n  ".join(found) in shown
    Logger(logs).close()
    assert "Study" not in run(logs, "ls").stdout  # there are other runs, too
    [search] = report_content(Reader(logs).search(), app.path / "report.html", "", [])["searches"]
    assert search["name"] == "s"
    assert search["trials"] == "4 complete"
    assert search["best"] == [{"words": found[1].removeprefix("Best: "), "run": log_id - 1}]
    assert sorted(name for name, _ in search["importances"]) == ["+y", "x"]


def test_a_slow_trial_holds_no_other_back_and_what_they_find_is_there_before_it_ends(
    app: Project,
) -> None:
    command = ["main.py", *LOCAL, X, "how=slow", "hydra.sweeper.n_trials=3"]
    with app.start(*command) as process:  # the first trial waits
        wait_until(lambda: app.statuses() == ["RUNNING", "COMPLETE", "COMPLETE"], shown=app.statuses)
        wait_until((app.path / "logs/.studies/s/optimization_results.yaml").exists)
        listed = run(app.path / "logs", "ls", "info.study == 's'").stdout
        assert re.search(r"Study s: \d running, \d complete\nBest: ", listed)
        (app.path / "go").touch()
        process.communicate(timeout=90)
    assert states(app) == ["COMPLETE"] * 3
    assert app.statuses() == ["COMPLETE"] * 3


def test_pruning_by_asha(app: Project) -> None:
    pruner = ["hydra/sweeper/pruner=asha", "hydra.sweeper.pruner.reduction_factor=2"]
    values = ["hydra/sweeper/sampler=grid", "x=0,1"]
    options = ["how=prune", "hydra.sweeper.metric=val.loss", "hydra.sweeper.n_jobs=1"]
    done = app.run("main.py", *LOCAL, *values, *pruner, *options)
    study = study_of(app)
    assert sorted(trial.params["x"] for trial in study.trials) == [0, 1]
    assert states(app) == ["COMPLETE", "PRUNED"]
    for trial in study.trials:
        info = app.info(trial.user_attrs["run"])
        assert info["status"] == "COMPLETE"
        assert info.get("pruned", False) == (trial.state.name == "PRUNED")
    assert "pruned" in done.stdout


def test_a_metric_that_no_run_logs_is_said_once(app: Project) -> None:
    pruner = ["hydra/sweeper/pruner=asha", "hydra.sweeper.metric=val.los", "hydra.sweeper.n_trials=2"]
    pruner += ["hydra.sweeper.n_jobs=1"]
    done = app.run("main.py", *LOCAL, X, *pruner)
    assert done.stderr == "mlxpy: run 1 logged no val.los: runs are not pruned by it\n"
    assert states(app) == ["COMPLETE"] * 2


def test_a_run_of_no_search_is_not_pruned(app: Project) -> None:
    app.run("main.py", "hydra/callbacks=mlxp_logger", "how=prune")
    assert "pruned" not in app.info()


def kill_as_the_journal_grows(app: Project, command: Sequence[str], more: int) -> None:
    """Starts a search and kills it when its journal has grown by so many bytes, if it does not end."""
    journal = app.path / "logs/.studies/s/journal.log"
    before = size_of(journal)
    with app.start(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and size_of(journal) < before + more:
            time.sleep(0.0005)
        process.kill()


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def check_that_none_was_asked_twice(app: Project, n_trials: int) -> None:
    study = study_of(app)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * n_trials
    assert len({trial.params["x"] for trial in study.trials}) == n_trials
    assert len({trial.user_attrs["run"] for trial in study.trials}) == n_trials
    for trial in study.trials:
        info, config = (app.yaml(trial.user_attrs["run"], name) for name in ("info", "config"))
        assert info["trial"]["number"] == trial.number
        assert info["status"] == "COMPLETE"
        assert len(info["attempts"]) == 1
        assert config["x"] == trial.params["x"]
        assert trial.value == (config["x"] - 2) ** 2
    # Others were taken by a process that was killed before they were runs.
    runs = [one for one in app.run_ids() if app.file(one, "metadata/info.yaml").exists()]
    assert len(runs) == n_trials


def test_a_search_that_is_killed_again_and_again(app: Project, times: Callable[[int, int], int]) -> None:
    kills = KILLS or times(2, 4)
    n_trials = kills + 1
    command = [
        "main.py",
        *LOCAL,
        X,
        f"hydra.sweeper.n_trials={n_trials}",
        "hydra.sweeper.sampler.seed=1",
    ]
    chance = random.Random(kills)
    for _ in range(kills):
        kill_as_the_journal_grows(app, command, more=chance.randrange(1, 1500))
    app.run(*command)
    check_that_none_was_asked_twice(app, n_trials)


@pytest.mark.long("oar")
@pytest.mark.parametrize("cluster_name", ["slurm", "oar"])
def test_a_search_on_a_cluster_that_is_killed(app: Project, cluster_name: str) -> None:
    need_cluster(cluster_name)
    n_trials = CLUSTER_KILLS + 1
    launcher = [f"hydra/launcher=mlxp_{cluster_name}", "hydra.launcher.poll_interval_s=1"]
    command = ["main.py", *SEARCH, *launcher, X, f"hydra.sweeper.n_trials={n_trials}"]
    chance = random.Random(CLUSTER_KILLS)
    for _ in range(CLUSTER_KILLS):
        kill_as_the_journal_grows(app, command, more=chance.randrange(1, 1500))
    app.run(*command)
    check_that_none_was_asked_twice(app, n_trials)


@pytest.mark.long("oar")
@pytest.mark.parametrize("name", ["local", "slurm", "oar"])
def test_a_search_that_is_killed_as_the_queue_answers(app: Project, name: str) -> None:
    launcher = [f"hydra/launcher=mlxp_{name}", "hydra.launcher.poll_interval_s=1"]
    killed = f"mkdir {app.path}/killed 2> /dev/null && kill -9 $PPID"
    if name == "local":
        shell = f'#!/bin/bash\necho >> {app.path}/submitted\n{killed}\nexec /bin/bash "$@"\n'
        launcher += [f"hydra.launcher.shell_path={app.path}/bin/wrapped"]
        app.write("bin/wrapped", shell).chmod(0o755)
    else:
        need_cluster(name)
        command = {"slurm": "sbatch", "oar": "oarsub"}[name]
        submit = f'printed=$({shutil.which(command)} "$@")\necho >> {app.path}/submitted'
        text = f'#!/bin/sh\n{submit}\n{killed}\necho "$printed"\n'
        app.write(f"bin/{command}", text).chmod(0o755)
    search = ["main.py", *SEARCH, *launcher, X, "hydra.sweeper.n_trials=1"]
    environment = {"PATH": f"{app.path}/bin{os.pathsep}{os.environ['PATH']}"}
    app.run(*search, env=environment, exit_code=-signal.SIGKILL)
    app.run(*search, env=environment)
    check_that_none_was_asked_twice(app, 1)
    assert (app.path / "submitted").read_text() == "\n"


def test_the_second_of_two_searches_of_one_study_is_refused(app: Project) -> None:
    command = ["main.py", *LOCAL, X, "how=wait", "hydra.sweeper.n_trials=1"]
    with app.start(*command) as first:
        wait_until((app.path / "started-0").exists)
        second = app.run(*command, exit_code=1)
        (app.path / "go").touch()
        first.communicate(timeout=90)
    assert second.stderr.startswith(f"mlxpy: the study s is under way in process {first.pid} on ")
    assert second.stderr.count("\n") == 1
    assert states(app) == ["COMPLETE"]


@pytest.mark.parametrize("place", [".studies", ".studies/s"])
def test_a_study_is_not_kept_behind_a_neighbours_link(app: Project, place: str) -> None:
    need_root()
    home = app.path / "home"
    home.mkdir()
    link = app.path / "logs" / place
    link.parent.mkdir(parents=True)
    link.symlink_to(home)
    os.lchown(link, NOBODY, NOBODY)
    done = app.run("main.py", *SEARCH, "hydra.sweeper.n_trials=1", X, exit_code=1)
    assert f"{link.name} is a symbolic link of user nobody, which is not followed" in done.stderr
    assert not list(home.iterdir())


def test_ctrl_c_stops_the_runs_and_the_same_command_goes_on_with_them(app: Project) -> None:
    command = ["main.py", *LOCAL, X, "how=wait", "hydra.sweeper.n_trials=2"]
    with app.start(*command) as process:
        wait_until(lambda: all((app.path / f"started-{number}").exists() for number in (0, 1)))
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=90)
    assert process.returncode == 130
    assert "the same command with hydra.sweeper.study=s goes on with the study" in stderr
    assert "Traceback" not in stderr
    assert app.statuses() == ["INTERRUPTED"] * 2
    (app.path / "go").touch()
    done = app.run(*command)
    assert "Goes on with study s: 2 of its trials have not ended.\n" in done.stdout
    assert app.run_ids() == [1, 2]
    assert states(app) == ["COMPLETE"] * 2


def test_ctrl_c_stops_the_runs_of_a_search_that_was_killed(app: Project) -> None:
    command = ["main.py", *LOCAL, X, "how=wait", "hydra.sweeper.n_trials=1"]
    with app.start(*command) as process:
        wait_until((app.path / "started-0").exists)
        process.kill()
    with app.start(*command) as process:
        assert process.stdout is not None
        assert "Goes on with study s" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=90)
    assert "interrupted: stopped 1 job (to go on with them: mlxpy resubmit 1)" in stderr
    assert app.statuses() == ["INTERRUPTED"]
    (app.path / "go").touch()
    app.run(*command)
    assert states(app) == ["COMPLETE"]
    assert app.run_ids() == [1]


def test_runs_that_fail_or_die_and_their_retries(app: Project) -> None:
    options = ["hydra.sweeper.retry_failed=1", "hydra.sweeper.max_failure_rate=1"]
    done = app.run("main.py", *LOCAL, X, "how=fail", "hydra.sweeper.n_trials=2", *options)
    trials = study_of(app).trials
    assert sorted(trial.state.name for trial in trials) == ["COMPLETE"] * 2 + ["FAIL"] * 2
    failed = [trial for trial in trials if trial.state.name == "FAIL"]
    retried = [trial for trial in trials if "retry_of" in trial.user_attrs]
    assert [trial.user_attrs["status"] for trial in failed] == ["FAILED", "KILLED"]
    assert sorted(t.params["x"] for t in failed) == sorted(t.params["x"] for t in retried)
    assert "Trial 0: failed: its run ended as FAILED (run 1)" in done.stdout


def test_a_search_whose_trials_all_fail_stops(app: Project) -> None:
    done = app.run("main.py", *SEARCH, X, "how=text", "hydra.sweeper.n_trials=30", exit_code=1)
    assert "trials have failed, the last is run " in done.stderr
    assert "the task returned 'no number', not a number" in done.stdout
    assert 5 <= len(states(app)) < 10


def test_the_value_of_a_metric_counts_where_the_task_returns_none(app: Project) -> None:
    metric = ["how=none", "hydra.sweeper.metric=val.loss", "hydra.sweeper.n_trials=1"]
    app.run("main.py", *SEARCH, X, *metric)
    [trial] = study_of(app).trials
    assert trial.value == (trial.params["x"] - 2) ** 2


def test_several_objectives_and_constraints(app: Project) -> None:
    directions = ["hydra.sweeper.direction=[minimize,maximize]", "hydra/sweeper/sampler=nsgaii"]
    options = ["hydra.sweeper.constraints=[val.over]", "hydra.sweeper.n_trials=2"]
    app.run("main.py", *SEARCH, X, "how=two", *directions, *options)
    study = study_of(app)
    for trial in study.trials:
        x = trial.params["x"]
        assert trial.values == [(x - 2) ** 2, -x]
        assert trial.system_attrs["constraints"] == [x - 3]
    [sweep] = app.path.glob("logs/.sweeps/*")
    solutions = load_yaml((sweep / "optimization_results.yaml").read_text())["solutions"]
    assert [one["values"] for one in solutions] == [trial.values for trial in study.best_trials]


def test_the_space_may_stand_in_the_config_and_in_a_function(app: Project) -> None:
    app.write("space.py", "def more(cfg, trial):\n    trial.suggest_categorical('db', ['a b', 'c'])\n")
    app.write(
        "conf/config.yaml",
        """
        defaults: [_self_, {override hydra/sweeper: mlxp_optuna}]
        hydra:
          sweeper:
            params: {x: "interval(0.0,4.0)"}
            custom_search_space: space.more
            n_trials: 2
            study: s
        x: 1.0
        how: return
        num: ${hydra:job.num}
        db: a
        """,
    )
    app.run("main.py", "-m")
    trials = study_of(app).trials
    assert {app.yaml(trial.user_attrs["run"], "config")["db"] for trial in trials} <= {"a b", "c"}
    assert [app.yaml(t.user_attrs["run"], "config")["x"] for t in trials] == [
        t.params["x"] for t in trials
    ]


@pytest.mark.long("random", "gp", "motpe", "nsgaiii")
@pytest.mark.parametrize("sampler", ["random", "sobol", "cmaes", "gp", "motpe", "nsgaiii"])
def test_samplers(app: Project, sampler: str) -> None:
    needed = {"cmaes": ["cmaes"], "sobol": ["scipy"], "gp": ["scipy", "torch"]}
    for package in needed.get(sampler, []):
        pytest.importorskip(package, reason=f"{package} is not installed")
    arguments = [X, f"hydra/sweeper/sampler={sampler}", "hydra.sweeper.sampler.seed=1"]
    done = app.run(
        "main.py", *SEARCH, "hydra/launcher=mlxp_local", *arguments, "hydra.launcher.dry_run=true"
    )
    assert "Dry run: 2 jobs" in done.stdout
    assert not (app.path / "logs").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["hydra/sweeper/sampler=tpee", X], "Could not find 'hydra/sweeper/sampler/tpee'"),
        (["+hydra.sweeper.directon=maximize", X], "hydra.sweeper.directon is no option of mlxp_optuna: did you mean direction?"),
        (["hydra.sweeper.direction=up", X], "hydra.sweeper.direction=up is none: give minimize or maximize"),
        (["hydra.sweeper.n_trials=0", X], "hydra.sweeper.n_trials=0 is too few: give 1 or more"),
        (["hydra.sweeper.metric=loss", X], "hydra.sweeper.metric=loss names no metric"),
        (["hydra/sweeper/pruner=asha", X], "a pruner needs the metric that runs are compared by"),
        (["hydra.sweeper.sampler._target_=optuna.samplers.No", X], "hydra.sweeper.sampler._target_=optuna.samplers.No is no class here"),
        (["x=interval(4,1)"], "x=interval(4,1) cannot be searched"),
        (["x=interval(4"], "no viable alternative at input 'interval(4'"),
        (["x=1"], "there is nothing to search"),
        (["hydra/sweeper/sampler=grid", X], "a grid needs values of x that can be counted"),
        (["hydra.sweeper.constraints=[val.over]", "hydra/sweeper/sampler=random", X], "RandomSampler knows no constraints"),
        (["hydra.sweeper.storage=sqlite:///a.db", X], "hydra.sweeper.storage is not for mlxp_optuna"),
        (["hydra.sweeper.study=a/b", X], "study=a/b is no name for a study"),
        (["hydra/launcher=joblib", X], "submits by mlxpy's launchers, and not by joblib"),
        (["hydra.launcher.skip_completed=true", X], "skip_completed leaves out jobs of a sweep"),
        (["hydra.launcher.after=1", X], "start the search once those runs have ended"),
        (["hydra.launcher.retries={OUT_OF_MEMORY: 2}", X], "hydra.sweeper.retry_failed=N tries trials again"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_sentence(app: Project, arguments: list[str], words: str) -> None:
    launcher = [] if any("launcher=" in one for one in arguments) else ["hydra/launcher=mlxp_local"]
    if "hydra/launcher=joblib" in arguments:
        pytest.importorskip(
            "hydra_plugins.hydra_joblib_launcher", reason="the joblib launcher is not installed"
        )
    done = app.run("main.py", *SEARCH, *launcher, *arguments, exit_code=1)
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert app.run_ids() == []


def test_other_directions_or_choices_than_the_study_has(app: Project) -> None:
    app.run("main.py", *SEARCH, "x=1.0,2.0", "hydra.sweeper.n_trials=1")
    done = app.run("main.py", *LOCAL, "x=1.0,2.0", "hydra.sweeper.direction=maximize", exit_code=1)
    assert "the study s has direction=minimize, not maximize: give another name" in done.stderr
    done = app.run("main.py", *LOCAL, "x=1.0,3.0", "hydra.sweeper.n_trials=2", exit_code=1)
    assert "the study s cannot go on with this search space" in done.stderr


def test_an_optuna_that_is_too_old(app: Project, tmp_path: Path) -> None:
    (tmp_path / "old/optuna-2.10.1.dist-info").mkdir(parents=True)
    metadata = "Metadata-Version: 2.1\nName: optuna\nVersion: 2.10.1\n"
    (tmp_path / "old/optuna-2.10.1.dist-info/METADATA").write_text(metadata)
    done = app.run("main.py", *LOCAL, X, exit_code=1, env={"PYTHONPATH": str(tmp_path / "old")})
    assert done.stderr.startswith(
        "mlxpy: hydra/sweeper=mlxp_optuna needs optuna 4 or newer, and here is 2.10.1"
    )


def test_the_other_sweeper_beside_a_new_optuna(app: Project, tmp_path: Path) -> None:
    place = tmp_path / "other/hydra_optuna_sweeper-1.2.0.dist-info"
    place.mkdir(parents=True)
    metadata = "Metadata-Version: 2.1\nName: hydra-optuna-sweeper\nVersion: 1.2.0\n"
    (place / "METADATA").write_text(metadata)
    more = ["hydra.launcher.dry_run=true", "hydra.sweeper.n_trials=1"]
    done = app.run("main.py", *LOCAL, X, *more, env={"PYTHONPATH": str(place.parent)})
    assert done.stderr.startswith("mlxpy: hydra-optuna-sweeper is installed, which does not work with")
    assert done.stderr.count("\n") == 1
    assert "Dry run: 1 job" in done.stdout


def test_optuna_is_not_imported_when_hydra_looks_for_plugins() -> None:
    program = (
        "import sys; from hydra.core.plugins import Plugins; Plugins.instance()\n"
        "assert 'hydra_plugins.mlxpy.sweeper' in sys.modules; print('optuna' in sys.modules)"
    )
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
