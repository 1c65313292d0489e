"""Commands on runs of another user, and on files that are none: nothing is done, run or waited for."""

import os
import pickle
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
from click.testing import CliRunner, Result
from conftest import MLXPY, NOBODY, GitProject, Project, need_root, tree_of
from neighbours import as_neighbour, open_to_neighbours, plant, plant_link

from mlxpy_core import Logger, Reader, RunDirectory, StorageError, dump_yaml, load_yaml
from mlxpy_core._cli import main
from mlxpy_core._operations._cleaning import find_leftovers, remove
from mlxpy_core._operations._foreign import other_owner
from mlxpy_core._operations._removing import empty_trash
from mlxpy_core._versioning._copy import safe_copy
from mlxpy_core._versioning._repository import find_repository


@pytest.fixture
def shared(project: Project) -> Project:
    return open_to_neighbours(project)


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
            name,
            kind,
            marks=[]
            if name in FILES[:2] or kind == "pipe" or (name, kind) == (FILES[2], "huge")
            else pytest.mark.long,
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
