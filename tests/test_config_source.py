"""The plugin against Hydra's own expectations of a source of configs."""

import pytest
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError
from omegaconf import OmegaConf

from hydra_plugins.mlxpy.config_source import MlxpyConfigSource

pytestmark = pytest.mark.smoke


@pytest.fixture
def source() -> MlxpyConfigSource:
    return MlxpyConfigSource(provider="mlxpy", path="mlxpy://")


def test_it_is_where_it_says(source: MlxpyConfigSource) -> None:
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
        ("hydra", None, ["callbacks", "launcher"]),
        ("hydra", ObjectType.GROUP, ["callbacks", "launcher"]),
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
        "use_run_dir": True,
        "name": "DefaultLogger",
        "ranks": "auto",
        "keep_return_value": False,
    }


@pytest.mark.parametrize(("name", "scheduler"), [("oar", "OARScheduler"), ("slurm", "SLURMScheduler")])
def test_a_launcher_takes_the_place_of_hydras(
    source: MlxpyConfigSource, name: str, scheduler: str
) -> None:
    result = source.load_config(f"hydra/launcher/mlxp_{name}")
    assert result.header == {"package": "hydra.launcher"}
    assert result.config.scheduler == scheduler
    assert result.config.array is True
