"""A directory of runs that another user can write to, too: what that user plants does no harm.

The neighbour is a process that has become the user nobody, which root's tests can.
"""

import os
import pickle
import signal
import socket
import subprocess
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pyarrow  # noqa: F401  # before a process becomes another user
import pytest
from click.testing import CliRunner, Result
from conftest import MLXPY, NOBODY, GitProject, Project, need_root, tree_of

from mlxpy_core import (
    Logger,
    MlxpyError,
    Reader,
    RunDirectory,
    StorageError,
    dump_yaml,
    load_yaml,
    take_run_directory,
)
from mlxpy_core._cli import main
from mlxpy_core._operations._cleaning import find_leftovers, remove
from mlxpy_core._operations._foreign import other_owner
from mlxpy_core._operations._removing import empty_trash
from mlxpy_core._reading._tables._warnings import UnreadableRunWarning
from mlxpy_core._versioning._copy import one_at_a_time, safe_copy
from mlxpy_core._versioning._frozen_configs import frozen_configs
from mlxpy_core._versioning._repository import find_repository

NUMBERS = "logs/.mlxpy/last_id"


def as_neighbour(act: Callable[[], object]) -> None:
    """Does something as another user, who may write to the directory of runs."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            act()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


@pytest.fixture
def shared(project: Project) -> Project:
    """A project whose directory of runs anybody may write to, beside what is this user's alone."""
    need_root()
    project.write("home/.profile", "mine")
    project.write("home/logs/7/metadata/info.yaml", "mine")
    logs = project.path / "logs"
    logs.mkdir()
    project.open_to_all()
    logs.chmod(0o777)
    return project


def plant_link(place: Path, target: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)


def home(shared: Project) -> dict[str, Any]:
    return tree_of(shared.path / "home")


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


def plant(place: Path) -> None:
    place.mkdir(parents=True)
    (place / "config.yaml").write_text("a: 1\n_target_: os.system\n")


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


# What a neighbour's files say is done for those who have said so.


def jobs_command(shared: Project, name: str) -> dict[str, str]:
    """Puts a program into the PATH that notes how it was called."""
    shared.write(f"bin/{name}", f'#!/bin/sh\necho "{name} $@" >> {shared.path}/called\n').chmod(0o755)
    return {"PATH": f"{shared.path}/bin:{os.environ['PATH']}"}


def called(shared: Project) -> str:
    path = shared.path / "called"
    return path.read_text() if path.exists() else ""


def plant_run(shared: Project, status: str, **scheduler: Any) -> None:
    """Makes a run, and its like that is a neighbour's."""
    logs = shared.path / "logs"
    for number in (1, 2):
        with Logger(logs, config={"lr": number}) as logger:
            path = Path(logger.log_dir, "metadata/info.yaml")
        info = load_yaml(path.read_text())
        info.update(status=status, cmd=f"/bin/sh -c 'echo {number} >> {shared.path}/called'")
        info.update(executable="/bin/sh", overrides=[], work_dir=str(shared.path))
        if scheduler:
            job = {"name": "SLURMScheduler", "cluster": "", "scheduler_job_id": str(76 + number)}
            info.update(attempts=[], scheduler={**job, "array_index": None, "may_come_back": True})
        else:
            info["attempts"][0]["status"] = status
        path.write_text(dump_yaml(info))
    for path in (logs / "2", *(logs / "2").rglob("*")):
        os.chown(path, NOBODY, NOBODY)


def test_cancel_asks_before_it_believes_a_neighbour(shared: Project) -> None:
    # The jobs of a cluster that may be there have these numbers, too.
    for name in ("scancel", "squeue", "sacct", "scontrol"):
        environment = jobs_command(shared, name)
    plant_run(shared, "SUBMITTED", name="SLURMScheduler")
    said = "the files of user nobody say of run 2 which jobs they are"
    output, errors = shared.mlxpy("cancel", "1-2", "--yes", env=environment)
    assert f"Left alone: {said}: --trust USER does what they say.\n" in errors
    assert "Run 1: 1 job of SLURMScheduler.\nCancelled run 1.\n" in output
    assert "scancel 77\n" in called(shared)
    assert "scancel 78" not in called(shared)
    arguments = ["cancel", "2", "--yes"]
    for answer in ("n", "y"):
        terminal = pexpect.spawn(
            MLXPY, arguments, cwd=str(shared.path), env={**os.environ, **environment}, timeout=60
        )
        terminal.expect(
            r"The files of user nobody say of run 2 which jobs they are\. Do what they say\?"
        )
        assert "scancel 78" not in called(shared)
        terminal.sendline(answer)
        terminal.expect(pexpect.EOF)
        terminal.close()
    assert "scancel 78\n" in called(shared)
    shared.mlxpy(*arguments, "--trust", "nobody", env=environment)
    assert called(shared).count("scancel 78\n") == 2


