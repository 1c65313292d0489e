"""Moving from MLXP: its programs run with another import alone, and its runs go on."""

import json
import pickle
import re
import shutil
import subprocess
import sys
from importlib import import_module, metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from conftest import Project
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

import mlxpy
from mlxpy import Reader
from mlxpy_core import RunDirectory
from mlxpy_core._runs._mlxp_info import info_of_mlxp

DATA = Path(__file__).parent / "data" / "mlxp"
MLXPYSUB = "from mlxpy_core._cli._mlxpysub import main; main(prog_name='mlxpysub')"
SWEEP = ["main.py", "optimizer.lr=0.5,0.25", "seed=1,2", "+mlxp.use_version_manager=False"]


def copy_programs(path: Path, package: str) -> Project:
    """Copies the programs, with the import of `package` in place of MLXP's."""
    shutil.copytree(DATA, path, ignore=shutil.ignore_patterns("__pycache__", "runs.yaml"))
    for program in path.glob("*.py"):
        program.write_text(re.sub(r"\bmlxp\b", package, program.read_text()))
    return Project(path)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return copy_programs(tmp_path / "project", "mlxpy")


def of_mlxp(project: Project) -> None:
    """Writes the runs that MLXP 1.0.5 left of the programs."""
    for name, content in yaml.safe_load((DATA / "runs.yaml").read_text()).items():
        path = project.path / "logs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content.replace("@ROOT@", str(project.path)))


def rows(project: Project, log_id: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in project.file(log_id, "metrics/train.json").open()]


@pytest.mark.smoke
@pytest.mark.smoke_long
def test_a_program_with_mlxp_yaml_runs_and_its_reader_prints_the_same(project: Project) -> None:
    done = project.run(*SWEEP)
    settings = (
        f"mlxpy: settings are those of {project.path}/configs/mlxp.yaml, as there is no mlxpy.yaml\n"
    )
    assert done.stderr == settings
    assert not (project.path / "configs/mlxpy.yaml").exists()
    assert project.statuses() == ["COMPLETE"] * 4
    assert project.yaml(1, "mlxpy")["logger"]["name"] == "mlxpy.DefaultLogger"
    assert project.run("read.py").stdout == (DATA / "read.txt").read_text()


def test_mlxp_itself_prints_that(tmp_path: Path) -> None:
    pytest.importorskip("mlxp", reason="mlxp is not installed")
    project = copy_programs(tmp_path / "project", "mlxp")
    project.run(*SWEEP)
    printed = project.run("read.py").stdout.splitlines(keepends=True)
    assert (
        "".join(printed[2:]) == (DATA / "read.txt").read_text()
    )  # MLXP says that it makes its database


def test_a_script_of_comma_lists(project: Project) -> None:
    script = project.path / "jobs.sh"
    script.write_text(script.read_text().replace("seed=1,2", "seed=2"))
    done = project.run("-c", MLXPYSUB, "jobs.sh", "--scheduler", "LocalScheduler")
    assert done.stdout == "Ran 2 jobs on this machine.\n"
    assert project.statuses() == ["COMPLETE"] * 2
    configs = [project.yaml(log_id, "config") for log_id in project.run_ids()]
    assert [(one["optimizer"]["lr"], one["seed"], one["epochs"]) for one in configs] == [
        (0.5, 2, 2),
        (0.25, 2, 2),
    ]
    assert [len(rows(project, log_id)) for log_id in project.run_ids()] == [2] * 2
    assert project.file(1, "log.stdout").read_text() == "done\n"


