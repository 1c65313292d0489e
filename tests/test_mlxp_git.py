"""The callback ``mlxp_git``: programs run from the copy of a commit, however they are started."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import GitProject, Project, environment_of_its_own

GIT = "hydra/callbacks=[mlxp_logger,mlxp_git]"
MAIN = """
import os
import sys
import hydra
import helper

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    print("main", os.path.realpath(__file__))
    print("helper", os.path.realpath(helper.__file__))
    print("directory", os.getcwd())
    print("lr", cfg.lr)
    if cfg.get("open"):
        open(cfg.open)

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def app(repository: GitProject) -> GitProject:
    repository.write("main.py", MAIN)
    repository.write("helper.py", "")
    repository.write("conf/config.yaml", "lr: 0.1\n")
    repository.write(".gitignore", "__pycache__\nlogs\n.workdir\n.venv\n")
    repository.commit()
    return repository


def printed(output: str, label: str) -> list[str]:
    """Lists what a program printed after a label, line by line."""
    start = f"{label} "
    return [line.removeprefix(start) for line in output.splitlines() if line.startswith(start)]


@pytest.mark.smoke
def test_a_run_from_the_copy(app: GitProject) -> None:
    before = app.state()
    done = app.run("main.py", GIT, "lr=0.5")
    assert app.state() == before
    commit = app.git("rev-parse", "HEAD")
    copy = app.path / ".workdir" / "project" / commit
    assert printed(done.stdout, "main") == [str(copy / "main.py")]
    assert printed(done.stdout, "helper") == [str(copy / "helper.py")]
    assert printed(done.stdout, "directory") == [str(copy)]
    assert printed(done.stdout, "lr") == ["0.5"]
    assert done.stderr == ""
    info = app.info()
    assert info["work_dir"] == str(copy)
    assert info["current_file_path"] == str(copy / "main.py")
    assert info["cmd"].endswith(f"main.py '{GIT}' lr=0.5")
    assert info["status"] == "COMPLETE"
    version = info["version_manager"]
    requirements = version.pop("requirements")
    assert version.pop("python") == ".".join(map(str, sys.version_info[:3]))
    assert version == {
        "name": "GitVM",
        "commit_hash": commit,
        "branch": "main",
        "dirty": False,
        "snapshot": False,
        "left_out": [],
        "repo_path": str(app.path),
        "remote": None,
        "safe_copy": str(copy),
        "link": [],
    }
    assert any(line.startswith("hydra-core==") for line in requirements)
    assert not any(line.startswith("pytest==") for line in requirements)


@pytest.mark.smoke
@pytest.mark.smoke_long
def test_a_sweep_from_one_copy_with_the_callbacks_in_the_other_order(app: GitProject) -> None:
    app.write("helper.py", "x = 1\n")
    done = app.run("main.py", "-m", "hydra/callbacks=[mlxp_git,mlxp_logger]", "lr=1,2")
    assert done.stderr == "mlxpy: kept as a snapshot: helper.py\n"
    (copy,) = app.copies()
    assert printed(done.stdout, "main") == [str(copy / "main.py")] * 2
    assert app.statuses() == ["COMPLETE"] * 2
    assert {app.info(log_id)["version_manager"]["commit_hash"] for log_id in (1, 2)} == {copy.name}
    assert all(app.file(log_id, ".hydra/config.yaml").exists() for log_id in (1, 2))
    assert len(list(app.path.glob("logs/.sweeps/*/multirun.yaml"))) == 1  # where the command was typed
    assert not any(place.name == "multirun" for place in (*app.path.iterdir(), *copy.iterdir()))
    app.run("main.py", GIT)  # and that is no code
    assert app.copies() == [copy]


def test_without_the_logger(app: GitProject) -> None:
    done = app.run("main.py", "hydra/callbacks=mlxp_git")
    assert printed(done.stdout, "directory") == [str(app.copies()[0])]
    assert len(list(app.path.glob("outputs/*/*/.hydra/config.yaml"))) == 1
    app.run("main.py", "-m", "hydra/callbacks=mlxp_git", "lr=1,2")
    assert len(list(app.path.glob("multirun/*/*/*/.hydra/config.yaml"))) == 2


