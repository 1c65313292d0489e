"""A sweep's configs are composed once for each choice of config groups, and are what Hydra's loader gives."""

import json
import os
from collections.abc import Callable, Iterator
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
from hypothesis import HealthCheck, example, given, reject, settings
from hypothesis import strategies as st
from omegaconf import MISSING, Container, DictConfig, ListConfig, OmegaConf, open_dict

from hydra_plugins.mlxpy._composing import _sweep_configs
from hydra_plugins.mlxpy._composing._config_copy import Copies
from hydra_plugins.mlxpy._composing._sweep_configs import ComposedConfigs, compose_once
from hydra_plugins.mlxpy._sweep_job import SweepJob, main_program

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


@dataclass
class App:
    lr: float = 0.1
    steps: int = MISSING
    either: int | str = 3
    color: Color | None = None
    model: Model = field(default_factory=Model)
    models: dict[str, Model] = field(default_factory=dict)
    widths: list[int] = field(default_factory=lambda: [1, 2])


@pytest.fixture
def loader(project: Project) -> Iterator[ConfigLoader]:
    project.write(
        "conf/config.yaml",
        """
        defaults: [_self_, db: sqlite, model: base, app: base, opt@first: sgd, opt@second: sgd]
        lr: 0.1
        name: ???
        at: ${now:%f}
        twice: {a: "${lr}", b: [1, "${..lr}", "???"], none: null}
        plain: {a: 1, b: [1, {c: 2}], none: null, deep: {er: x}}
        link: ${plain}
        linked: {plain: "${plain}"}
        launcher: ${hydra.job}
        copied: []
        env: {}
        kv: '='
        """,
    )
    project.write("conf/db/sqlite.yaml", "path: ${oc.env:HOME}\n")
    project.write("conf/db/mysql.yaml", "host: h\nports: {main: 1}\n")
    project.write("conf/opt/sgd.yaml", "momentum: 0\n")
    project.write("conf/opt/adam.yaml", "betas: [0, 1]\n")
    project.write("conf/by/sqlite_sgd.yaml", "by: both\n")
    # Hydra's own node reads the task's, or writes to it.
    project.write("conf/named.yaml", "defaults: [config, _self_]\nhydra: {job: {name: '${name}'}}\n")
    project.write(
        "conf/tied.yaml",
        """
        defaults: [config, "by": "${db}_sgd", _self_]
        hydra:
          job: {env_copy: "${copied}", env_set: "${env}", config: {override_dirname: {kv_sep: "${kv}"}}}
          runtime: {choices: "${plain}"}
        """,
    )
    store = ConfigStore.instance()
    store.store(group="model", name="base", node=Model)
    store.store(group="app", name="base", node=App)
    with initialize_config_dir(str(project.path / "conf"), version_base="1.3"):
        yield GlobalHydra.instance().config_loader()


def sweep_of(loader: ConfigLoader, *overrides: str, config: str = "config") -> DictConfig:
    return loader.load_configuration(config, list(overrides), RunMode.MULTIRUN)


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


def test_the_second_request_gets_what_hydra_gives(loader: ConfigLoader) -> None:
    jobs = [
        [],
        ["lr=0.2"],
        ["+new.deep={a: [1,2], b: null}", "~twice.a"],
        ["db=mysql", "model.color=BLUE", "++model.names.x=3"],
        ["+model.names={a: 1}", "model.maybe=nan"],
        ["hydra.job.env_copy=[HOME]", "+hydra.job.env_set={A: '1'}"],
        ["~db", "lr='${twice.none}'"],
    ]
    sweep = sweep_of(loader, "hydra.sweep.subdir='${resolver_of_nobody:}'")
    expected = [loader.load_sweep_config(sweep, overrides) for overrides in jobs]
    configs = ComposedConfigs(loader)
    for overrides, config in zip(jobs, expected, strict=True):
        first = configs.load_sweep_config(master_config=sweep, sweep_overrides=overrides)
        assert list(nodes(first)) == list(nodes(config)), overrides
    _ = sweep.at  # a moment that is fixed between the requests counts for all jobs
    for overrides, config in zip(jobs, expected, strict=True):
        second = configs.load_sweep_config(sweep, overrides)
        OmegaConf.copy_cache(from_config=sweep, to_config=config)
        assert list(nodes(second)) == list(nodes(config)), overrides
        assert second.at == sweep.at
    assert configs.load_sweep_config(sweep, jobs[-1]) is not second


