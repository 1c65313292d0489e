"""A directory of runs that another user can write to, too: what that user plants does no harm."""

import os
import subprocess
from pathlib import Path

import pytest
from conftest import NOBODY, GitProject, Project, tree_of
from neighbours import as_neighbour, home, open_to_neighbours, plant, plant_link

from mlxpy_core import (
    Logger,
    MlxpyError,
    Reader,
    StorageError,
    dump_yaml,
    load_yaml,
    take_run_directory,
)
from mlxpy_core._reading._tables._warnings import UnreadableRunWarning
from mlxpy_core._versioning._copy import one_at_a_time, safe_copy
from mlxpy_core._versioning._frozen_configs import frozen_configs
from mlxpy_core._versioning._repository import find_repository

NUMBERS = "logs/.mlxpy/last_id"


@pytest.fixture
def shared(project: Project) -> Project:
    return open_to_neighbours(project)


# Links.


def test_no_number_is_written_into_what_a_neighbour_links(shared: Project) -> None:
    as_neighbour(lambda: plant_link(shared.path / NUMBERS, "../../home/.profile"))
    before = home(shared)
    for number in (1, 2):
        assert take_run_directory(shared.path / "logs").log_id == number
    assert home(shared) == before


@pytest.mark.parametrize("place", [".mlxpy", ".mlxpy/reader-2", ".mlxpy/reader-2/runs"])
def test_no_state_is_kept_behind_a_neighbours_link(shared: Project, place: str) -> None:
    logs = shared.path / "logs"
    up = "../" * (place.count("/") + 1)
    as_neighbour(lambda: plant_link(logs / place, f"{up}home"))
    before = home(shared)
    for _ in range(2):  # later runs of a process are told to its subprocesses
        with Logger(logs, config={"lr": 1}) as logger:
            logger.log_metrics({"loss": 1}, "train")
    assert Reader(logs).search().toArrow().num_rows == 2
    assert home(shared) == before


def test_a_directory_of_runs_that_a_neighbour_links_to_ones_own(shared: Project) -> None:
    as_neighbour(lambda: plant_link(shared.path / "logs/theirs", "../home/logs"))
    before = home(shared)
    with pytest.raises(StorageError, match=r"theirs is a symbolic link of user nobody"):
        take_run_directory(shared.path / "logs/theirs")
    assert len(Reader(shared.path / "logs/theirs")) == 0
    assert home(shared) == before
    # Theirs to theirs is as if they had made the directory there.
    as_neighbour(lambda: (shared.path / "logs/2/x").mkdir(parents=True))
    as_neighbour(lambda: plant_link(shared.path / "logs/3", "2/x"))
    (shared.path / "logs/2/x").chmod(0o777)
    assert take_run_directory(shared.path / "logs/3").log_id == 1


def test_a_status_is_not_written_where_a_neighbours_run_leads(shared: Project) -> None:
    """The run of a dead process, whose info.yaml whoever looks next writes anew."""
    logs = shared.path / "logs"
    with Logger(logs) as logger:
        info = load_yaml(Path(logger.log_dir, "metadata/info.yaml").read_text())
    info["status"] = info["attempts"][0]["status"] = "RUNNING"
    info["attempts"][0].update(process_id=2**22 + 1, process_start=1)

    def plant() -> None:
        plant_link(logs / "5/metadata", "../../home/logs/7/metadata")
        (logs / "6/metadata").mkdir(parents=True)
        (logs / "6/metadata/info.yaml").write_text(dump_yaml({**info, "log_id": 6}))
        (logs / "6/metadata/config.yaml").write_text("{}")
        plant_link(logs / "6/.keys", "../../home/logs/7/metadata")

    as_neighbour(plant)
    before = home(shared)
    with pytest.warns(
        UnreadableRunWarning, match=r"5 \(info.yaml: metadata is a symbolic link of user nobody"
    ):
        reader = Reader(logs)
    assert reader.search()["info.status"] == ["COMPLETE", "KILLED"]
    assert home(shared) == before