@pytest.mark.parametrize("launcher", ["basic", pytest.param("joblib", marks=pytest.mark.long)])
def test_outputs_that_the_user_chose_are_where_the_command_was_typed(
    app: GitProject, launcher: str
) -> None:
    app.run("main.py", GIT, "hydra.run.dir=mine/${lr}")
    assert (app.path / "mine/0.1/.hydra").exists()
    where = ["hydra.sweep.dir=mine/${now:%Y}", "hydra.sweep.subdir=${lr}", f"hydra/launcher={launcher}"]
    where += ["hydra.launcher.n_jobs=2"] * (launcher == "joblib")
    app.run("main.py", "-m", GIT, "lr=1,2", *where)
    assert len(list(app.path.glob("mine/2*/multirun.yaml"))) == 1
    assert len(list(app.path.glob("mine/2*/[12]/.hydra"))) == 2


def test_launches_see_changes_made_since(app: GitProject) -> None:
    app.write("conf/config.yaml", "lr: 0.2\n")
    ignored = app.run("main.py", GIT, "hydra.callbacks.mlxp_git.on_dirty=ignore")
    assert printed(ignored.stdout, "lr") == ["0.1"]
    assert app.info(1)["version_manager"]["dirty"] is True
    assert printed(app.run("main.py", GIT).stdout, "lr") == ["0.2"]


# However it is started.


def test_as_a_module(app: GitProject) -> None:
    app.write("package/__init__.py", "")
    app.write("package/train.py", MAIN.replace('"conf"', '"../conf"'))
    app.commit()
    done = app.run("-m", "package.train", GIT)
    (copy,) = app.copies()
    assert printed(done.stdout, "main") == [str(copy / "package" / "train.py")]
    assert printed(done.stdout, "helper") == [str(copy / "helper.py")]


