"""``hydra/callbacks=mlxp_logger`` beside plain Hydra apps: each behaves as without it, and is logged."""

import os
import signal
from pathlib import Path

import pytest
from conftest import Project
from sweepers import BEST, BEST_FILE, BEST_SWEEPER

from hydra_plugins.mlxpy._callback import find_logger_class
from mlxpy_core import MlxpyError

CALLBACK = "hydra/callbacks=mlxp_logger"

APP = """
    import os, signal, sys, time
    import hydra, mlxpy

    @hydra.main(config_path=None, version_base="1.3")
    def main(cfg):
        logger = mlxpy.get_logger()
        if logger:
            logger.log_metrics({"x": cfg.get("x", 0)}, "train")
        print("in the task", flush=True)
        how = cfg.get("how", "return")
        if how == "raise": raise ValueError("no good")
        if how == "exit": sys.exit(cfg.code)
        if how == "signal":
            os.kill(os.getpid(), cfg.number)
            for _ in range(300):  # Python does not notice a signal that comes as a sleep begins
                time.sleep(0.1)
        return cfg.get("x")

    if __name__ == "__main__":
        main()
"""


@pytest.fixture
def app(project: Project) -> Project:
    project.write("app.py", APP)
    return project


@pytest.mark.smoke
def test_a_run_has_its_directory_with_config_metadata_and_hydras_output(app: Project) -> None:
    done = app.run("app.py", CALLBACK, "+x=1", "+name=a b")
    assert done.stdout == "in the task\n"
    assert done.stderr == ""
    assert app.yaml(1, "config") == {"x": 1, "name": "a b"}
    info = app.info()
    assert info["status"] == "COMPLETE"
    assert info["overrides"] == ["+x=1", "+name=a b"]
    assert info["cmd"].endswith("app.py hydra/callbacks=mlxp_logger +x=1 '+name=a b'")
    assert info["work_dir"] == str(app.path)
    assert info["current_file_path"] == str(app.path / "app.py")
    assert app.yaml(1, "mlxpy") == {
        "logger": {
            "name": "DefaultLogger",
            "parent_log_dir": str(app.path / "logs"),
            "forced_log_id": -1,
            "log_streams_to_file": False,
            "system_metrics": False,
            "system_metrics_interval_s": 10,
            "tags": [],
            "app_metrics": None,
        },
        "use_logger": True,
    }
    assert app.file(1, "metrics/train.json").read_text() == '{"x": 1}\n'
    assert app.file(1, ".hydra/config.yaml").exists()
    assert app.file(1, "app.log").exists()
    assert sorted(path.name for path in app.path.iterdir()) == ["app.py", "logs"]