def test_nothing_is_logged_where_a_neighbour_links(shared: Project) -> None:
    logs = shared.path / "logs"

    def plant() -> None:
        plant_link(logs / "5", "../home/logs/7")
        plant_link(logs / "6/log.stdout", "../../home/.profile")

    as_neighbour(plant)
    before = home(shared)
    with pytest.raises(StorageError, match="5 is a symbolic link of user nobody"):
        Logger(logs, forced_log_id=5)
    with pytest.raises(StorageError, match=r"log\.stdout is a symbolic link of user nobody"):
        Logger(logs, forced_log_id=6, log_streams_to_file=True)
    assert home(shared) == before


def test_what_is_private_is_not_read_for_a_neighbour(shared: Project) -> None:
    """The cache that would hold it lies where the neighbour can read it."""
    logs = shared.path / "logs"
    secret = shared.write("home/hosts.yml", "{token: xyzzy}\n")
    with Logger(logs):
        pass

    def plant() -> None:
        (logs / "2/metadata").mkdir(parents=True)
        (logs / "2/metadata/info.yaml").write_text("status: COMPLETE\n")
        plant_link(logs / "2/metadata/config.yaml", str(secret))
        plant_link(logs / "3/metadata", "../2/metadata")

    as_neighbour(plant)
    with pytest.warns(
        UnreadableRunWarning, match=r"2 \(config.yaml: config.yaml is a symbolic link of user nobody"
    ):
        reader = Reader(logs)
    assert "config.token" not in reader.fields.index
    assert not [path for path in logs.rglob("*.arrow") if b"xyzzy" in path.read_bytes()]
    os.chown(secret, NOBODY, NOBODY)  # their own they might as well have copied
    assert Reader(logs).search("config.token == 'xyzzy'")["info.log_id"] == [2, 3]


@pytest.mark.parametrize("place", ["", ".trash/.highest/"])
def test_a_neighbour_can_use_numbers_up_and_no_run_vanishes_by_it(shared: Project, place: str) -> None:
    highest = shared.path / "logs" / f"{place}{'9' * 18}"
    as_neighbour(lambda: highest.mkdir(parents=True))
    with pytest.raises(MlxpyError, match=f"no number is left for a run in .*: rename {'9' * 18}"):
        take_run_directory(shared.path / "logs")
    highest.rename(highest.with_name("away"))
    assert take_run_directory(shared.path / "logs").log_id == 1


def test_numbers_of_removed_runs_that_another_user_keeps_to_themselves(shared: Project) -> None:
    (shared.path / "logs/.trash").mkdir(mode=0o700)

    def take() -> None:
        with pytest.raises(StorageError, match=r"you may not read .*/\.trash/\.highest, which holds"):
            take_run_directory(shared.path / "logs")

    as_neighbour(take)
    assert shared.run_ids() == []


# Configs and code that jobs will read.


@pytest.fixture
def configs(shared: Project) -> Project:
    shared.write("conf/config.yaml", "a: 1\n")
    shared.write("conf/model/x.yaml", "b: 1\n")
    return shared


def frozen(project: Project) -> Path:
    place = frozen_configs(project.path / "conf", project.path / "logs")
    assert tree_of(place) == tree_of(project.path / "conf")
    return place


@pytest.mark.parametrize("what", ["directory", "content", "file", "link", "more"])
def test_configs_that_a_neighbour_has_planted_are_not_taken(configs: Project, what: str) -> None:
    usual = frozen_configs(configs.path / "conf", configs.path / "logs", copy=False)
    if what == "directory":
        as_neighbour(lambda: plant(usual))
    else:
        assert frozen(configs) == usual
        if what == "content":  # as with a umask that lets the group write
            (usual / "config.yaml").write_text("a: 2\n")
        elif what == "file":
            os.chown(usual / "config.yaml", NOBODY, NOBODY)
        elif what == "link":
            (usual / "model/x.yaml").unlink()
            (usual / "model/x.yaml").symlink_to(configs.path / "conf/model/x.yaml")
        else:
            (usual / "more.yaml").write_text("c: 1\n")
    assert frozen(configs) == usual.with_name(f"{usual.name}_0")
    assert frozen(configs) == usual.with_name(f"{usual.name}_0")
    usual.parent.chmod(0o777)
    as_neighbour(lambda: plant(usual.with_name(f"{usual.name}_0_2")))
    (usual.with_name(f"{usual.name}_0") / "config.yaml").write_text("a: 2\n")
    assert frozen(configs) == usual.with_name(f"{usual.name}_0_3")