@pytest.mark.long  # test_safe_copy_installs.py has each layout in one environment
@pytest.mark.parametrize("layout", ["src", "lib"])
def test_with_the_package_installed_editable(app: GitProject, layout: str) -> None:
    where = "[tool.setuptools.packages.find]\nwhere = ['src']"
    if layout == "lib":  # found by a finder, for its folder has another name
        where = "[tool.setuptools]\npackages = ['tool']\npackage-dir = {tool = 'lib/tool'}"
    app.write(f"{layout}/tool/__init__.py", "print('tool', __file__)\n")
    app.write("helper.py", "import tool\n")
    build = "requires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'"
    project = f"[build-system]\n{build}\n[project]\nname = 'tool'\nversion = '1'\n{where}\n"
    app.write("pyproject.toml", project)
    app.write(".gitignore", "*.egg-info\nlogs\n.workdir\n.venv\n__pycache__\n")
    app.commit()
    python = environment_of_its_own(app.path / ".venv")
    install = ["-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "-e", "."]
    subprocess.run([python, *install], cwd=app.path, check=True)

    done = subprocess.run([python, "main.py", GIT], cwd=app.path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (copy,) = app.copies()
    before, after = printed(done.stdout, "tool")  # the program starts twice
    assert before == str(app.path / layout / "tool" / "__init__.py")
    assert after == str(copy / layout / "tool" / "__init__.py")
    (line,) = (one for one in app.info()["version_manager"]["requirements"] if one.startswith("tool=="))
    assert line == f"tool==1 # editable, {app.path}, commit {copy.name}"


@pytest.mark.parametrize("folder", ["", pytest.param("link", marks=pytest.mark.long)])
def test_from_outside_and_through_a_link(app: GitProject, tmp_path: Path, folder: str) -> None:
    (tmp_path / "link").symlink_to(app.path)
    here = tmp_path / folder
    environment = {"PYTHONPATH": str(tmp_path / "link"), "PWD": str(here)}
    done = app.run(str(tmp_path / "link" / "main.py"), GIT, cwd=here, env=environment)
    (copy,) = (path for path in here.resolve().glob(".workdir/project/*") if path.name != ".lock")
    assert printed(done.stdout, "main") == [str(copy / "main.py")]
    assert printed(done.stdout, "helper") == [str(copy / "helper.py")]
    assert printed(done.stdout, "directory") == [str(copy if folder else tmp_path)]
    assert (here / "logs" / "1").exists()


def test_from_a_subdirectory_of_a_linked_working_tree_with_spaces(
    app: GitProject, tmp_path: Path
) -> None:
    app.git("worktree", "add", "-q", "-b", "other", str(tmp_path / "other tree"))
    other = Project(tmp_path / "other tree")
    other.write("helper.py", "x = 1\n")
    (other.path / "empty").mkdir()  # which git does not keep
    before = app.state()
    done = other.run("../main.py", GIT, cwd=other.path / "empty")
    assert app.state() == before
    (copy,) = (path for path in other.path.glob("empty/.workdir/other tree/*") if path.name != ".lock")
    assert printed(done.stdout, "helper") == [str(copy / "helper.py")]
    assert printed(done.stdout, "directory") == [str(copy / "empty")]
    assert other.info(1, "empty/logs")["version_manager"]["branch"] == "other"


@pytest.mark.parametrize("absolute", [True, pytest.param(False, marks=pytest.mark.long)])
def test_config_directories_of_the_command(app: GitProject, tmp_path: Path, absolute: bool) -> None:
    app.write("more/extra.yaml", "lr: 7\n")
    app.commit()
    inside = str(app.path / "more") if absolute else "more"
    done = app.run("main.py", GIT, f"--config-dir={inside}", "--config-name", "extra")
    assert printed(done.stdout, "lr") == ["7"]
    Project(tmp_path).write("outside/other.yaml", "lr: 8\n")
    outside = "../outside" if absolute else str(tmp_path / "outside")
    done = app.run("main.py", GIT, "--config-dir", outside, "--config-name", "other")
    assert printed(done.stdout, "lr") == ["8"]


def test_with_a_path_into_the_repository_and_programs_that_the_program_starts(app: GitProject) -> None:
    app.write(
        "lib/helper.py",
        """
        import multiprocessing, os, subprocess, sys
        def work(queue):
            import late
            queue.put(late.__file__)
        def show():
            context = multiprocessing.get_context("spawn")
            queue = context.Queue()
            process = context.Process(target=work, args=[queue])
            process.start()
            print("late", queue.get(), flush=True)
            process.join()
            subprocess.run([sys.executable, "-c", "import late; print('late', late.__file__)"], check=True)
        """,
    )
    app.write("lib/late.py", "")
    (app.path / "helper.py").unlink()
    app.write("main.py", MAIN.replace('print("lr", cfg.lr)', "helper.show()"))
    app.commit()
    done = app.run("main.py", GIT, env={"PYTHONPATH": str(app.path / "lib")})
    lib = app.copies()[0] / "lib"
    assert printed(done.stdout, "helper") == [str(lib / "helper.py")]
    assert printed(done.stdout, "late") == [str(lib / "late.py")] * 2


# What is missing in the copy.


def test_data_that_git_ignores_can_be_linked(app: GitProject) -> None:
    app.write(".gitignore", "data\nlogs\n.workdir\n")
    app.write("data/x.csv", "")
    app.commit()
    failed = app.run("main.py", GIT, "+open=data/x.csv", exit_code=1)
    assert (
        f"mlxpy: data/x.csv is not in the copy of the repository that this program runs from, because git "
        f"does not track it; it is in {app.path}/data/x.csv: commit it, or link it into the copy with "
        "link=[data]\n"
    ) in failed.stderr
    assert app.info()["status"] == "FAILED"
    app.run("main.py", GIT, "+open=data/x.csv", "hydra.callbacks.mlxp_git.link=[data]")
    assert app.info(2)["status"] == "COMPLETE"


SAVE = """
import os
from pathlib import Path
import hydra

HERE = Path(__file__).parent

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    for name in cfg.get("save", []):
        path = HERE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")

if __name__ == "__main__":
    main()
"""
LOST = (
    "mlxpy: during this run {what} appeared in the copy of the code, not in your working tree: {where}\n"
)


def test_results_beside_the_program_are_told(app: GitProject) -> None:
    app.write("save.py", SAVE)
    app.write(".gitignore", "__pycache__\nlogs\n.workdir\nresults\ndata/*\n!data/.gitkeep\n")
    app.write("data/.gitkeep", "")
    app.write("data/cache/set.csv", "")
    app.commit()
    link = "hydra.callbacks.mlxp_git.link=[data]"
    no_results = "__pycache__/x.pyc,x/__pycache__/y,.pytest_cache/z,a.pyc,data/cache/new.csv"
    one = app.run("save.py", GIT, link, f"+save=[{no_results},results/lr/a.txt]")
    (copy,) = app.copies()
    assert one.stderr == LOST.format(what="a new file has", where=f"results/lr/a.txt in {copy}")
    names = ["d.txt", "e.txt", "results/f.txt", "results/g.txt", "x.txt", "y.txt"]
    many = app.run("save.py", "-m", GIT, link, f"+save=[{','.join(names)}],[]")
    assert many.stderr == LOST.format(
        what="6 new files have", where=f"d.txt, e.txt, results and 2 more in {copy}"
    )
    kept = app.mlxpy("clean", "--yes")[1]
    assert kept.startswith(f"Kept: {copy} holds what its commit does not: ")
    assert (copy / "results/lr/a.txt").exists()


def test_a_job_of_this_machine_without_the_logger_whose_results_beside_the_program_are_told(
    app: GitProject,
) -> None:
    app.write("save.py", SAVE)
    app.run("save.py", "-m", "hydra/callbacks=mlxp_git", "hydra/launcher=mlxp_local", "+save=[a/b.txt]")
    (copy,) = app.copies()
    lost = LOST.format(what="a new file has", where=f"a/b.txt in {copy}")
    assert app.file(1, "log.stderr").read_text() == lost
    assert app.statuses() == ["COMPLETE"]
    version = app.info(1)["version_manager"]
    assert version["requirements"]
    assert app.file(1, ".hydra/config.yaml").exists()
    assert len(list(app.path.glob("logs/.sweeps/*"))) == 1
    assert not any((place / "multirun").exists() for place in (app.path, copy))
    # By hand, without the environment of the command.
    environment = {"PATH": "/usr/bin:/bin"}
    subprocess.run([str(app.file(1, "script.sh"))], env=environment, check=True)
    first, second = app.info(1)["attempts"]
    assert first["status"] == second["status"] == "COMPLETE"
    assert app.info(1)["version_manager"] == version
    assert app.info(1)["work_dir"] == str(copy)


def test_output_of_hydra_that_the_app_places_beside_the_program_is_told(app: GitProject) -> None:
    # As templates do that look for the root of the project from __file__.
    app.write("save.py", "import os; os.environ['ROOT'] = os.path.dirname(__file__)\n" + SAVE)
    app.commit()
    done = app.run("save.py", GIT, "hydra.run.dir=${oc.env:ROOT}/logs/train/mine")
    (copy,) = app.copies()
    assert done.stderr == LOST.format(what="4 new files have", where=f"logs/train/mine in {copy}")


def test_a_module_that_git_does_not_track_is_told(app: GitProject) -> None:
    app.write("helper.py", "import generated\n")
    app.write("generated.py", "")
    app.write(".gitignore", "generated.py\nlogs\n.workdir\n")
    app.commit()
    failed = app.run("main.py", GIT, exit_code=1)
    assert "ModuleNotFoundError: No module named 'generated'" in failed.stderr
    assert "mlxpy: generated.py is not in the copy" in failed.stderr
    assert app.run_ids() == []


# What cannot be run.


@pytest.mark.smoke
def test_no_repository_is_one_sentence_and_no_run(app: GitProject) -> None:
    shutil.rmtree(app.path / ".git")
    failed = app.run("main.py", GIT, exit_code=1)
    assert failed.stderr == (
        f"mlxpy: {app.path} is not in a git repository, which the version manager needs: run git init and "
        "commit there, or run without the version manager\n"
    )
    assert app.run_ids() == []


def test_a_program_that_is_not_in_the_commit(app: GitProject) -> None:
    app.write("new.py", MAIN)
    failed = app.run("new.py", GIT, "hydra.callbacks.mlxp_git.on_dirty=ignore", exit_code=1)
    assert f"{app.path}/new.py is not in the commit that is to run" in failed.stderr
    assert app.run_ids() == []


@pytest.mark.parametrize("option", ["-E", pytest.param("-I", marks=pytest.mark.long)])
def test_an_interpreter_that_ignores_its_environment(app: GitProject, option: str) -> None:
    app.write("main.py", "import sys\nsys.path.insert(0, '.')\n" + MAIN)
    failed = app.run(option, "main.py", GIT, exit_code=1)
    assert "mlxpy: python -E, -I and -S keep imports from being moved" in failed.stderr


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("on_dirty=stash", "mlxpy: on_dirty=stash is unknown"),
        ("link=[nothing]", "mlxpy: link: there is no nothing in"),
        ("name=Nothing", "mlxpy: no version manager 'Nothing': give GitVM"),
        ("name=no.Thing", "mlxpy: no version manager 'no.Thing' (No module named 'no')"),
        ("name=os.path", "mlxpy: the version manager 'os.path' is no subclass of mlxpy.VersionManager"),
        ("parent_work_dir=/proc/x", "mlxpy: cannot make a copy of the code in /proc/x/project:"),
    ],
)
def test_wrong_options(app: GitProject, option: str, message: str) -> None:
    failed = app.run("main.py", GIT, f"hydra.callbacks.mlxp_git.{option}", exit_code=1)
    assert message in failed.stderr
    assert failed.stderr.count("\n") == 1
    assert app.run_ids() == []