@pytest.mark.smoke_long
def test_many_kinds_of_jobs_are_what_hydra_gives(
    loader: ConfigLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = sweep_of(loader)
    monkeypatch.setattr(_sweep_configs, "_MOST_FILLED", 2)  # fewer than there are kinds
    kinds = [[f"+x{number}=1", "lr=1"] for number in range(2)] + [["lr=1", "opt@first=adam"]]
    jobs = [[one.replace("=1", f"={value}") for one in kind] for value in (1, 2) for kind in kinds]
    expected = [list(nodes(loader.load_sweep_config(sweep, job))) for job in jobs]
    configs = ComposedConfigs(loader, lends=True)
    assert [list(nodes(configs.load_sweep_config(sweep, job))) for job in jobs] == expected


def any_of(words: str) -> st.SearchStrategy[str]:
    return st.sampled_from(words.split())


VALUES = any_of(
    "1 12 -2.5 nan null true word 'quoted' BLUE ??? [] [1,x] [{c:3}] {} {a:1} {a:{b:null}} {er:[1]} {layers:3} "
    "{layers:x} 1,2 [HOME] '_' mysql adam '${lr}' '${plain}' '${now:%Y}' '${no' '${hydra.job}' "
    "{plain:'${plain}'} '${plain.a}' ${lr} [${lr}] '${.a}' '${resolver_of_nobody:}'"
)
KEYS = any_of(
    "lr name kv copied env env.A db.host db.path db.ports.main first.momentum second.betas twice twice.a "
    "twice.b twice.b.0 plain plain.a plain.0 plain.none.x plain.deep plain.deep.er plain.a.b link link.a "
    "linked.plain linked.plain.deep launcher.num nowhere nowhere.at.all model model.layers model.color "
    "model.names model.names.x model.maybe app.lr app.steps app.either app.color app.model app.model.layers "
    "app.models app.models.m app.models.m.layers app.widths app.widths.0 hydra hydra.job.name lr@nowhere"
)
CHOICES = any_of(
    "db=mysql db=sqlite ~db ~db=sqlite db=nowhere db={host:x} ++db=mysql db@x=mysql db=[mysql,sqlite] "
    "opt@first=adam opt@second=adam +opt@third=adam +db@other=mysql ~opt@second opt=adam ~model "
    "hydra/job_logging=none"
)
# Of the combinations above, few are right.
RIGHT = any_of(
    "lr=2 lr=nan lr=null name=word kv=_ copied=[HOME] env={B:2} twice=null twice={a:3} twice.a=3 +twice.a='${lr}' "
    "twice.a='${plain.a}' twice.b=[] twice.b='${no' ++twice.c='${now:%Y}' ~twice.a ~twice.b ++plain=null plain.a=x "
    "plain.b=[7] plain.b.0=2 plain.none={x:1} +plain.none={x:1} +plain.none.x=3 plain.deep={er:[1]} plain.deep=3 "
    "plain.deep.er='${lr}' ~plain.deep ~plain.a=1 +plain.new={a:{b:1}} link=3 ++link.a=2 link='${twice}' +link.c=1 "
    "++linked={plain:{a:2}} ++linked.plain.deep.er=2 ++linked.plain.z=1 ++launcher.num=3 ++launcher.id='${lr}' "
    "+at=1 at=2 model.layers=3 model.layers='${plain.a}' model.color=BLUE model={layers:4} ++model.names.x=1 "
    "+model.names={x:1} model.names={} ++model.odd=1 model.maybe=3 model=null app.steps=3 app.either=word app.color=RED "
    "app.either=4 app.model.layers=2 ++app.models.m={layers:1} ++app.models.m.layers=2 +app.models={m:{color:BLUE}} "
    "app.widths=[3] app.widths.0=4 app.widths='${twice.b}' ~app.model +nowhere.at.all=1 ++nowhere=[1,{a:2}] "
    "+nowhere='${hydra.job.num}' db.path=p ++db.host='${db.path}' ++db={host:x} ~db.path first.momentum=2 "
    "second.momentum='${first.momentum}' +first={betas:[1]} ++hydra_is_not=1 plain[a]=3 plain.b[0]=3 [lr]=3"
)
ASSIGNMENTS = st.builds("{}{}={}".format, st.sampled_from(["", "", "", "+", "++", "~"]), KEYS, VALUES)
OVERRIDES = st.one_of(*[RIGHT] * 12, ASSIGNMENTS, CHOICES, KEYS.map("~{}".format), any_of("x a=b=c ''"))
OF_HYDRA = any_of(
    "hydra.job.name=mine hydra.job.name='${name}' hydra.job.env_copy=[HOME] +hydra.job.env_set.A='1' "
    "hydra.job.config.override_dirname.exclude_keys=[lr] hydra.sweep.subdir='${resolver_of_nobody:}'"
)


def and_alike(jobs: list[list[str]]) -> st.SearchStrategy[list[list[str]]]:
    """Adds jobs that have the same overrides, of other values."""
    value = any_of("2 3.5 word true nan 'quoted' BLUE 0 null ??? {a:1} '${lr}' 7")
    alike = [
        st.tuples(*(value.map(f"{one.partition('=')[0]}={{}}".format) for one in job)).map(list)
        for job in jobs
    ]
    return st.tuples(*alike).map(lambda more: [*jobs, *more])


def outcome(load: Callable[..., DictConfig], sweep: DictConfig, overrides: list[str]) -> object:
    try:
        return list(nodes(load(master_config=sweep, sweep_overrides=overrides)))
    except Exception as error:
        return type(error), str(error), type(error.__cause__), str(error.__cause__)


@pytest.mark.smoke_long
@settings(
    max_examples=2,
    suppress_health_check=list(HealthCheck),  # Hydra composes slowly; the fixture is only read
)
@given(
    config=st.sampled_from(["config", "config", "config", "config", "named", "tied"]),
    of_hydra=st.lists(OF_HYDRA, max_size=1),
    jobs=st.lists(st.lists(OVERRIDES, max_size=3), min_size=1, max_size=3).flatmap(and_alike),
    lends=st.booleans(),
)
@example("named", [], [["name=x"], ["lr=1"]], False)
@example(
    "tied",
    [],
    [["copied=[HOME]"], ["env.B=2"], ["kv=_"], ["plain.a=2"], ["opt@first=adam", "lr=2"]],
    False,
)
@example("config", [], [["lr=2"], ["twice.a='${hydra.job}'"], ["db=mysql", "launcher.num=1"]], True)
def test_every_config_is_what_hydra_gives(
    loader: ConfigLoader,
    config: str,
    of_hydra: list[str],
    jobs: list[list[str]],
    lends: bool,
) -> None:
    try:
        sweep = sweep_of(loader, *of_hydra, config=config)
    except Exception:
        reject()
    configs = ComposedConfigs(loader, lends=lends)
    expected = [outcome(loader.load_sweep_config, sweep, overrides) for overrides in jobs]
    for _ in range(2):
        assert [outcome(configs.load_sweep_config, sweep, overrides) for overrides in jobs] == expected


def count_compositions(loader: ConfigLoader, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    composed: list[list[str]] = []
    original = loader.load_sweep_config

    def counted(master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        composed.append(sweep_overrides)
        return original(master_config, sweep_overrides)

    monkeypatch.setattr(loader, "load_sweep_config", counted)
    return composed


def test_each_choice_of_groups_is_composed_once(
    loader: ConfigLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed = count_compositions(loader, monkeypatch)
    sweep = sweep_of(loader)
    compose_once(loader, sweep)
    batch = [
        ["lr=1"],
        ["lr=2", "+new.deep={a: [1,2]}", "~twice.b", "model.layers=3", "twice.a='${plain.a}'"],
        ["plain.deep.er=y", "db=mysql"],
        ["db=mysql", "++plain.b=[2]", "app={widths: [3]}"],
    ]
    for overrides in batch * 2:
        loader.load_sweep_config(sweep, overrides)
    assert composed == [[], ["db=mysql"]]


@pytest.mark.parametrize(
    "in_doubt",
    [["db=mysql"], ["hydra.job.name=x"], ["~plain.a=1"], ["++twice={c: 1}"]],
    ids=str,
)
def test_what_is_left_to_hydra_is_composed_once(
    loader: ConfigLoader, monkeypatch: pytest.MonkeyPatch, in_doubt: list[str]
) -> None:
    composed = count_compositions(loader, monkeypatch)
    sweep = sweep_of(loader)
    compose_once(loader, sweep)
    for _ in range(2):
        loader.load_sweep_config(sweep, in_doubt)
    assert [overrides for overrides in composed if overrides] == [in_doubt]


def test_trials_of_a_search_are_composed_by_their_values(
    loader: ConfigLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed = count_compositions(loader, monkeypatch)
    sweep = sweep_of(loader, "hydra/sweeper=mlxp_optuna", "hydra/launcher=mlxp_local")
    compose_once(loader, sweep)
    values = ("0.1", "0.25", "3e-05")
    found = [loader.load_sweep_config(sweep, [f"lr={value}"]).lr for value in values]
    assert found == [0.1, 0.25, 3e-05]
    assert composed == [[]]
    for _ in range(2):  # nobody asks a second time for what is kept
        loader.load_sweep_config(sweep, ["db=mysql"])
    assert composed == [[], ["db=mysql"], ["db=mysql"]]


class Anything(list[int]):
    pass


def test_a_copy_of_a_config_shares_nothing_with_it(loader: ConfigLoader) -> None:
    config = sweep_of(loader)
    OmegaConf.clear_cache(config)  # Hydra gives each job's config its own
    copies = Copies(config)
    written = list(nodes(config))
    first = copies.copy()
    OmegaConf.update(first, "twice.b", ["changed"])
    OmegaConf.set_struct(first.plain, False)
    OmegaConf.update(first, "model.names.new", 1, force_add=True)
    assert list(nodes(copies.copy())) == list(nodes(config)) == written


@pytest.mark.parametrize("shared", ["a value", "a node"])
def test_a_copy_of_what_is_no_plain_tree_is_one(shared: str) -> None:
    config = OmegaConf.create({"a": {"x": 1}}, flags={"allow_objects": True})
    if shared == "a value":
        config.a.x = Anything([1])
    else:
        config._content["b"] = config._get_node("a")
    copied = Copies(config).copy()
    assert list(nodes(copied)) == list(nodes(config))
    if shared == "a value":
        assert copied.a.x is not config.a.x
    else:
        assert copied._get_node("a") is copied._get_node("b") is not config._get_node("a")


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


# Counts what Hydra composes; the jobs write down what they are given.
COUNTING_APP = """
import json, os
import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from omegaconf import OmegaConf

composed = []
load_sweep_config = ConfigLoaderImpl.load_sweep_config

def counted(self, master_config, sweep_overrides):
    composed.append(sweep_overrides)
    return load_sweep_config(self, master_config=master_config, sweep_overrides=sweep_overrides)

ConfigLoaderImpl.load_sweep_config = counted

@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(cfg):
    job = hydra.core.hydra_config.HydraConfig.get().job
    text = OmegaConf.to_yaml(cfg) + "dirname: " + job.override_dirname
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "seen", str(job.num)), "x") as file:
        file.write(text + OmegaConf.to_yaml(cfg, resolve=True))

main()
print("composed:", json.dumps(composed))
"""


LOGGER, LOCAL = "hydra/callbacks=mlxp_logger", "hydra/launcher=mlxp_local"
VALUES_ALONE = (["lr=0.1,0.2", "+new.a=1"], [[]])
ONE_JOB = (["lr=0.1", "+new.a=1"], [[]])
GROUPS = (["lr=1,2", "opt=sgd,adam"], [["opt=sgd"], ["opt=adam"]])


@pytest.mark.parametrize(
    ("plugin", "sweep", "by_hydra"),
    [
        pytest.param(LOGGER, *GROUPS, id="logger-groups"),
        pytest.param(LOCAL, *ONE_JOB, id="local-job", marks=pytest.mark.smoke_long),
        pytest.param(LOCAL, *VALUES_ALONE, id="local-values", marks=pytest.mark.long),
        pytest.param(LOGGER, *VALUES_ALONE, id="logger-values", marks=pytest.mark.long),
        pytest.param(LOCAL, *GROUPS, id="local-groups", marks=pytest.mark.long),
    ],
)
def test_hydra_composes_once_for_a_sweep_that_runs(
    project: Project, plugin: str, sweep: list[str], by_hydra: list[list[str]]
) -> None:
    project.write("main.py", COUNTING_APP)
    project.write(
        "conf/config.yaml", "defaults: [_self_, opt: sgd]\nlr: 0\ntwice: ['${lr}', '${opt}']\n"
    )
    project.write("conf/opt/sgd.yaml", "momentum: 0\n")
    project.write("conf/opt/adam.yaml", "betas: [0, 1]\n")
    seen = project.path / "seen"
    given, composed = [], []
    for options in ([], [plugin]):
        seen.mkdir()
        stdout = project.run("main.py", "-m", *sweep, *options).stdout
        composed.append(json.loads(stdout.rpartition("composed: ")[2]))
        given.append({path.name: path.read_text() for path in seen.iterdir()})
        seen.rename(project.path / f"seen-{len(given)}")
    assert given[0] == given[1]
    assert len(composed[0]) == 2 * len(given[0])  # each to be validated, and to be run
    assert composed[1] == by_hydra


def test_a_config_that_was_lent_is_as_before_when_it_comes_again(loader: ConfigLoader) -> None:
    sweep = sweep_of(
        loader, "hydra.sweep.subdir='${lr}_${hydra.job.num}'", "hydra.job.chdir='${plain.a}'"
    )
    jobs = [["lr=1"], ["lr=2", "plain.a=5"], ["db=mysql", "lr=3"], ["lr=4"]]
    expected = []
    for number, job in enumerate(jobs):
        config = loader.load_sweep_config(sweep, job)
        OmegaConf.update(config, "hydra.job.num", number, force_add=True)
        expected.append((list(nodes(config)), OmegaConf.to_container(config.hydra.sweep, resolve=True)))
    configs = ComposedConfigs(loader, lends=True)
    for job in jobs:
        configs.load_sweep_config(sweep, job)
    for number, job in enumerate(jobs):
        config = configs.load_sweep_config(sweep, job)
        OmegaConf.update(config, "hydra.job.num", number, force_add=True)
        found = list(nodes(config)), OmegaConf.to_container(config.hydra.sweep, resolve=True)
        assert found == expected[number]


@pytest.mark.parametrize("option", ["hydra.launcher.skip_completed=true", "a job of a sweep"])
def test_what_is_changed_further_is_not_lent(
    loader: ConfigLoader, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    chosen = [option] if "=" in option else []
    if not chosen:
        environment = SweepJob(0, None, keeps_return_value=False).environment(main_program())
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
    sweep = sweep_of(loader, "hydra/launcher=mlxp_slurm", *chosen)
    compose_once(loader, sweep)
    first, second = (loader.load_sweep_config(sweep, [f"lr={number}"]) for number in range(2))
    with open_dict(first.hydra):
        first.hydra.sweep.dir = "/changed"
    assert second.hydra.sweep.dir == sweep.hydra.sweep.dir != "/changed"
