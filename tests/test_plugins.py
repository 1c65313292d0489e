"""Plugins: packages with an entry point in the group mlxpy, as pip leaves them in a directory."""

import os
from pathlib import Path

import pytest
from conftest import Project

from mlxpy_core import Reader

APP = """
import sys
import hydra, mlxpy
@hydra.main(config_path=None, version_base="1.3")
def main(cfg):
    mlxpy.get_logger().log_metrics({"x": cfg.get("x", 0)}, "train")
main()
"""
LOGGER = """
import mlxpy
with mlxpy.Logger() as logger:
    logger.log_metrics({"a": 1}, "train")
"""
# Its queue is short: submitting runs the job.
SCHEDULER = """
import pathlib, mlxpy
pathlib.Path(__file__).with_suffix(".imported").touch()

class HereScheduler(mlxpy.Scheduler):
    def submit(self, script):
        self.call(["sh", "./" + script.name], script.parent)
        return "job-" + script.parent.name

    def states(self, job_ids):
        return {job_id: mlxpy.Status.COMPLETE for job_id in job_ids}

    def cancel_command(self, job_ids):
        return ["true", *job_ids]

@mlxpy.hookimpl
def mlxpy_scheduler():
    return HereScheduler
"""


class Plugins:
    """A directory of installed packages."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        path.mkdir()
        monkeypatch.setenv("PYTHONPATH", f"{path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")

    def install(self, name: str, text: str, *, package: str = "") -> None:
        package = package or name
        (self.path / f"{package}_plugin.py").write_text(text)
        metadata = self.path / f"{package}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[mlxpy]\n{name} = {package}_plugin\n")


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plugins:
    return Plugins(tmp_path / "site", monkeypatch)


@pytest.fixture
def app(project: Project) -> Project:
    project.write("main.py", APP)
    return project


@pytest.mark.smoke
@pytest.mark.smoke_long
def test_a_launcher_is_listed_without_importing_its_plugin(app: Project, plugins: Plugins) -> None:
    plugins.install("mycluster", SCHEDULER)
    assert "mlxp_mycluster" in app.run("main.py", "--hydra-help").stdout
    line = "python main.py hydra/launcher=mlxp_my"
    done = app.run("main.py", "-sc", "query=bash", env={"COMP_LINE": line, "COMP_POINT": str(len(line))})
    assert done.stdout.split() == ["hydra/launcher=mlxp_mycluster"]
    assert not (plugins.path / "mycluster_plugin.imported").exists()


def test_to_list_launchers_the_engine_is_not_imported(plugins: Plugins) -> None:
    plugins.install("mycluster", SCHEDULER)
    program = (
        "import sys; from hydra_plugins.mlxpy.config_source import MlxpyConfigSource\n"
        "print(MlxpyConfigSource('mlxpy', 'mlxpy://').list('hydra/launcher', None))\n"
        "print('mlxpy_core' in sys.modules)"
    )
    listed, engine = Project(plugins.path).run("-c", program).stdout.splitlines()
    assert "mlxp_mycluster" in listed
    assert engine == "False"


@pytest.mark.smoke
@pytest.mark.smoke_long
def test_an_app_that_does_not_use_mlxpy_does_not_look_for_plugins(
    project: Project, plugins: Plugins
) -> None:
    plugins.install("mycluster", SCHEDULER)
    project.write(
        "main.py",
        """
        import sys, hydra
        @hydra.main(config_path=None, version_base="1.3")
        def main(cfg): print("mlxpy_core" in sys.modules)
        main()
        """,
    )
    assert project.run("main.py", "-m", "+x=1").stdout.splitlines()[-1] == "False"


@pytest.mark.smoke
def test_a_launcher_of_a_plugin(app: Project, plugins: Plugins) -> None:
    plugins.install("mycluster", SCHEDULER)
    done = app.run("main.py", "-m", "hydra/launcher=mlxp_mycluster", "+x=2")
    assert done.stdout == "Submitted 1 job to the cluster queue!\n"
    assert done.stderr == f"mlxpy: run 1 is in {app.path}/logs: mlxpy status 1\n"
    assert app.statuses() == ["COMPLETE"]
    assert app.info()["scheduler"]["name"] == "HereScheduler"
    results = Reader(app.path / "logs").search("config.x == 2")
    assert [row[0] for row in results["train.x"]] == [2]
    assert results["info.scheduler.scheduler_job_id"] == ["job-1"]


def test_a_scheduler_by_its_dotted_path(app: Project) -> None:
    app.write("my/own.py", SCHEDULER.replace("HereScheduler", "OwnScheduler"))
    app.write(
        "tutorial.py", "import mlxpy\n@mlxpy.launch(config_path=None)\ndef main(ctx): pass\nmain()\n"
    )
    app.run("tutorial.py", "+mlxpy.use_scheduler=True", "+mlxpy.scheduler.name=my.own.OwnScheduler")
    assert app.statuses() == ["COMPLETE"]
    assert app.info()["scheduler"]["name"] == "my.own.OwnScheduler"


FIND = """
import sys
from mlxpy_core import MlxpyError
from mlxpy_core._scheduling._find_scheduler import find_scheduler
for name in sys.argv[1:]:
    try:
        print(type(find_scheduler(name)).__name__)
    except MlxpyError as error:
        print(error)