@pytest.mark.smoke
@pytest.mark.smoke_long("COMPLETE")
@pytest.mark.parametrize(
    ("how", "status"),
    [
        pytest.param(["+how=return"], "COMPLETE", marks=pytest.mark.long),
        (["+how=raise"], "FAILED"),
        pytest.param(["+how=exit", "+code=0"], "COMPLETE", marks=pytest.mark.long),
        (["+how=exit", "+code=null"], "COMPLETE"),
        pytest.param(["+how=exit", "+code=3"], "FAILED", marks=pytest.mark.long),
        (["+how=exit", "+code=a message"], "FAILED"),
        pytest.param(
            ["+how=signal", f"+number={signal.SIGINT.value}"], "INTERRUPTED", marks=pytest.mark.long
        ),
        (["+how=signal", f"+number={signal.SIGTERM.value}"], "INTERRUPTED"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_an_app_ends_as_without_it_and_the_status_is_true(
    app: Project, how: list[str], status: str
) -> None:
    without = app.run("app.py", *how, exit_code=None)
    with_it = app.run("app.py", CALLBACK, *how, exit_code=without.returncode)
    assert (with_it.stdout, with_it.stderr) == (without.stdout, without.stderr)
    assert app.info()["status"] == status
    exception = app.info()["exception"]
    assert (exception is not None) == (status == "FAILED")
    if how == ["+how=raise"]:
        assert exception["type"] == "ValueError"
        assert exception["message"] == "no good"
        assert "in main\n" in exception["traceback"]


def test_ctrl_c_in_a_terminal_ends_it_as_interrupted(app: Project) -> None:
    process = app.start("app.py", CALLBACK, "+how=signal", "+number=0")
    assert process.stdout is not None
    assert process.stdout.readline() == "in the task\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    assert app.info()["status"] == "INTERRUPTED"


@pytest.mark.smoke
def test_each_job_of_a_sweep_has_its_run(app: Project) -> None:
    told = app.run("app.py", "-m", CALLBACK, "+x=1,2,3").stdout
    assert f"[HYDRA] Runs go to {app.path}/logs: mlxpy ls lists them\n" in told
    assert app.statuses() == ["COMPLETE"] * 3
    assert [app.yaml(log_id, "config") for log_id in app.run_ids()] == [{"x": 1}, {"x": 2}, {"x": 3}]
    assert [app.info(log_id)["overrides"] for log_id in app.run_ids()] == [["+x=1"], ["+x=2"], ["+x=3"]]
    assert app.file(3, ".hydra/overrides.yaml").read_text() == "- +x=3\n"
    # What is of no job lies among the runs, too, which it does not disturb.
    assert sorted(os.listdir(app.path)) == ["app.py", "logs"]
    [sweep] = app.path.glob("logs/.sweeps/*")
    assert os.listdir(sweep) == ["multirun.yaml"]
    assert (app.path / "logs/.gitignore").read_text() == "*\n"
    assert app.mlxpy("ls", "-c", "id") == ("id\n 1\n 2\n 3\n", "")
    assert app.mlxpy("clean", "--yes") == ("Nothing to remove.\n", "")
    app.run("app.py", CALLBACK)
    assert app.run_ids() == [1, 2, 3, 4]


def test_what_a_sweep_deletes_is_recorded_as_typed(app: Project) -> None:
    """By Hydra's sweeper it is ``~y=null``, which Hydra 1.4 takes for a value that y must have."""
    app.run("app.py", "-m", CALLBACK, "+x=4", "+y=0", "~y")
    assert app.info()["overrides"] == ["+x=4", "+y=0", "~y"]


def test_a_job_that_fails_ends_its_sweep_and_only_its_run(app: Project) -> None:
    app.run("app.py", "-m", CALLBACK, "+x=1,2", "+how=return,raise", exit_code=1)
    assert sorted(app.statuses()) == ["COMPLETE", "COMPLETE", "FAILED", "FAILED"]


@pytest.mark.parametrize(
    ("launcher", "fails"),
    [
        ("joblib", True),
        ("submitit_local", False),
        pytest.param("joblib", False, marks=pytest.mark.long),
        pytest.param("submitit_local", True, marks=pytest.mark.long),
    ],
)
def test_other_launchers(app: Project, launcher: str, fails: bool) -> None:
    package = launcher.partition("_")[0]
    pytest.importorskip(package, reason=f"{package} is not installed")
    app.write(BEST_FILE, BEST)
    options = ["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []
    second = "+how=return,raise" if fails else "+x=1,2"
    words = [CALLBACK, BEST_SWEEPER, f"hydra/launcher={launcher}", *options, second]
    done = app.run("app.py", "-m", *words, exit_code=int(fails))
    key, values = second.lstrip("+").split("=")
    found = {str(app.yaml(log_id, "config")[key]): log_id for log_id in app.run_ids()}
    assert set(found) == set(values.split(","))
    for value, log_id in found.items():
        info = app.info(log_id)
        assert info["status"] == ("FAILED" if value == "raise" else "COMPLETE")
        x = 0 if fails else value
        assert app.file(log_id, "metrics/train.json").read_text() == f'{{"x": {x}}}\n'
        assert app.file(log_id, ".hydra/overrides.yaml").read_text() == f"- +{key}={value}\n"
        assert "app.py -m" in info["cmd"]
        assert info["current_file_path"] == str(app.path / "app.py")
    assert ("Traceback" in done.stderr) == fails
    assert ("Best value: 1\n" in done.stdout) != fails
    [sweep] = app.path.glob("logs/.sweeps/*")
    assert (sweep / ".submitit").exists() == (launcher == "submitit_local")
    assert sorted(os.listdir(app.path)) == ["app.py", "hydra_plugins", "logs"]


def test_a_module_of_a_package(project: Project) -> None:
    project.write("pkg/__init__.py", "")
    project.write("pkg/app.py", APP)
    project.run("-m", "pkg.app", CALLBACK, "+x=1")
    assert project.info()["cmd"].endswith("-m pkg.app hydra/callbacks=mlxp_logger +x=1")
    assert project.info()["current_file_path"] == str(project.path / "pkg" / "app.py")


def test_structured_configs_with_all_their_types(project: Project) -> None:
    project.write(
        "app.py",
        """
        from dataclasses import dataclass, field
        from enum import Enum
        from pathlib import Path
        from typing import Any, Dict, List, Optional
        import hydra
        from hydra.core.config_store import ConfigStore

        class Kind(Enum):
            SMALL = 1
            LARGE = 2

        @dataclass
        class Inner:
            lr: float = 1e-5
            path: Path = Path("/data")

        @dataclass
        class Config:
            kind: Kind = Kind.LARGE
            by_kind: Dict[Kind, int] = field(default_factory=lambda: {Kind.SMALL: 3})
            inner: Inner = field(default_factory=Inner)
            sizes: List[int] = field(default_factory=lambda: [1, 2])
            nothing: Optional[int] = None
            later: int = "???"
            double: Any = "${inner.lr}"

        ConfigStore.instance().store("config", Config)
        @hydra.main(config_path=None, config_name="config", version_base="1.3")
        def main(cfg): pass
        if __name__ == "__main__": main()
        """,
    )
    project.run("app.py", CALLBACK)
    assert project.yaml(1, "config") == {
        "kind": "LARGE",
        "by_kind": {"SMALL": 3},
        "inner": {"lr": 1e-5, "path": "/data"},
        "sizes": [1, 2],
        "nothing": None,
        "later": "???",
        "double": 1e-5,
    }


def test_an_app_that_calls_hydra_twice(project: Project) -> None:
    project.write(
        "app.py",
        """
        import hydra
        @hydra.main(config_path=None, version_base="1.3")
        def train(cfg): print("train")
        @hydra.main(config_path=None, version_base="1.3")
        def evaluate(cfg): raise ValueError
        if __name__ == "__main__":
            train()
            evaluate()
        """,
    )
    project.run("app.py", CALLBACK, exit_code=1)
    assert project.statuses() == ["COMPLETE", "FAILED"]


CALLBACKS = """
    from hydra.experimental.callback import Callback
    class Speak(Callback):
        def __init__(self, name): self.name = name
        def on_job_start(self, config, **kwargs): print(self.name, "starts")
        def on_job_end(self, config, job_return, **kwargs):
            print(self.name, "ends", job_return.return_value)
"""


@pytest.mark.smoke
@pytest.mark.smoke_long
def test_several_callbacks_at_once(app: Project) -> None:
    app.write("speak.py", CALLBACKS)
    app.write(
        "conf/hydra/callbacks/other.yaml",
        """
        # @package hydra.callbacks.other
        _target_: speak.Speak
        name: other
        """,
    )
    done = app.run("app.py", "--config-dir", "conf", "hydra/callbacks=[mlxp_logger,other]", "+x=5")
    assert done.stdout.splitlines() == ["other starts", "in the task", "other ends 5"]
    assert app.statuses() == ["COMPLETE"]


def test_beside_callbacks_that_the_app_configures(project: Project) -> None:
    project.write("speak.py", CALLBACKS)
    project.write("app.py", APP.replace("config_path=None", 'config_path=".", config_name="config"'))
    project.write(
        "config.yaml",
        """
        x: 7
        hydra:
          callbacks:
            own: {_target_: speak.Speak, name: own}
        """,
    )
    done = project.run("app.py", CALLBACK)
    assert done.stdout.splitlines() == ["own starts", "in the task", "own ends 7"]
    assert project.statuses() == ["COMPLETE"]
    assert project.yaml(1, "config") == {"x": 7}


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("forced_log_id=abc", "Value 'abc' of type 'str' could not be converted to Integer"),
        ("parent_log_dri=x", "parent_log_dri"),
        ("forced_log_id=0", "mlxpy: forced_log_id=0 is no run"),
        ("name=Loger", "mlxpy: no logger 'Loger': give DefaultLogger, or the dotted path"),
    ],
)
def test_a_wrong_option_ends_with_a_message_and_no_traceback(
    app: Project, option: str, message: str
) -> None:
    done = app.run("app.py", CALLBACK, f"hydra.callbacks.mlxp_logger.{option}", exit_code=1)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "in the task" not in done.stdout


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("os.path", "the logger 'os.path' is no subclass of mlxpy.Logger"),
        ("no.such.Thing", r"no logger 'no.such.Thing' \(No module named 'no'\)"),
    ],
)
def test_what_is_no_logger(name: str, message: str) -> None:
    with pytest.raises(MlxpyError, match=message):
        find_logger_class(name)


