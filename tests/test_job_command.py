"""The command that a job of a sweep is started by, and what keeps a job from sweeping again."""

import shutil
import subprocess
import sys

import pytest
from conftest import Project

from mlxpy_core import MlxpyError, first_argument

APP = """
import hydra, mlxpy
@hydra.main(version_base=None, config_path=None)
def main(cfg):
    mlxpy.get_logger().log_metrics({"x": cfg.x}, "train")
    print("x is", cfg.x)
if __name__ == "__main__":
    main()
"""
LOCAL = ["-m", "hydra/launcher=mlxp_local"]


def run_in_a_namespace(project: Project, *words: str, given: str = "") -> tuple[int, str]:
    """Runs python where all that it starts is killed with it."""
    if not shutil.which("unshare"):
        pytest.skip("no unshare on this machine")
    namespace = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*namespace, "true"], capture_output=True).returncode:
        pytest.skip("no PID namespaces on this machine")
    done = subprocess.run(
        ["timeout", "-s", "KILL", "60", *namespace, sys.executable, *words],
        cwd=project.path,
        input=given,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def app(project: Project) -> Project:
    project.write("app.py", APP)
    return project


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("python main.py a b", 2),
        ("python -X dev -W error -u main.py a", 7),
        ("python -m package.module -m a", 3),
        ("python -Xdev -mpackage a", 3),
        ("python -Im package a", 3),
        ("python -c pass -m a", 3),
        ("python -uc pass a", 3),
        ("python --check-hash-based-pycs always -- main.py", 5),
    ],
)
def test_where_the_arguments_begin(command: str, arguments: int) -> None:
    assert first_argument(command.split()) == arguments


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("python -", "standard input"),
        ("python -X dev", "cannot tell which program"),
        ("python -m ipykernel_launcher -f x.json", "notebook"),
        ("python /usr/bin/ipython main.py", "IPython"),
        ("python -m pytest tests", "all its tests"),
        ("python /venv/bin/pytest", "all its tests"),
    ],
)
def test_what_cannot_be_started_again(command: str, words: str) -> None:
    with pytest.raises(MlxpyError, match=words):
        first_argument(command.split())


def test_options_of_the_programs_own_reach_the_jobs(project: Project) -> None:
    options = (
        "import argparse, sys\nparser = argparse.ArgumentParser(add_help=False)\n"
        "parser.add_argument('what')\nparser.add_argument('--data')\n"
        "options, rest = parser.parse_known_args()\nsys.argv = [sys.argv[0], *rest]\n"
    )
    project.write("app.py", options + APP.replace('"x is"', "options.what, options.data"))
    project.run("-X", "dev", "app.py", "evaluate", "--data", "full", *LOCAL, "+x=1")
    assert project.file(1, "log.stdout").read_text() == "evaluate full 1\n"
    assert "-X dev app.py" in project.file(1, "script.sh").read_text()


def test_code_in_the_command(app: Project) -> None:
    app.run("-c", "exec(open('app.py').read())", *LOCAL, "+x=1")
    assert app.statuses() == ["COMPLETE"]


def test_a_wrapper_that_hands_the_arguments_on(app: Project) -> None:
    # As cProfile or debugpy does.
    app.write(
        "wrapper.py",
        "import runpy, sys\ndel sys.argv[:2]\nrunpy.run_path(sys.argv[0], {}, '__main__')\n",
    )
    app.run("-m", "wrapper", "--quiet", "app.py", *LOCAL, "+x=1")
    assert app.file(1, "log.stdout").read_text() == "x is 1\n"
    assert "-m wrapper --quiet app.py" in app.file(1, "script.sh").read_text()


def test_a_program_from_standard_input_is_refused_before_anything_is_made(app: Project) -> None:
    code, output = run_in_a_namespace(app, "-", *LOCAL, "+x=1", given=APP)
    assert code == 1
    assert "mlxpy: the program was read from standard input" in output
    assert not (app.path / "logs").exists()


IN_CODE = "sys.argv = [{name!r}, '-m', 'hydra/launcher=mlxp_local', '+x=1']\n"


