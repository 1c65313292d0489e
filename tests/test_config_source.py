"""The plugin against Hydra's own expectations of a source of configs."""

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, fields
from typing import Any

import pytest
from conftest import REPOSITORY, Project
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError
from omegaconf import OmegaConf

from hydra_plugins.mlxpy._nodes import (
    LocalLauncherNode,
    LoggerSettings,
    MlxpGitNode,
    MlxpLauncherNode,
    MlxpLoggerNode,
)
from hydra_plugins.mlxpy.config_source import MlxpyConfigSource
from mlxpy_core import Logger, load_yaml
from mlxpy_core._scheduling._local import LocalScheduler
from mlxpy_core._scheduling._script import ScriptOptions
from mlxpy_core._versioning._find_version_manager import find_version_manager

pytestmark = pytest.mark.smoke


@pytest.fixture
def source() -> MlxpyConfigSource:
    return MlxpyConfigSource(provider="mlxpy", path="mlxpy://")


def test_it_is_at_one_place(source: MlxpyConfigSource) -> None:
    assert source.available()
    assert not MlxpyConfigSource(provider="mlxpy", path="mlxpy://elsewhere").available()


@pytest.mark.parametrize(
    ("path", "group", "config"),
    [
        ("", True, False),
        ("hydra", True, False),
        ("hydra/callbacks", True, False),
        ("hydra/callbacks/", True, False),
        ("hydra/callbacks/mlxp_logger", False, True),
        ("hydra/callbacks/mlxp_logger.yaml", False, True),
        ("hydra/callbacks/other", False, False),
        ("hydra/call", False, False),
        ("db", False, False),
    ],
)
def test_groups_and_configs(source: MlxpyConfigSource, path: str, group: bool, config: bool) -> None:
    assert source.is_group(path) is group
    assert source.is_config(path) is config
    assert source.exists(path) is (group or config)


@pytest.mark.parametrize(
    ("path", "kind", "expected"),
    [
        ("", None, ["hydra"]),
        ("", ObjectType.CONFIG, []),
        ("hydra", None, ["callbacks", "launcher", "sweeper"]),
        ("hydra", ObjectType.GROUP, ["callbacks", "launcher", "sweeper"]),
        ("hydra/sweeper", ObjectType.CONFIG, ["mlxp_optuna"]),
        ("hydra/sweeper", ObjectType.GROUP, ["pruner", "sampler"]),
        ("hydra/callbacks", None, ["mlxp_git", "mlxp_logger"]),
        ("hydra/callbacks", ObjectType.CONFIG, ["mlxp_git", "mlxp_logger"]),
        ("hydra/callbacks", ObjectType.GROUP, []),
    ],
)
def test_lists(
    source: MlxpyConfigSource, path: str, kind: ObjectType | None, expected: list[str]
) -> None:
    assert source.list(path, kind) == expected


def test_what_is_not_there(source: MlxpyConfigSource) -> None:
    with pytest.raises(ConfigLoadError, match="Config not found : hydra/callbacks/other"):
        source.load_config("hydra/callbacks/other")
    with pytest.raises(ConfigLoadError, match="group not found : nowhere"):
        source.list("nowhere", None)


def test_the_node_is_typed_and_has_a_key_of_its_own(source: MlxpyConfigSource) -> None:
    result = source.load_config("hydra/callbacks/mlxp_logger")
    assert result.header == {"package": "hydra.callbacks.mlxp_logger"}
    assert OmegaConf.to_container(result.config) == {
        "_target_": "hydra_plugins.mlxpy._callback.MlxpLogger",
        "parent_log_dir": "./logs",
        "forced_log_id": -1,
        "log_streams_to_file": False,
        "system_metrics": False,
        "system_metrics_interval_s": 10,
        "tags": [],
        "use_run_dir": True,
        "name": "DefaultLogger",
        "ranks": "auto",
        "keep_return_value": False,
        "app_metrics": None,
    }