def test_a_logger_of_ones_own(app: Project) -> None:
    app.write(
        "mine.py",
        """
        import mlxpy
        class Loud(mlxpy.Logger):
            def log_metrics(self, metrics, log_name):
                print("logging", dict(metrics))
                super().log_metrics(metrics, log_name)
        """,
    )
    option = "hydra.callbacks.mlxp_logger.name=mine.Loud"
    done = app.run("app.py", CALLBACK, option, "+x=1")
    assert done.stdout.splitlines() == ["logging {'x': 1}", "in the task"]
    assert app.yaml(1, "mlxpy")["logger"]["name"] == "mine.Loud"


def test_a_program_that_listens_for_the_stop(project: Project) -> None:
    project.write(
        "app.py",
        """
        import hydra, mlxpy
        @hydra.main(config_path=None, version_base="1.3")
        def main(cfg):
            logger = mlxpy.get_logger()
            logger.should_stop
            print("on", flush=True)
            while not logger.should_stop: pass
            logger.log_checkpoint("saved")
        if __name__ == "__main__": main()
        """,
    )
    process = project.start("app.py", CALLBACK)
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert project.info()["status"] == "INTERRUPTED"


def test_there_is_no_logger_outside_a_run(project: Project) -> None:
    project.write("app.py", "import mlxpy; print(mlxpy.get_logger(), mlxpy.current_run())")
    assert project.run("app.py").stdout == "None None\n"