"""


def test_a_scheduler_by_its_name_and_those_that_cannot_be_had(app: Project, plugins: Plugins) -> None:
    plugins.install("mycluster", SCHEDULER)
    plugins.install("watcher", "")
    app.write(
        "my/own.py",
        """
        import mlxpy
        class NoScheduler: pass
        class Partial(mlxpy.Scheduler):
            def submit(self, script): return "1"
        class Picky(Partial):
            def __init__(self): raise ValueError("no token")
            def states(self, job_ids): return {}
            def cancel_command(self, job_ids): return []
        """,
    )
    sentences = {
        "mycluster": "HereScheduler",
        "HereScheduler": "HereScheduler",
        "watcher": "the plugin 'watcher' gives no scheduler: have its mlxpy_scheduler() return the class",
        "Nobody": "no scheduler 'Nobody': give HereScheduler, LSFScheduler, ",
        "my.own.Nobody": "no scheduler 'my.own.Nobody' (module 'my.own' has no attribute 'Nobody'): give ",
        "nowhere.Nobody": "no scheduler 'nowhere.Nobody' (No module named 'nowhere'): give ",
        ".Nobody": "no scheduler '.Nobody': give ",
        "my.own.NoScheduler": "the scheduler 'my.own.NoScheduler' is <class",
        "my.own.Partial": "the scheduler 'my.own.Partial' has no cancel_command and no states",
        "my.own.Picky": "the scheduler 'my.own.Picky' cannot be made: no token",
    }
    lines = app.run("-c", FIND, *sentences).stdout.splitlines()
    assert len(lines) == len(sentences)
    for line, start in zip(lines, sentences.values(), strict=True):
        assert line.startswith(start)
    nobody = "hydra.launcher.scheduler=my.own.Nobody"
    done = app.run("main.py", "-m", "hydra/launcher=mlxp_oar", nobody, exit_code=1)
    assert done.stderr == f"mlxpy: {lines[4]}\n"
    assert not (app.path / "logs").exists()


def test_plugins_that_cannot_be_used_are_left_out(project: Project, plugins: Plugins) -> None:
    texts = {
        "import nothing_of_the_kind": "ModuleNotFoundError: No module named 'nothing_of_the_kind'",
        "raise SystemExit('not\\nhere')": "SystemExit: not here",
        "import mlxpy\n@mlxpy.hookimpl\ndef mlxpy_run_start(run): pass": "unknown hook 'mlxpy_run_start'",
        "import mlxpy\n@mlxpy.hookimpl\ndef mlxpy_run_ended(job): pass": "'job'",
    }
    for number, text in enumerate(texts):
        plugins.install(f"broken{number}", text)
    lines = project.run("-c", LOGGER).stderr.splitlines()
    assert len(lines) == len(texts)
    for number, (line, words) in enumerate(zip(lines, texts.values(), strict=True)):
        assert line.startswith(f"mlxpy: the plugin 'broken{number}' is left out: ")
        assert words in line
    assert project.statuses() == ["COMPLETE"]


def test_two_plugins_of_one_name(app: Project, plugins: Plugins) -> None:
    plugins.install("mycluster", SCHEDULER, package="first")
    plugins.install("mycluster", SCHEDULER, package="second")
    done = app.run("main.py", "-m", "hydra/launcher=mlxp_mycluster", exit_code=1)
    assert done.stderr.splitlines() == [
        "mlxpy: the plugin 'mycluster' is left out: the packages first and second both have one of this "
        "name: uninstall one of them",
        "mlxpy: the plugin 'mycluster' gives no scheduler: have its mlxpy_scheduler() return the class",
    ]


def test_plugins_whose_schedulers_cannot_be_used(app: Project, plugins: Plugins) -> None:
    plugins.install("good", SCHEDULER)
    texts = {
        "slurm": SCHEDULER,
        "named": SCHEDULER.replace("HereScheduler", "SLURMScheduler"),
        "partial": SCHEDULER.replace("def states", "def state"),
        "text": SCHEDULER.replace("return HereScheduler", "return 'here'"),
        "failing": SCHEDULER.replace("return HereScheduler", "return 1 / 0"),
        "other": SCHEDULER,
    }
    for name, text in texts.items():
        plugins.install(name, text)
    done = app.run("main.py", "-m", "hydra/launcher=mlxp_good")
    *said, _ = done.stderr.splitlines()  # the last one says where the run is
    assert sorted(said) == [
        "mlxpy: the plugin 'failing' failed in mlxpy_scheduler: ZeroDivisionError: division by zero",
        "mlxpy: the plugins 'good' and 'other' both give a scheduler HereScheduler: uninstall one (left out)",
        "mlxpy: the scheduler HereScheduler of the plugin 'slurm' has a built-in's name: choose another (left out)",
        "mlxpy: the scheduler SLURMScheduler of the plugin 'named' has a built-in's name: choose another (left out)",
        "mlxpy: the scheduler of the plugin 'partial' has no states: add it, as mlxpy.Scheduler says (left out)",
        "mlxpy: the scheduler of the plugin 'text' is 'here', no subclass of mlxpy.Scheduler: derive it from that (left out)",
    ]
    assert app.statuses() == ["COMPLETE"]


WATCHER = """
import mlxpy