WAYS = {
    "set": "import sys\n" + IN_CODE.format(name="main.py") + APP,
    "runpy": "import sys, runpy\n"
    + IN_CODE.format(name="app.py")
    + "runpy.run_path('app.py', run_name='__main__')\n",
    "appended": "import sys\nsys.argv += ['-m', 'hydra/launcher=mlxp_local', '+x=1']\n" + APP,
    "inserted": APP.replace(
        "    main()\n", "    import sys\n    sys.argv.insert(1, '-m')\n    sys.argv += "
    )
    + "['hydra/launcher=mlxp_local', '+x=1']\n    main()\n",
}
STARTS = {"file": ["main.py"], "module": ["-m", "main"]}
# In the short form, where the next test has "set" in a file; all others are in --long.
SHORT = [("runpy", "file"), ("appended", "module")]


@pytest.mark.parametrize(
    ("way", "start"),
    [
        pytest.param(way, start, marks=[] if (way, start) in SHORT else pytest.mark.long)
        for way in WAYS
        for start in STARTS
    ],
)
def test_a_program_that_sets_its_arguments_in_code_sweeps_once(
    app: Project, way: str, start: str
) -> None:
    app.write("main.py", WAYS[way])
    code, output = run_in_a_namespace(app, *STARTS[start])
    assert code == 0, output
    assert app.statuses() == ["COMPLETE"]
    assert "x is 1" in app.file(1, "log.stdout").read_text()
    assert app.yaml(1, "config") == {"x": 1}
    assert len(list(app.path.glob("logs/.sweeps/*"))) == 1
    assert not (app.path / "multirun").exists()


def test_a_job_whose_arguments_are_set_in_code_is_rerun_as_it_was(app: Project) -> None:
    app.write("main.py", WAYS["set"].replace("x=1", "x=1,2"))
    code, output = run_in_a_namespace(app, "main.py")
    assert code == 0, output
    app.mlxpy("rerun", "2")
    assert [app.yaml(log_id, "config") for log_id in app.run_ids()] == [{"x": 1}, {"x": 2}, {"x": 2}]
    assert app.statuses() == ["COMPLETE"] * 3
    refusal = app.mlxpy("rerun", "2", "+x=3", exit_code=1)[1]
    assert "the arguments of run 2 are set in its program" in refusal
    assert app.run_ids() == [1, 2, 3]


def test_a_decorated_program_that_sets_its_arguments_in_code_sweeps_once(project: Project) -> None:
    project.write(
        "main.py",
        """
        import sys, mlxpy
        sys.argv = ["main.py", "+x=2", "+mlxpy.use_scheduler=true",
                    "+mlxpy.scheduler.name=LocalScheduler"]
        @mlxpy.launch(config_path=None)
        def main(ctx):
            print("x is", ctx.config.x)
        main()
        """,
    )
    code, output = run_in_a_namespace(project, "main.py")
    assert code == 0, output
    assert project.statuses() == ["COMPLETE"]
    assert project.file(1, "log.stdout").read_text().endswith("x is 2\n")


def test_a_second_sweep_from_code_is_refused(app: Project) -> None:
    app.write("main.py", "import sys\n" + IN_CODE.format(name="main.py") + APP + "    main()\n")
    code, output = run_in_a_namespace(app, "main.py")
    assert code == 1
    assert "mlxpy: the program's code sets the arguments of several sweeps" in output
    assert app.run_ids() == [1]


@pytest.mark.parametrize("launcher", ["hydra/launcher=mlxp_local", "hydra/callbacks=mlxp_logger"])
def test_a_job_that_sweeps_again_is_refused(app: Project, launcher: str) -> None:
    again = (
        "    import os, sys\n    if 'MLXPY_SWEEP_JOB' in os.environ:\n"
        f"        sys.argv = ['main.py', '-m', {launcher!r}, '+x=1,2']\n    main()\n"
    )
    app.write("main.py", APP.replace("    main()\n", again))
    code, _ = run_in_a_namespace(app, "main.py", *LOCAL, "+x=1")
    assert code == 1
    assert app.run_ids() == [1]
    error = app.file(1, "log.stderr").read_text()
    assert error.startswith("mlxpy: this program is a job of a sweep already, and sweeps again")


def test_a_job_may_start_another_program_that_sweeps(app: Project) -> None:
    logger = ["hydra/callbacks=mlxp_logger", "hydra.callbacks.mlxp_logger.parent_log_dir=others"]
    other = [sys.executable, "other.py", "-m", *logger, "+x=7"]
    app.write("other.py", APP.replace("x is", "the other's x is"))
    app.write(
        "main.py", APP.replace('print("x', f'import subprocess; subprocess.run({other})\n    print("x')
    )
    code, output = run_in_a_namespace(app, "main.py", *LOCAL, "+x=1")
    assert code == 0, output
    assert app.statuses("others") == ["COMPLETE"]
