"""``@mlxpy.launch``: what it adds to Hydra, and how it reports mistakes."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import BECOME_NOBODY, Project
from sweepers import BEST, BEST_FILE, BEST_SWEEPER

from mlxpy._command_line import parse_command_line
from mlxpy._settings import change_settings, load_settings
from mlxpy_core import MlxpyError, load_yaml

MAIN = """
    import mlxpy as expy

    def set_seeds(seed):
        print("seed", seed)

    @expy.launch(config_path="./configs", seeding_function=set_seeds)
    def train(ctx: expy.Context) -> None:
        print("lr", ctx.config.optimizer.lr, ctx.config["optimizer"]["lr"])
        if ctx.logger is None:
            print("no logger", dict(ctx.info))
            return
        assert ctx.info.log_id == ctx.logger.log_id and ctx.info.status == "RUNNING"
        assert ctx.mlxpy.use_logger
        ctx.logger.log_metrics({"lr": ctx.config.optimizer.lr}, log_name="train")

    if __name__ == "__main__":
        train()
"""


@pytest.fixture
def program(project: Project) -> Project:
    project.write("main.py", MAIN)
    project.write("configs/config.yaml", "seed: null\noptimizer:\n  lr: 1e-3\n")
    project.write("configs/db/mysql.yaml", "name: mysql\n")
    return project


@pytest.mark.smoke
def test_a_run(program: Project) -> None:
    assert program.run("main.py").stdout == "lr 0.001 0.001\n"
    assert program.yaml(1, "config") == {"seed": None, "optimizer": {"lr": 0.001}}
    assert program.statuses() == ["COMPLETE"]
    settings = program.yaml(1, "mlxpy")
    assert settings["logger"]["parent_log_dir"] == str(program.path / "logs")
    assert settings["use_scheduler"] is False
    assert settings["version_manager"]["name"] == "GitVM"


@pytest.mark.smoke
def test_a_list_of_values_sweeps_a_key_that_exists(program: Project) -> None:
    done = program.run("main.py", "+optimizer.lr=0.01,0.1", "+seed=1,2")
    assert [line for line in done.stdout.splitlines() if line[:4] in ("lr 0", "seed")] == [
        line for lr in (0.01, 0.1) for seed in (1, 2) for line in (f"seed {seed}", f"lr {lr} {lr}")
    ]
    assert program.statuses() == ["COMPLETE"] * 4


def test_settings_are_written_with_their_defaults_and_read(program: Project) -> None:
    program.run("main.py")
    path = program.path / "configs" / "mlxpy.yaml"
    written = path.read_text()
    assert load_yaml(written) == {
        "logger": {
            "name": "DefaultLogger",
            "parent_log_dir": "./logs",
            "forced_log_id": -1,
            "log_streams_to_file": False,
            "system_metrics": False,
            "system_metrics_interval_s": 10,
            "tags": [],
            "app_metrics": None,
        },
        "scheduler": {
            "name": "OARScheduler",
            "shell_path": "/bin/bash",
            "shell_config_cmd": "",
            "env_cmd": "",
            "cleanup_cmd": "",
            "option_cmd": [],
        },
        "version_manager": {
            "name": "GitVM",
            "parent_work_dir": "./.workdir",
            "compute_requirements": True,
            "on_dirty": "snapshot",
            "link": [],
            "include": [],
            "max_file_mb": 50.0,
        },
        "use_version_manager": False,
        "use_scheduler": False,
        "use_logger": True,
        "interactive_mode": True,
        "resolve": True,
        "as_ConfigDict": True,
    }
    path.write_text("logger: {parent_log_dir: other}\n")
    program.run("main.py")
    assert program.run_ids("other") == [1]
    assert path.read_text() == "logger: {parent_log_dir: other}\n"
    program.run("main.py", "+mlxpy.logger.parent_log_dir='my logs, é $x'")
    assert program.run_ids("my logs, é $x") == [1]
    names = sorted(path.name for path in (program.path / "configs").iterdir())
    assert names == ["config.yaml", "db", "mlxpy.yaml"]


def test_settings_may_name_the_environment(program: Project) -> None:
    program.write("configs/mlxpy.yaml", "logger: {parent_log_dir: '${oc.env:SCRATCH}/runs'}")
    program.run("main.py", env={"SCRATCH": str(program.path / "scratch")})
    assert program.run_ids("scratch/runs") == [1]
    done = program.run("main.py", exit_code=1)
    assert done.stderr.startswith("mlxpy: wrong value in ")
    assert "Environment variable 'SCRATCH' not found" in done.stderr


def test_settings_by_the_names_of_mlxp(program: Project) -> None:
    program.write("configs/mlxp.yaml", "logger: {name: mlxp.DefaultLogger, parent_log_dir: theirs}")
    done = program.run(
        "main.py", "+mlxp.logger.log_streams_to_file=true", "+mlxp.version_manager.name=mlxp.GitVM"
    )
    assert "as there is no mlxpy.yaml" in done.stderr
    assert program.file(1, "log.stdout", "theirs").read_text() == "lr 0.001 0.001\n"
    program.write("configs/mlxp.yaml", "logger: {parent_logs: theirs}")
    done = program.run("main.py", exit_code=1)
    assert "unknown setting logger.parent_logs in " in done.stderr
    assert "configs/mlxp.yaml, did you mean logger.parent_log_dir?" in done.stderr
    program.write("configs/mlxpy.yaml", "logger: {parent_log_dir: ours}")  # is read, and not MLXP's
    assert program.run("main.py", "+mlxp={logger: {parent_log_dir: typed}}").stderr == ""
    assert program.run_ids("typed") == [1]


def test_the_config_is_a_dict_of_the_function_alone(project: Project) -> None:
    project.write(
        "configs/config.yaml",
        "a: {b: [1, {c: 2}], d: '${x}'}\nx: 3\nclass: {_target_: collections.Counter}\n",
    )
    project.write(
        "main.py",
        """
        import json
        import hydra
        import mlxpy
        @mlxpy.launch()
        def main(ctx):
            cfg = ctx.config
            assert isinstance(cfg, mlxpy.ConfigDict) and ctx.mlxp.use_logger
            assert type(cfg.a.b) is list and cfg.a.b[1].c == cfg["a"]["b"][1]["c"] == 2
            assert hydra.utils.instantiate(cfg["class"]) == {}
            cfg.new = {"deep": {"er": 1}}
            cfg.new.deep.other = 2
            cfg.update({"a": {"d": 4}, "y": {"z": 5}})
            assert cfg.pop("x") == 3
            print(json.dumps(cfg.to_dict()))
        main()
        """,
    )
    counter = {"class": {"_target_": "collections.Counter"}}
    assert json.loads(project.run("main.py").stdout) == {
        "a": {"b": [1, {"c": 2}], "d": 4}, **counter, "new": {"deep": {"er": 1, "other": 2}}, "y": {"z": 5}
    }  # fmt: skip
    assert project.yaml(1, "config") == {"a": {"b": [1, {"c": 2}], "d": 3}, "x": 3, **counter}


def test_values_that_cannot_be_had(project: Project) -> None:
    project.write("configs/config.yaml", "a: {b: '???'}\nc: '${nothing}'\n")
    project.write(
        "main.py",
        "import mlxpy\n@mlxpy.launch()\ndef main(ctx): print(type(ctx.config).__name__)\nmain()\n",
    )
    assert (
        "mlxpy: the value a.b of the config cannot be had: "
        in project.run("main.py", exit_code=1).stderr
    )
    done = project.run("main.py", "a.b=1", exit_code=1)
    assert (
        "mlxpy: the value c of the config cannot be had: Interpolation key 'nothing' not found"
        in done.stderr
    )
    lazily = ["+mlxpy.as_ConfigDict=false", "+mlxpy.resolve=false"]
    assert project.run("main.py", *lazily).stdout == "DictConfig\n"
    assert project.run("main.py", lazily[0], "a.b=1", "c=2").stdout == "DictConfig\n"
    assert project.statuses() == ["FAILED", "FAILED", "COMPLETE", "COMPLETE"]


def test_without_a_logger(program: Project) -> None:
    assert program.run("main.py", "+mlxpy.use_logger=false").stdout == "lr 0.001 0.001\nno logger {}\n"
    assert not (program.path / "logs").exists()


def test_a_forced_id(program: Project) -> None:
    program.run("main.py")
    program.run("main.py", "+mlxpy.logger.forced_log_id=1")
    assert program.run_ids() == [1]
    assert len(program.info()["attempts"]) == 2


def test_config_groups_keep_hydras_plus(program: Project) -> None:
    program.run("main.py", "+db=mysql")
    assert program.yaml(1, "config")["db"] == {"name": "mysql"}


@pytest.mark.smoke
@pytest.mark.smoke_long
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (
            "+mlxpy.usage=1",
            "unknown setting usage in the command line; valid here: logger, scheduler, "
            "version_manager, use_version_manager, use_scheduler, use_logger, interactive_mode, resolve, as_ConfigDict",
        ),
        (
            "+mlxpy.logger.name=Default",
            "no logger 'Default': give DefaultLogger, or the dotted path of a class of yours",
        ),
        (
            "+mlxpy.version_manager.name=Git",
            "no version manager 'Git': give GitVM, or the dotted path of a class of yours",
        ),
        (
            "+mlxpy={use_scheduler: true, use_logger: false}",
            "use_scheduler needs the logger's directories: set use_logger to true",
        ),
        (
            "+mlxpy={use_scheduler: true, scheduler: {name: SLURM}}",
            "no scheduler 'SLURM': give LSFScheduler, LocalScheduler, MoabScheduler, OARScheduler, PBSScheduler, SGEScheduler, SLURMScheduler, or the dotted path of a class of yours",
        ),
    ],
)
def test_wrong_settings_end_with_one_sentence(program: Project, argument: str, message: str) -> None:
    done = program.run("main.py", argument, exit_code=1)
    assert (done.stdout, done.stderr) == ("", f"mlxpy: {message}\n")
    assert not (program.path / "logs").exists()


LOGGER_SETTINGS = (
    "name, parent_log_dir, forced_log_id, log_streams_to_file, system_metrics, "
    "system_metrics_interval_s, tags, app_metrics"
)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (
            f"+{prefix}.logger.parent_logs=x",
            "unknown setting logger.parent_logs in the command line, did you mean "
            f"logger.parent_log_dir? valid here: {LOGGER_SETTINGS}",
        )
        for prefix in ("mlxpy", "mlxp")
    ]
    + [
        (
            "+mlxpy.use_logger=3",
            "wrong value for use_logger in the command line: 3 is not true or false: give one of them",
        ),
        ("+mlxpy.logger=x", f"logger in the command line must hold settings: {LOGGER_SETTINGS}"),
        (
            "+mlxpy.logger.forced_log_id=0",
            "wrong value for logger.forced_log_id in the command line: 0 is no run "
            "(runs are numbered from 1, and -1 takes a new number)",
        ),
    ],
)
def test_settings_of_the_command_that_are_wrong(argument: str, message: str) -> None:
    changes = parse_command_line([argument]).settings
    with pytest.raises(MlxpyError, match=f"^{re.escape(message)}$"):
        change_settings(load_settings(None), changes, "the command line")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("logger:\n  nam: x", "unknown setting logger.nam in {}, did you mean logger.name?"),
        ("logger: [", "{} is not valid YAML"),
        ("- a", "{} must hold settings"),
        ("logger:", "logger in {} must hold settings"),
        ("logger:\n  forced_log_id: x", "wrong value for logger.forced_log_id in {}: Value 'x'"),
    ],
)
def test_a_wrong_file_of_settings_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mlxpy.yaml"
    path.write_text(text)
    with pytest.raises(MlxpyError) as raised:
        load_settings(tmp_path)
    assert str(raised.value).startswith(message.format(path))
    assert "\n" not in str(raised.value)


def test_hydras_own_mistakes_are_told_by_hydra(program: Project) -> None:
    assert "Error parsing override '+x'" in program.run("main.py", "+x", exit_code=1).stderr
    assert "Could not override 'typo'" in program.run("main.py", "typo=1", exit_code=1).stderr


def test_asking_is_no_run(program: Project) -> None:
    assert program.run("main.py", "--cfg", "job", "+mlxpy.use_logger=true").stdout.startswith(
        "seed: null"
    )
    assert "== Config ==" in program.run("main.py", "--help").stdout
    assert not (program.path / "logs").exists()
    assert not (program.path / "configs" / "mlxpy.yaml").exists()


@pytest.mark.smoke
@pytest.mark.smoke_long
def test_no_seed_in_the_config_is_told(program: Project) -> None:
    program.write("configs/config.yaml", "optimizer: {lr: 1}\n")
    done = program.run("main.py", exit_code=1)
    assert done.stderr == (
        "mlxpy: a seeding function was given to launch, but the config has no 'seed': "
        "add 'seed: null' to the config file, or +seed=1 to the command\n"
    )
    assert program.statuses() == ["FAILED"]


@pytest.mark.parametrize(
    "seed", ["7", "{numpy:1,torch:2}", pytest.param("[1,2]", marks=pytest.mark.long)]
)
def test_a_seed_is_whatever_yaml_holds(program: Project, seed: str) -> None:
    shown = {"7": "7", "{numpy:1,torch:2}": "{'numpy': 1, 'torch': 2}", "[1,2]": "[1, 2]"}[seed]
    assert program.run("main.py", f"+seed={seed}").stdout.startswith(f"seed {shown}\n")


def test_started_from_elsewhere_and_as_a_module(program: Project) -> None:
    program.write("pkg/__init__.py", "")
    program.write("pkg/main.py", MAIN)
    program.write("pkg/configs/config.yaml", "seed: null\noptimizer:\n  lr: 5\n")
    program.write("command.py", "from pkg.main import train\ntrain()")
    (program.path / "sub dir").mkdir()
    program.run("../main.py", cwd=program.path / "sub dir")
    assert program.run_ids("sub dir/logs") == [1]
    for arguments in (["-m", "pkg.main"], ["command.py"]):
        assert program.run(*arguments).stdout == "lr 5 5\n"
    assert program.run_ids() == [1, 2]
    assert (program.path / "pkg" / "configs" / "mlxpy.yaml").exists()


def test_other_config_names_and_paths(program: Project) -> None:
    program.write("other/big.yaml", "seed: null\noptimizer:\n  lr: 9\n")
    done = program.run("main.py", "--config-path", "other", "--config-name", "big", "+seed=3")
    assert done.stdout == "seed 3\nlr 9 9\n"
    assert (program.path / "other" / "mlxpy.yaml").exists()


def test_no_configs_at_all(project: Project) -> None:
    project.write(
        "main.py",
        """
        import mlxpy
        @mlxpy.launch(config_path=None)
        def main(ctx): print(ctx.config.x, ctx.logger.log_id)
        if __name__ == "__main__": main()
        """,
    )
    assert project.run("main.py", "+x=3").stdout == "3 1\n"
    assert sorted(path.name for path in project.path.iterdir()) == ["logs", "main.py"]


def test_an_absent_config_directory_is_told_by_hydra(project: Project) -> None:
    project.write("main.py", MAIN)
    done = project.run("main.py", exit_code=1)
    assert "Primary config directory not found" in done.stderr
    assert not (project.path / "configs").exists()


@pytest.mark.long  # as any other launcher, see test_callback
def test_a_joblib_sweep(program: Project) -> None:
    pytest.importorskip("joblib", reason="joblib is not installed")
    program.run("main.py", "hydra/launcher=joblib", "+optimizer.lr=1,2", "+seed=4")
    assert program.statuses() == ["COMPLETE"] * 2
    assert sorted(program.yaml(log_id, "config")["optimizer"]["lr"] for log_id in (1, 2)) == [1, 2]
    for log_id in (1, 2):
        rate = program.yaml(log_id, "config")["optimizer"]["lr"]
        assert program.info(log_id)["overrides"] == [f"+optimizer.lr={rate}", "+seed=4"]


def test_a_sweeper_gets_what_the_function_returns(project: Project) -> None:
    project.write(BEST_FILE, BEST)
    project.write(
        "main.py",
        """
        import mlxpy
        @mlxpy.launch(config_path=None)
        def main(ctx): return (ctx.config.x - 2) ** 2
        if __name__ == "__main__": main()
        """,
    )
    assert "Best value: 1\n" in project.run("main.py", BEST_SWEEPER, "+x=1,4").stdout
    assert project.statuses() == ["COMPLETE"] * 2


def test_many_first_runs_at_once_write_one_file_of_settings(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(load_settings, [tmp_path] * 8))
    assert [path.name for path in tmp_path.iterdir()] == ["mlxpy.yaml"]
    assert found == [load_settings(tmp_path)] * 8


def test_configs_that_cannot_be_written_have_the_defaults(program: Project) -> None:
    program.open_to_all()
    program.write(
        "settings.py",
        "from pathlib import Path\nfrom mlxpy._settings import load_settings\n"
        + BECOME_NOBODY
        + "print(load_settings(Path('configs')).use_logger)",
    )
    assert program.run("settings.py").stdout == "True\n"
    assert not (program.path / "configs" / "mlxpy.yaml").exists()


@pytest.mark.parametrize("options", [[], ["+mlxpy.use_logger=false"]])
def test_the_seeding_function_gets_the_seed_that_the_task_sees(
    project: Project, options: list[str]
) -> None:
    project.write("configs/config.yaml", "seed: ${draw:}\n")
    project.write(
        "main.py",
        """
        import random
        import mlxpy as expy
        from omegaconf import OmegaConf
        OmegaConf.register_new_resolver("draw", lambda: random.SystemRandom().random())
        seeds = []
        @expy.launch(seeding_function=seeds.append)
        def main(ctx):
            assert seeds == [ctx.config.seed] == [ctx.config.seed]
        main()
        """,
    )
    project.run("main.py", *options)


def test_overrides_are_recorded_and_shown_as_they_were_typed(program: Project) -> None:
    typed = ["+optimizer.lr=0.01", "+db=mysql", "++seed=4", "+new='a b'"]
    program.run("main.py", *typed)
    program.run("main.py", "+optimizer.lr=0.02,0.03", "seed=1")
    local = ["+mlxpy.use_scheduler=true", "+mlxpy.scheduler.name=LocalScheduler"]
    program.run("main.py", "+optimizer.lr=0.04", "seed=1", *local)
    for again in (1, 4):
        program.mlxpy("rerun", str(again))
    recorded = {log_id: program.yaml(log_id, "info")["overrides"] for log_id in program.run_ids()}
    rates = [0.01, 0.02, 0.03, 0.04, 0.01, 0.04]
    others = [[f"+optimizer.lr={rate}", "seed=1"] for rate in rates]
    assert list(recorded.values()) == [typed, *others[1:4], typed, others[3]]
    assert program.statuses() == ["COMPLETE"] * 6
    assert [program.yaml(log_id, "config")["optimizer"]["lr"] for log_id in recorded] == rates
    dry = program.run("main.py", "+optimizer.lr=0.1,0.2", *local, "hydra.launcher.dry_run=true")
    assert "+optimizer.lr=0.2" in dry.stdout
    shown, _ = program.mlxpy("show", "1")
    assert "+optimizer.lr=0.01" in shown
    for text in (shown, dry.stdout, program.file(4, "script.sh").read_text()):
        assert "+optimizer.lr" in text
        assert "++optimizer.lr" not in text