@pytest.mark.parametrize(("name", "scheduler"), [("oar", "OARScheduler"), ("slurm", "SLURMScheduler")])
def test_a_launcher_takes_the_place_of_hydras(
    source: MlxpyConfigSource, name: str, scheduler: str
) -> None:
    result = source.load_config(f"hydra/launcher/mlxp_{name}")
    assert result.header == {"package": "hydra.launcher"}
    assert result.config.scheduler == scheduler
    assert result.config.array is True


# Not for users: Hydra's, the choice of a launcher, and what launchers and mlxpy.launch set for jobs.
OF_MLXPY = {"_target_", "scheduler", "keep_return_value", "settings_overrides"}


CHOICE = "options of a callback that is not chosen: add hydra/callbacks="


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["hydra.callbacks.mlxp_logger.tags=[a]"], f"mlxp_logger.* are {CHOICE}mlxp_logger\n"),
        (
            ["hydra/callbacks=mlxp_logger", "hydra.callbacks.mlxp_git.on_dirty=error"],
            f"mlxp_git.* are {CHOICE}[mlxp_logger,mlxp_git]\n",
        ),
        (
            ["-m", "hydra.launcher.partition=gpu"],
            "hydra.launcher.partition is no option of Hydra's own launcher: add "
            "hydra/launcher=mlxp_slurm, or another that has it\n",
        ),
        (["-m", "hydra.sweeper.n_trials=3"], "own sweeper: add hydra/sweeper=mlxp_optuna, or another"),
        # Not ours to explain.
        (["hydra.callbacks.mlxp_loger.tags=[a]"], "Key 'mlxp_loger' is not in struct"),
        (["hydra.launcher.partitions=gpu"], "Key 'partitions' not in 'BasicLauncherConf'"),
        (["hydra/launcher=mlxp_local", "hydra.launcher.partition=gpu"], "not in 'LocalLauncherNode'"),
    ],
    ids=lambda value: value[-1].partition("=")[0] if isinstance(value, list) else "",
)
def test_options_of_what_is_not_chosen(app: Project, typed: list[str], told: str) -> None:
    stderr = app.run("main.py", *typed, exit_code=1).stderr
    assert told in stderr
    assert ("Could not override" in stderr) is not stderr.startswith("mlxpy: hydra.")


def default(option: "Field[Any]") -> Any:
    return option.default if option.default_factory is MISSING else option.default_factory()


def documented(page: str) -> Iterator[tuple[str, Any]]:
    """Lists the options of a page's table of options, with their defaults."""
    text = (REPOSITORY / "docs" / page).read_text()
    table = text.partition("| option | default | meaning |\n|---|---|---|\n")[2].partition("\n\n")[0]
    for row in table.splitlines():
        names, value = row.split(" | ")[:2]
        for name in re.findall(r"`(\w+)`", names):
            yield name, load_yaml(value.strip("`"))


@pytest.mark.parametrize(
    ("page", "node"),
    [
        ("guide.md", MlxpLoggerNode),
        ("versions.md", MlxpGitNode),
        ("clusters.md", MlxpLauncherNode),
    ],
)
def test_the_docs_have_each_option_with_its_default(page: str, node: type) -> None:
    options = {option.name: default(option) for option in fields(node)}
    assert dict(documented(page)) == {name: options[name] for name in options.keys() - OF_MLXPY}


@pytest.mark.parametrize(
    ("of_engine", "node"),
    [
        (Logger, LoggerSettings),
        (find_version_manager("GitVM"), MlxpGitNode),
        (ScriptOptions, MlxpLauncherNode),
        (LocalScheduler, LocalLauncherNode),
    ],
)
def test_the_engine_has_the_same_defaults(of_engine: Callable[..., Any], node: type) -> None:
    own = {option.name: default(option) for option in fields(node)}
    shared = 0
    for name, parameter in inspect.signature(of_engine).parameters.items():
        if name in own and parameter.default is not parameter.empty:
            value = list(parameter.default) if isinstance(own[name], list) else parameter.default
            assert (name, value) == (name, own[name])
            shared += 1
    assert shared