def test_nothing_runs_again_by_a_neighbours_word(shared: Project) -> None:
    plant_run(shared, "KILLED")
    _, errors = shared.mlxpy("resubmit", "1-2")
    assert "Left alone: the files of user nobody say of run 2 which command runs" in errors
    assert called(shared) == "1\n"
    _, errors = shared.mlxpy("rerun", "2", exit_code=1)
    assert "Left alone: the files of user nobody say of run 2 which command runs" in errors
    assert called(shared) == "1\n"
    shared.mlxpy("resubmit", "2", "--trust", "nobody")
    assert called(shared) == "1\n2\n"


@pytest.mark.parametrize(
    "name",
    ["", "metadata", "metadata/info.yaml", ".keys/job.yaml", ".keys/environment.yaml", "script.sh"],
)
def test_one_file_of_a_neighbour_makes_a_run_theirs(tmp_path: Path, name: str) -> None:
    need_root()
    with Logger(tmp_path) as logger:
        run = RunDirectory(Path(logger.log_dir))
    assert other_owner(run) is None
    path = run.path / name
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        path.touch()
    os.chown(path, NOBODY, NOBODY)
    assert other_owner(run) == NOBODY


def test_clean_removes_no_copy_that_only_a_neighbour_names(shared: Project) -> None:
    project = GitProject(shared.path / "project")
    commit = project.commit()
    repository = find_repository(project.path)
    assert repository
    copy = safe_copy(repository, commit, shared.path / "copies")
    plant_run(shared, "COMPLETE")
    path = shared.path / "logs/2/metadata/info.yaml"
    version = {"safe_copy": str(copy), "repo_path": str(project.path), "commit_hash": commit}
    path.write_text(dump_yaml({**load_yaml(path.read_text()), "version_manager": version}))
    as_neighbour(lambda: plant_link(shared.path / "logs/.configs/x", "../../home"))
    assert shared.mlxpy("clean", "--yes")[0] == "Nothing to remove.\n"
    os.chown(path, 0, 0)
    os.chown(path.parent, 0, 0)
    os.chown(path.parent.parent, 0, 0)
    assert str(copy) in shared.mlxpy("clean", "--yes")[0]
    assert not copy.exists()


@pytest.fixture
def old_home(shared: Project) -> Path:
    """Directories of one's own that look like frozen configs, claims and removed runs."""
    for name in ("old", "claim-1", "7"):
        shared.write(f"home/{name}/inner/file", "mine")
        os.utime(shared.path / "home" / name, (0, 0))
    return shared.path / "home"


def test_clean_removes_nothing_behind_a_neighbours_link(shared: Project, old_home: Path) -> None:
    configs = shared.path / "logs/.configs"
    before = tree_of(old_home)
    as_neighbour(lambda: plant_link(configs, str(old_home)))
    output, errors = shared.mlxpy("clean", "--yes")
    assert output == "Nothing to remove.\n"
    assert "frozen configs are kept: .configs is a symbolic link of user nobody" in errors
    os.unlink(configs)
    plant(configs / "old")
    os.utime(configs / "old", (0, 0))
    found = find_leftovers(shared.path / "logs")
    assert found.configs == [configs / "old"]
    configs.rename(configs.with_name("away"))  # while somebody thinks
    as_neighbour(lambda: plant_link(configs, str(old_home)))
    with pytest.raises(StorageError, match=r"\.configs is a symbolic link of user nobody"):
        remove(found)
    assert tree_of(old_home) == before


def test_rm_removes_nothing_behind_a_neighbours_link(shared: Project, old_home: Path) -> None:
    before, logs = tree_of(old_home), shared.path / "logs"
    as_neighbour(lambda: plant_link(logs / "5/.keys", str(old_home)))
    os.utime(logs / "5", (0, 0))
    shared.mlxpy("rm", "5", "--yes", "--trust", "nobody")
    assert tree_of(old_home) == before
    (logs / ".trash").rename(logs / "away")
    as_neighbour(lambda: plant_link(logs / ".trash", str(old_home)))
    with pytest.raises(StorageError, match=r"\.trash is a symbolic link of user nobody"):
        empty_trash(logs)
    assert tree_of(old_home) == before


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


# What is no file, or too large.