class TestOldRuns:
    """Runs of MLXP: 1 is complete, 2 failed after its second epoch, 3 was killed; it says RUNNING."""

    @pytest.fixture
    def project(self, project: Project) -> Project:
        of_mlxp(project)
        return project

    def test_they_are_read(self, project: Project) -> None:
        results = Reader(project.path / "logs").search()
        assert results["info.status"] == ["COMPLETE", "FAILED", "RUNNING"]
        assert results["info.logger.log_id"] == results["info.log_id"] == [1, 2, 3]
        row = results[0]
        assert row["train.classes"] == [[0.5, 0.5], [0.25, 0.25], [0.5 / 3, 0.5 / 3]]
        assert row["train.test"][0] == {"loss": 1.0}
        assert row["artifact.pickle."]["last"].load() == {"epoch": 2}
        assert row["artifact.pickle."]["result"].load()["optimizer"] == {
            "lr": 0.5,
            "name": "sgd",
            "decay": 0.05,
        }

    @pytest.mark.long(2)  # which is resubmitted below
    @pytest.mark.parametrize("log_id", [2, 3])
    def test_they_are_continued(self, project: Project, log_id: int) -> None:
        before = rows(project, log_id)
        project.run("main.py", f"+mlxp.logger.forced_log_id={log_id}", "optimizer.lr=0.5")
        assert rows(project, log_id)[: len(before)] == before
        assert [row["epoch"] for row in rows(project, log_id)] == [0, 1, 2]
        info = project.info(log_id)
        assert info["status"] == "COMPLETE"
        first = {2: "FAILED", 3: "KILLED"}[log_id]
        assert [attempt["status"] for attempt in info["attempts"]] == [first, "COMPLETE"]
        row = Reader(project.path / "logs").search(f"info.log_id == {log_id}")[0]
        assert row["train.test.loss"] == [1.0, 0.5, 1 / 3]
        # The new checkpoint counts from now on.
        project.run("main.py", f"+mlxp.logger.forced_log_id={log_id}", "optimizer.lr=0.5", "epochs=4")
        assert [row["epoch"] for row in rows(project, log_id)] == [0, 1, 2, 3]

    def test_a_run_is_made_again(self, project: Project) -> None:
        _, told = project.mlxpy("rerun", "1")
        assert "mlxpy: MLXP, which wrote run 1, noted no command" in told
        assert "no record of its code" in told
        assert project.yaml(4, "config") == project.yaml(1, "config")
        assert rows(project, 4) == rows(project, 1)
        project.mlxpy("rerun", "1", "optimizer.lr=2")
        assert project.yaml(5, "config")["optimizer"] == {"lr": 2, "name": "sgd"}

    def test_they_are_resubmitted_here(self, project: Project) -> None:
        out, told = project.mlxpy("resubmit", "1-3")
        assert "run 1 is COMPLETE" in out + told
        assert (
            "MLXP, which wrote run 3, noted neither how it was submitted nor whether it lives"
            in out + told
        )
        assert "+mlxpy.logger.forced_log_id=3" in out + told
        assert [row["epoch"] for row in rows(project, 2)] == [0, 1, 2]
        assert project.info(2)["status"] == "COMPLETE"


keys = st.from_regex(r"[a-z_][a-z0-9_]{0,4}", fullmatch=True)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text("ab '\"\\\\,[{é\n=: #", max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(keys, values, max_size=3))
def test_the_command_of_a_run_gives_its_config(config: dict[str, Any]) -> None:
    overrides = info_of_mlxp({"logger": {}}, config, RunDirectory(Path("/logs/1")))["overrides"]
    found: Any = OmegaConf.create()
    for override in OverridesParser.create().parse_overrides(overrides):
        OmegaConf.update(found, override.key_or_group, override.value())
    assert json.dumps(OmegaConf.to_container(found)) == json.dumps(config)


def test_a_pickle_of_dill(tmp_path: Path) -> None:
    pytest.importorskip("dill", reason="dill is not installed")
    program = "import dill, sys; f = lambda: 3; dill.dump(f, open(sys.argv[1], 'wb'))"
    folder = tmp_path / "1/artifacts/pickle"
    folder.mkdir(parents=True)
    subprocess.run([sys.executable, "-c", program, folder / "f"], check=True)
    with pytest.raises((ImportError, AttributeError)):
        pickle.loads((folder / "f").read_bytes())
    with mlxpy.Logger(tmp_path) as logger:
        assert logger.load_artifacts("f", root=tmp_path / "1")() == 3
        assert logger.load_checkpoint("f", root=folder)() == 3