def test_output_of_the_job_goes_to_files(app: Project) -> None:
    option = "hydra.callbacks.mlxp_logger.log_streams_to_file=true"
    done = app.run("app.py", "-m", CALLBACK, option, "+x=1,2")
    for log_id in (1, 2):
        assert app.file(log_id, "log.stdout").read_text() == "in the task\n"
    assert done.stdout.count("in the task") == 2


def test_secrets_from_the_environment_are_not_written_down(project: Project) -> None:
    project.write("config.yaml", "token: ${oc.env:TOKEN}\ncopy: ${token}\nlr: 1e-3\n")
    project.write("app.py", APP.replace("config_path=None", 'config_path=".", config_name="config"'))
    project.run("app.py", CALLBACK, env={"TOKEN": "s3cret"})
    assert project.yaml(1, "config") == {"token": "${oc.env:TOKEN}", "copy": "${token}", "lr": 0.001}
    everything = [path.read_text() for path in project.file(1, ".").rglob("*") if path.is_file()]
    assert not any("s3cret" in text for text in everything)


@pytest.mark.smoke
def test_hydra_lists_the_plugin_and_its_group(app: Project) -> None:
    plugins = app.run("app.py", "--info", "plugins").stdout
    assert "MlxpyConfigSource" in plugins
    assert "MlxpySearchPath" in plugins
    assert "hydra/callbacks: mlxp_git, mlxp_logger\n" in app.run("app.py", "--hydra-help").stdout