# Other ways in.


def test_a_version_manager_of_ones_own(app: GitProject) -> None:
    app.write(
        "helper.py",
        """
        from pathlib import Path
        import mlxpy
        class Frozen(mlxpy.VersionManager):
            def prepare(self, directories):
                copy = self.parent_work_dir / "frozen"
                copy.mkdir(parents=True)
                for name in ("main.py", "helper.py"):
                    (copy / name).write_text((directories[0] / name).read_text())
                (copy / "conf").symlink_to(directories[0] / "conf")
                return mlxpy.Version(directories[0], copy, {"name": "Frozen", "link": self.options["link"]})
        """,
    )
    done = app.run("main.py", GIT, "hydra.callbacks.mlxp_git.name=helper.Frozen")
    assert printed(done.stdout, "helper") == [str(app.path / ".workdir/frozen/helper.py")]
    assert app.info()["version_manager"] == {"name": "Frozen", "link": []}


LAUNCHED = """
import mlxpy as expy

@expy.launch(config_path="./configs")
def train(ctx: expy.Context) -> None:
    print("file", __file__)
    print("settings", ctx.mlxpy.version_manager.link, ctx.mlxpy.logger.log_streams_to_file)

if __name__ == "__main__":
    train()
"""


@pytest.fixture
def launched(repository: GitProject) -> GitProject:
    repository.write("main.py", LAUNCHED.lstrip())
    repository.write("configs/config.yaml", "lr: 0.1\n")
    repository.commit()
    return repository


