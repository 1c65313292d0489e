"""A sweep's configs are composed once, and are what Hydra's loader gives."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import pytest
from conftest import Project
from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import Container, DictConfig, ListConfig, OmegaConf

from hydra_plugins.mlxpy._sweep_configs import ComposedConfigs, compose_once

pytestmark = pytest.mark.smoke


class Color(Enum):
    RED = 1
    BLUE = 2


@dataclass
class Model:
    layers: int = 2
    color: Color = Color.RED
    names: dict[str, int] = field(default_factory=dict)
    maybe: float | None = None


@pytest.fixture
def loader(project: Project) -> Iterator[ConfigLoader]:
    project.write(
        "conf/config.yaml",
        """
        defaults: [_self_, db: sqlite, model: base]
        lr: 0.1
        at: ${now:%f}
        twice: {a: "${lr}", b: [1, "${..lr}", "???"], none: null}
        """,
    )
    project.write("conf/db/sqlite.yaml", "path: ${oc.env:HOME}\n")
    project.write("conf/db/mysql.yaml", "host: h\n")
    ConfigStore.instance().store(group="model", name="base", node=Model)
    with initialize_config_dir(str(project.path / "conf"), version_base="1.3"):
        yield GlobalHydra.instance().config_loader()


def sweep_of(loader: ConfigLoader, *overrides: str) -> DictConfig:
    return loader.load_configuration("config", list(overrides), RunMode.MULTIRUN)


def nodes(node: Any, path: str = "") -> Iterator[tuple[Any, ...]]:
    """Everything that is known of a config: values as written, types and flags."""
    value = repr(node._value()) if not isinstance(node, Container) else None  # nan is not nan
    yield path, type(node), dict(vars(node._metadata)), value
    if isinstance(node, DictConfig | ListConfig) and not (
        node._is_none() or node._is_missing() or node._is_interpolation()
    ):
        keys = range(len(node)) if isinstance(node, ListConfig) else list(node)
        for key in keys:
            yield from nodes(node._get_node(key), f"{path}.{key}")


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["lr=0.2"],
        ["+new.deep={a: [1,2], b: null}", "~twice.a"],
        ["db=mysql", "model.color=BLUE", "++model.names.x=3"],
        ["+model.names={a: 1}", "model.maybe=nan"],
        ["hydra.job.env_copy=[HOME]", "+hydra.job.env_set={A: '1'}"],
        ["~db", "lr='${twice.none}'"],
    ],
    ids=str,
)
def test_the_second_request_gets_what_hydra_gives(loader: ConfigLoader, overrides: list[str]) -> None:
    sweep = sweep_of(loader, "hydra.sweep.subdir='${resolver_of_nobody:}'")
    expected = loader.load_sweep_config(sweep, overrides)
    configs = ComposedConfigs(loader)
    first = configs.load_sweep_config(master_config=sweep, sweep_overrides=overrides)
    _ = sweep.at  # a moment that is fixed between the requests counts for all jobs
    second = configs.load_sweep_config(sweep, overrides)
    assert second is not first
    assert list(nodes(first)) == list(nodes(expected))
    OmegaConf.copy_cache(from_config=sweep, to_config=expected)
    assert list(nodes(second)) == list(nodes(expected))
    assert second.at == sweep.at


def count_compositions(loader: ConfigLoader, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    composed: list[list[str]] = []
    original = loader.load_sweep_config

    def counted(master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        composed.append(sweep_overrides)
        return original(master_config, sweep_overrides)

    monkeypatch.setattr(loader, "load_sweep_config", counted)
    return composed


def test_each_is_composed_once(loader: ConfigLoader, monkeypatch: pytest.MonkeyPatch) -> None:
    composed = count_compositions(loader, monkeypatch)
    sweep = sweep_of(loader)
    compose_once(loader, sweep)
    batch = [["lr=1"], ["lr=2"]]
    for overrides in batch * 2:
        loader.load_sweep_config(sweep, overrides)
    assert composed == batch


@pytest.mark.parametrize(
    "elsewhere",
    [
        "hydra.launcher._target_=hydra_plugins.other.Launcher",
        "hydra.sweeper._target_=hydra_plugins.other.Sweeper",
    ],
)
def test_a_config_that_would_not_be_asked_for_again_is_not_kept(
    loader: ConfigLoader, monkeypatch: pytest.MonkeyPatch, elsewhere: str
) -> None:
    before = loader.load_sweep_config
    compose_once(loader, sweep_of(loader, elsewhere))
    assert loader.load_sweep_config == before


@pytest.mark.parametrize("change", ["environment", "directory"])
def test_what_a_job_changed_counts_for_the_next_one(
    loader: ConfigLoader, monkeypatch: pytest.MonkeyPatch, project: Project, change: str
) -> None:
    composed = count_compositions(loader, monkeypatch)
    sweep = sweep_of(loader)
    configs = ComposedConfigs(loader)
    configs.load_sweep_config(sweep, [])
    if change == "environment":
        monkeypatch.setitem(os.environ, "SOMETHING", "new")
    else:
        monkeypatch.chdir(project.path)
    config = configs.load_sweep_config(sweep, [])
    assert composed == [[], []]
    assert config.hydra.runtime.cwd == os.getcwd()