FILES = ["metadata/info.yaml", "metadata/config.yaml", "metrics/train.json", "log.stdout", "script.sh"]
KEPT = ("summary.json", "job.yaml", "metrics.yaml", "process.yaml", "annotations.yaml")
FILES += [f".keys/{name}" for name in KEPT]
COMMANDS = [
    ["ls"], ["ls", "-c", "train.loss"], ["status"], ["show", "1"], ["diff", "1", "2", "--info"], ["clean"],
    ["export", "--metrics", "-o", "-"], ["cancel", "1-2", "--yes"], ["resubmit", "1-2"], ["rerun", "1"],
    ["logs", "1"], ["logs", "1", "-f"], ["du"], ["tag", "1-2", "+a"],
]  # fmt: skip


@pytest.fixture
def in_time() -> Iterator[None]:
    """Ends a test that waits for ever."""

    def end(*_: Any) -> None:
        raise AssertionError("it waits")

    earlier = signal.signal(signal.SIGALRM, end)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, earlier)


def run_command(logs: Path, arguments: list[str]) -> Result:
    result = CliRunner().invoke(main, [arguments[0], "--logs", str(logs), *arguments[1:]])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def two_runs(tmp_path: Path) -> Path:
    """Two runs that have ended, so that nothing can be cancelled or submitted."""
    logs = tmp_path / "logs"
    for lr in (1, 2):
        with Logger(logs, config={"lr": lr}) as logger:
            logger.log_metrics({"loss": lr}, "train")
            Path(logger.log_dir, "log.stdout").write_text("output\n")
    return logs


def put(kind: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "directory":
        path.mkdir()
    elif kind == "huge":
        with open(path, "wb") as file:
            file.truncate(10 * 2**30)
    else:
        monkeypatch.chdir(path.parent)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)


@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(
            name, kind, marks=[] if name in FILES[:2] or kind in ("pipe", "huge") else pytest.mark.long
        )
        for name in FILES
        for kind in ("pipe", "device", "directory", "socket", "huge")
    ],
)
def test_what_is_no_file_keeps_nobody_waiting(
    two_runs: Path, name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(kind, two_runs / "1" / name, monkeypatch)
    for arguments in COMMANDS:
        if arguments[0] == "logs" and kind == "huge" and name == "log.stdout":
            continue  # it is printed, as long as one likes to see it
        result = run_command(two_runs, arguments)
        whole = arguments[0] in ("ls", "status", "export", "clean")
        assert not whole or result.exit_code == 0, (arguments, result.output)
        if name.startswith("metadata") and arguments[0] in ("ls", "status", "export", "show", "diff"):
            assert "1 (" in result.stderr or "run 1 cannot be read" in result.stderr, arguments
        assert arguments != ["ls"] or result.stdout.splitlines()[-1].split()[0] == "2", result.stdout


# What runs code when it is loaded.


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch '{self.marker}'",)


@pytest.mark.filterwarnings("ignore:.*cannot be read")
def test_no_command_loads_what_a_neighbour_has_pickled(
    shared: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor imports what a neighbour's run names; whoever asks for an artifact by its name does."""
    logs = shared.path / "logs"
    marker = shared.path / "marker"
    shared.write("trap.py", f"open({str(marker)!r}, 'w').close()\ndef load(path): ...\nsave = load\n")
    monkeypatch.syspath_prepend(str(shared.path))
    trap = pickle.dumps(Trap(marker))

    def plant() -> None:
        for number in (1, 2):
            with Logger(logs, config={"lr": number}) as logger:
                logger.log_metrics({"loss": 0.5}, "train")
                run = Path(logger.log_dir)
                for kind in ("pickle", "Checkpoint", "torch", "numpy", "text", "mine"):
                    (run / "artifacts" / kind).mkdir(parents=True)
                    (run / "artifacts" / kind / "x").write_bytes(trap)
                types = "mine: {save: 'trap:save', load: 'trap:load'}"
                (run / ".keys/artifact_types.yaml").write_text(types)
                (run / ".keys/outcome.pkl").write_bytes(trap)
        for kind in ("runs", "metrics/train"):
            cache = logs / ".mlxpy/reader-2" / kind
            cache.mkdir(parents=True)
            (cache / "0.arrow").write_bytes(trap)

    with Logger(shared.path / "other", config={"lr": 0}) as logger:  # what is imported late
        logger.log_metrics({"loss": 0.5}, "train")
    as_neighbour(plant)
    for arguments in COMMANDS:
        run_command(logs, arguments)
    results = Reader(logs).search()
    assert results.toPandas(lazy=False)["train.loss"].tolist() == [[0.5]] * 2
    assert repr(results[0]["artifact.mine"])
    assert not marker.exists()
    for kind in ("pickle", "mine"):
        results[0][f"artifact.{kind}"]["x"].load()
        assert marker.exists()
        marker.unlink()


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