SCHEDULER = ["+mlxpy.use_scheduler=True", "+mlxpy.scheduler.name=LocalScheduler"]


@pytest.mark.parametrize(
    ("ignored", "arguments"),
    [
        (True, SCHEDULER),
        (False, []),
        pytest.param(True, [], marks=pytest.mark.long),
        pytest.param(False, SCHEDULER, marks=pytest.mark.long),
    ],
    ids=["ignored-job", "kept-run", "ignored-run", "kept-job"],
)
def test_settings_are_those_of_the_launch(
    launched: GitProject, ignored: bool, arguments: list[str]
) -> None:
    settings = "use_version_manager: true\nlogger: {log_streams_to_file: true}\n"
    launched.write("configs/mlxpy.yaml", settings + "version_manager: {link: [data]}\n")
    launched.write(".gitignore", "data\n" + "mlxpy.yaml\n" * ignored)
    launched.commit()
    launched.write("data", "")
    launched.write("configs/mlxpy.yaml", settings + "version_manager: {link: [], on_dirty: ignore}\n")
    done = launched.run("main.py", *arguments)
    (copy,) = launched.copies()
    log = launched.file(1, "log.stdout").read_text()
    assert printed(log, "file") == [str(copy / "main.py")], done
    assert printed(log, "settings") == ["[] True"]
    assert (copy / "configs" / "mlxpy.yaml").exists() is not ignored
    assert launched.yaml(1, "mlxpy")["logger"]["log_streams_to_file"] is True
    assert launched.statuses() == ["COMPLETE"]


def test_without_a_logger(launched: GitProject) -> None:
    done = launched.run("main.py", "+mlxpy.use_version_manager=True", "+mlxpy.use_logger=False")
    assert printed(done.stdout, "file") == [str(launched.copies()[0] / "main.py")]
    assert launched.run_ids() == []


def test_help_and_configs_are_shown_without_a_copy(app: GitProject) -> None:
    app.run("main.py", GIT, "--cfg", "job")
    app.run("main.py", GIT, "--help")
    assert app.copies() == []