@pytest.mark.smoke
@pytest.mark.smoke_long("hydra/callb", "hydra/callbacks=")
@pytest.mark.parametrize(
    ("typed", "completions"),
    [
        ("hydra/callb", {"hydra/callbacks="}),
        ("hydra/callbacks=", {"hydra/callbacks=mlxp_logger"}),
        ("hydra/launcher=mlxp_", {"hydra/launcher=mlxp_oar", "hydra/launcher=mlxp_slurm"}),
        (
            "hydra/callbacks=mlxp_logger hydra.callbacks.mlxp_logger.us",
            {"hydra.callbacks.mlxp_logger.use_run_dir="},
        ),
    ],
)
def test_shell_completion(app: Project, typed: str, completions: set[str]) -> None:
    line = f"python app.py {typed}"
    environment = {"COMP_LINE": line, "COMP_POINT": str(len(line))}
    done = app.run("app.py", "-sc", "query=bash", env=environment)
    assert completions <= set(done.stdout.split())


def test_a_kill_leaves_everything_readable(app: Project) -> None:
    app.run("app.py", CALLBACK, "+how=signal", f"+number={signal.SIGKILL.value}", exit_code=-9)
    assert app.info()["status"] == "RUNNING"
    assert app.file(1, "metrics/train.json").read_text() == '{"x": 0}\n'


def test_nothing_but_the_task_is_waited_for(app: Project, tmp_path: Path) -> None:
    """A run's files are closed and its handlers gone when the job ends."""
    app.write(
        "twice.py",
        """
        import os, signal, hydra
        before = signal.getsignal(signal.SIGTERM)
        @hydra.main(config_path=None, version_base="1.3")
        def main(cfg):
            import mlxpy
            for name in "abc": mlxpy.get_logger().log_metrics({"x": 1}, name)
        main()
        count = len(os.listdir("/proc/self/fd"))
        for _ in range(5): main()
        assert len(os.listdir("/proc/self/fd")) <= count, os.listdir("/proc/self/fd")
        assert signal.getsignal(signal.SIGTERM) == before
        """,
    )
    app.run("twice.py", CALLBACK, "hydra/job_logging=disabled", "hydra/hydra_logging=disabled")
    assert app.statuses() == ["COMPLETE"] * 6
    assert os.getpid() != app.info(6)["process_id"]


CHANGING = """
import random
import hydra, mlxpy, yaml
from omegaconf import OmegaConf
def draw(*_): return random.SystemRandom().random()
OmegaConf.register_new_resolver("draw", draw)
OmegaConf.register_new_resolver("kept", draw, use_cache=True)
OmegaConf.register_new_resolver("double", lambda x: 2 * x)
@hydra.main(version_base=None, config_path=".", config_name="config")
def main(cfg):
    logger = mlxpy.get_logger()
    recorded = yaml.safe_load(open(f"{logger.log_dir}/metadata/config.yaml"))
    assert recorded == OmegaConf.to_container(cfg, resolve=True), (recorded, cfg)
    assert cfg.sub.token == cfg.seed and OmegaConf.is_struct(cfg)
    written = OmegaConf.to_container(cfg)
    assert (written["now"], written["twice"]) == ("at ${now:%S.%f}", "${double:${lr}}")
    cfg.lr = 5
    assert cfg.twice == 10
main()
"""


@pytest.mark.smoke
@pytest.mark.smoke_long(["-m", "hydra/launcher=mlxp_local", "lr=1,2"])
@pytest.mark.parametrize(
    "arguments", [[CALLBACK], ["-m", CALLBACK, "lr=1,2"], ["-m", "hydra/launcher=mlxp_local", "lr=1"]]
)
def test_what_another_look_would_change_is_recorded_as_the_task_has_it(
    project: Project, arguments: list[str]
) -> None:
    project.write(
        "config.yaml",
        """
        early: 'x${seed}'
        seed: ${draw:}
        sub: {token: '${..seed}', list: ['${draw:1}', {deep: '${draw:${lr}}'}]}
        name: ${draw:}_${sub.list[0]}
        cached: ${kept:}
        now: at ${now:%S.%f}
        lr: 1
        twice: ${double:${lr}}
        """,
    )
    project.write("app.py", CHANGING)
    project.run("app.py", *arguments)
    assert set(project.statuses()) == {"COMPLETE"}