def test_configs_are_not_frozen_behind_a_neighbours_link(configs: Project) -> None:
    as_neighbour(lambda: plant_link(configs.path / "logs/.configs", "../home"))
    before = home(configs)
    with pytest.raises(StorageError, match=r"\.configs is a symbolic link of user nobody"):
        frozen(configs)
    assert home(configs) == before


def test_code_that_a_neighbour_has_planted_is_not_run(shared: Project) -> None:
    project = GitProject(shared.path / "project")
    project.write("main.py", "print(1)\n")
    commit = project.commit()
    repository, copies = find_repository(project.path), shared.path / "copies"
    assert repository
    copies.mkdir(mode=0o777)
    copies.chmod(0o777)

    def plant() -> None:
        (copies / "project" / commit).mkdir(parents=True)
        (copies / "project" / commit / "main.py").write_text("evil\n")
        plant_link(copies / "project/.lock", "../../home/.profile2")

    as_neighbour(plant)
    before = home(shared)
    copy = safe_copy(repository, commit, copies)
    assert copy == copies / "project_0" / commit
    assert (copy / "main.py").read_text() == "print(1)\n"
    with one_at_a_time(copies, repository):
        pass
    assert home(shared) == before
    os.chown(copy, NOBODY, NOBODY)
    with pytest.raises(MlxpyError, match=f"{commit} belongs to user nobody, who decides what it holds"):
        safe_copy(repository, commit, copies)


# What is open to a race.


def test_a_saver_is_led_nowhere_by_a_neighbour(shared: Project) -> None:
    logs = shared.path / "logs"
    folder = logs / "1/artifacts/mine"
    trap = logs / "trap"

    def lay() -> None:
        trap.mkdir()
        (trap / "x.txt").symlink_to(shared.path / "home/.profile")

    def swap() -> None:
        (found,) = folder.glob(".mlxpy-tmp-*")
        away = found.rename(folder / "away")
        found.symlink_to(trap if away.is_dir() else shared.path / "home/.profile")

    def save(text: str, path: Path) -> None:
        path.write_text("half of it")
        as_neighbour(swap)
        path.write_text(text)

    as_neighbour(lay)
    before = home(shared)
    earlier = os.umask(0)
    try:
        with Logger(logs) as logger:
            logger.register_artifact_type("mine", save, Path.read_text)
            logger.log_artifact("theirs and ours", "x.txt", "mine")
    finally:
        os.umask(earlier)
    assert home(shared) == before
    assert not (folder / "x.txt").is_symlink()
    assert (folder / "x.txt").read_text() == "theirs and ours"


JOINING = """
    import os, sys, mlxpy
    with mlxpy.Logger("logs") as logger:
        logger.log_metrics({"rank": int(os.environ["RANK"])}, "train")
        print("running", flush=True)
        sys.stdin.readline()
"""


def test_no_rank_joins_the_run_that_a_neighbour_names(shared: Project) -> None:
    shared.write("joining.py", JOINING)
    launch = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    rank_1 = {**launch, "RANK": "1", "MLXPY_PATIENCE_S": "1"}
    options = {"env": {**launch, "RANK": "0"}, "stdin": subprocess.PIPE}
    with shared.start("joining.py", **options) as rank_0:
        assert rank_0.stdout
        assert rank_0.stdout.readline() == "running\n"
        (said,) = shared.path.glob("logs/.mlxpy/together/*/0/*.json")
        os.chown(said, NOBODY, NOBODY)
        done = shared.run("joining.py", env=rank_1, stdin=subprocess.DEVNULL, exit_code=1)
        assert "the process of rank 0 has not started a run" in done.stderr
        os.chown(said, os.getuid(), os.getgid())
        shared.run("joining.py", env=rank_1, stdin=subprocess.DEVNULL)
        rank_0.communicate("\n", timeout=60)
    assert shared.run_ids() == [1]