@mlxpy.hookimpl
def mlxpy_run_started(run):
    print("started", run.directory.log_id, run.info["status"], run.config)

@mlxpy.hookimpl
def mlxpy_run_ended(run):
    print("ended", run.info["status"])
"""


def test_plugins_watch_runs(app: Project, plugins: Plugins) -> None:
    plugins.install("watcher", WATCHER)
    done = app.run("main.py", "hydra/callbacks=mlxp_logger", "+x=1")
    assert done.stdout.splitlines() == ["started 1 RUNNING {'x': 1}", "ended COMPLETE"]
    done = app.run("-c", LOGGER + "    raise ValueError\n", exit_code=1)
    assert done.stdout.splitlines() == ["started 2 RUNNING {}", "ended FAILED"]


def test_one_that_raises_does_not_disturb_the_run_or_the_others(
    project: Project, plugins: Plugins
) -> None:
    plugins.install("bad", WATCHER.replace("    print", "    raise RuntimeError('oh\\nno')  #"))
    plugins.install("watcher", WATCHER)
    done = project.run("-c", LOGGER)
    assert done.stdout.splitlines() == ["started 1 RUNNING {}", "ended COMPLETE"]
    assert done.stderr.splitlines() == [
        "mlxpy: the plugin 'bad' failed in mlxpy_run_started: RuntimeError: oh no",
        "mlxpy: the plugin 'bad' failed in mlxpy_run_ended: RuntimeError: oh no",
    ]
    assert project.statuses() == ["COMPLETE"]


TYPES = """
import mlxpy

def save(obj, path):
    path.write_bytes(bytes(obj))

def load(path):
    return list(path.read_bytes())

@mlxpy.hookimpl
def mlxpy_artifact_types():
    return [mlxpy.ArtifactType("bytes", save, load, ".bin")]
"""


def test_artifact_types_of_plugins(project: Project, plugins: Plugins) -> None:
    plugins.install("types", TYPES)
    done = project.run(
        "-c",
        "import mlxpy\n"
        "with mlxpy.Logger() as logger:\n"
        "    logger.log_artifact([1, 2], 'few', 'bytes')\n"
        "    print(logger.load_artifact('few'), logger.load_artifact('few', 'bytes'))\n",
    )
    assert done.stdout == "[1, 2] [1, 2]\n"
    assert project.file(1, "artifacts/bytes/few.bin").read_bytes() == b"\1\2"
    done = project.run(
        "-c", "import mlxpy\nprint(mlxpy.Reader('logs').search()[0]['artifact.bytes']['few.bin'].load())"
    )
    assert done.stdout == "[1, 2]\n"


def test_artifact_types_that_cannot_be_used(project: Project, plugins: Plugins) -> None:
    texts = {
        TYPES.replace('"bytes"', '"numpy"'): (
            "artifact type 'numpy' is built in; register yours by another name"
        ),
        TYPES.replace("save,", "None,"): (
            "artifact type 'bytes': None is no function: give save(obj, path) and load(path)"
        ),
        TYPES.replace('mlxpy.ArtifactType("bytes", save, load, ".bin")', "3"): (
            "3 is no mlxpy.ArtifactType: give mlxpy.ArtifactType(name, save, load, suffix)"
        ),
        TYPES.replace('".bin")', '".bin")] * 2 + ['): (
            "artifact type 'bytes' is given twice: uninstall one of the plugins"
        ),
    }
    for number, text in enumerate(texts):
        plugins.install(f"types{number}", text)
    program = LOGGER + "    logger.log_artifact([1], 'few', 'bytes')\n"
    *told, last = project.run("-c", program, exit_code=1).stderr.splitlines()
    assert told[: len(texts)] == [
        f"mlxpy: the artifact types of the plugin 'types{number}' are left out: {words}"
        for number, words in enumerate(texts.values())
    ]
    assert "no artifact type 'bytes'; there are Checkpoint, image" in last


@pytest.mark.cold
def test_without_plugins_pluggy_is_not_imported(project: Project) -> None:
    done = project.run("-c", f"{LOGGER}\nimport sys; print('pluggy' in sys.modules)")
    assert done.stdout == "False\n"