def test_a_pickle_of_dill_without_dill(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(b"cdill._dill\n_create_type\n.")
    program = (
        "import sys; sys.modules['dill'] = None\n"
        "from mlxpy_core._tracking._artifacts import load_pickle\n"
        "from pathlib import Path\n"
        f"try: load_pickle(Path({str(path)!r}))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (
        done.stdout == f"MlxpyError {path} was pickled by dill, as MLXP does: install dill to load it\n"
    )


# The modules of MLXP 1.0.5, and of their names those that programs use.
MODULES = {
    "": ["ConfigDict", "Context", "DataFrame", "DefaultLogger", "GitVM", "Reader", "launch"],
    "launcher": ["Context", "instance_from_dict", "instantiate", "launch"],
    "logger": ["DefaultLogger", "Logger"],
    "reader": ["Reader"],
    "parser": ["DefaultParser", "Parser"],
    "version_manager": ["GitVM", "VersionManager"],
    "enumerations": ["Status"],
    "errors": ["InvalidArtifactError", "InvalidConfigFileError", "InvalidKeyError", "InvalidMapError",
               "InvalidSchedulerError", "InvalidShellPathError", "JobSubmissionError", "MissingFieldError",
               "UnknownSystemError"],
    "data_structures.config_dict": ["ConfigDict", "convert_dict"],
    "data_structures.dataframe": ["DataDict", "DataFrame", "GroupedDataFrame"],
    "data_structures.artifacts": ["Artifact"],
}  # fmt: skip


@pytest.mark.parametrize("module", MODULES)
def test_names_are_where_mlxp_has_them(module: str) -> None:
    ours = import_module(f"mlxpy.{module}".rstrip("."))
    assert [name for name in MODULES[module] if not hasattr(ours, name)] == []
    if "MLXP" in {found.metadata["Name"] for found in metadata.distributions()}:
        theirs = import_module(f"mlxp.{module}".rstrip("."))
        assert [name for name in MODULES[module] if not hasattr(theirs, name)] == []


def test_instances_by_name() -> None:
    made = import_module("mlxpy.launcher").instance_from_dict("datetime.timedelta", {"days": 1})
    assert made.days == 1


def test_where_a_logger_logs(tmp_path: Path) -> None:
    with mlxpy.DefaultLogger(tmp_path) as logger:
        assert logger.get_info() == {
            "log_id": 1,
            "log_dir": f"{tmp_path}/1",
            "metrics_dir": f"{tmp_path}/1/metrics",
            "metadata_dir": f"{tmp_path}/1/metadata",
            "artifacts_dir": f"{tmp_path}/1/artifacts",
        }
        assert logger.parent_log_dir == str(tmp_path)


def test_checkpoints_by_the_names_that_mlxp_has_for_them(tmp_path: Path) -> None:
    with mlxpy.Logger(tmp_path) as logger:
        logger.log_checkpoint(checkpoint={"epoch": 1}, log_name="last")
        logger.log_metrics(metrics_dict={"loss": 1}, log_name="train")
    other = mlxpy.Logger(tmp_path)
    run, own = tmp_path / "1", Path(other.artifacts_dir)
    for root in (run, run / "artifacts/pickle", run / "artifacts", run / "artifacts/Checkpoint"):
        assert other.load_checkpoint("last", root=root) == {"epoch": 1}
        assert other.load_checkpoint(root=str(root)) == {"epoch": 1}
    with pytest.raises(FileNotFoundError, match=f"no checkpoint 'first' in {run}"):
        other.load_checkpoint("first", root=run)
    other.log_checkpoint({"epoch": 2}, "last")
    for root in (None, own, own / "pickle", other.log_dir):
        assert other.load_checkpoint("last", root=root) == {"epoch": 2}
    assert other.load_checkpoint("pickle/last") == {"epoch": 2}
    # By its own root, too, the history goes on where the checkpoint was.
    other.log_metrics({"loss": 2}, "train")
    other.close()
    with mlxpy.Logger(tmp_path, forced_log_id=2) as again:
        assert again.load_checkpoint("last", root=again.artifacts_dir) == {"epoch": 2}
    assert not (tmp_path / "2/metrics/train.json").exists()
    assert (run / "metrics/train.json").read_text() == '{"loss": 1}\n'


def test_a_checkpoint_that_holds_the_logger(tmp_path: Path) -> None:
    with mlxpy.Logger(tmp_path) as logger:
        logger.log_checkpoint(SimpleNamespace(logger=logger, config=mlxpy.ConfigDict(lr=1)), "trainer")
    with mlxpy.Logger(tmp_path, forced_log_id=1) as again:
        trainer = again.load_checkpoint("trainer")
        assert trainer.logger is again
        assert trainer.config.lr == 1
    assert logger.load_checkpoint("trainer").logger is None  # no run is active


def test_what_readers_do_with_groups_and_rows(tmp_path: Path) -> None:
    for lr in (2, 1):
        with mlxpy.Logger(tmp_path, config={"lr": lr, "seed": 0}) as logger:
            logger.log_checkpoint({"lr": lr}, "last")
            logger.log_artifacts([lr], "result", "pickle")
    results = Reader(tmp_path).filter()
    grouped = results.groupby("config.seed")
    assert grouped.group_vals == list(grouped.grouped_dict) == [(0,)]
    assert grouped.sort("config.lr", ungroup=True)[:]["config.lr"] == [1, 2]
    chosen = mlxpy.DataFrame([row for row in results if row["config.lr"] == 1])
    assert chosen[:]["config.lr"] == [1]
    pickles = chosen[0]["artifact.pickle."]
    assert list(pickles) == ["result.pkl"]
    assert (pickles["result"].load(), pickles["last"].load()) == ([1], {"lr": 1})
    assert repr(chosen[0].keys()).startswith("dict_keys(['info.log_id', ")


def test_artifacts_of_another_run(tmp_path: Path) -> None:
    with mlxpy.Logger(tmp_path) as logger:
        logger.log_artifacts(artifact=[1], artifact_name="x", artifact_type="pickle")
    with mlxpy.Logger(tmp_path) as other:
        assert other.load_artifacts("x", root=logger.log_dir) == [1]
        assert other.load_artifact(artifact_name="x", artifact_type="pickle", root=logger.log_dir) == [1]
        with pytest.raises(FileNotFoundError):
            other.load_artifacts("x")
