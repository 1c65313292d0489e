"""What the file system refuses: no space, no inodes, no permission, read-only, failing, too many open files."""

import importlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import REPOSITORY, Project

import mlxpy
from mlxpy_core import frozen_configs

DATA = REPOSITORY / "tests" / "data" / "refusals"


@pytest.fixture
def small_disk() -> Iterator[Path]:
    # Not below pytest's directory, which another session of pytest closes to other users.
    directory = tempfile.mkdtemp(prefix="mlxpy-disk-")
    options = ["-t", "tmpfs", "-o", "size=4m,nr_inodes=2000,mode=0777", "tmpfs", directory]
    try:
        if os.getuid() or subprocess.run(["mount", *options], capture_output=True).returncode:
            pytest.skip("only root can mount a small disk, and not everywhere")
        yield Path(directory)
        subprocess.run(["umount", "--recursive", directory], check=True)
    finally:
        os.rmdir(directory)


@pytest.fixture
def ext4_disk() -> Iterator[Path]:
    """A disk that the kernel makes read-only when it has an error, in the file of the same name and .img."""
    directory = tempfile.mkdtemp(prefix="mlxpy-disk-")
    image = Path(f"{directory}.img")
    try:
        with open(image, "wb") as file:
            file.truncate(8 * 2**20)
        made = not os.getuid() and shutil.which("mkfs.ext4")
        made = made and not subprocess.run(["mkfs.ext4", "-q", image], capture_output=True).returncode
        mount = ["mount", "-o", "loop,errors=remount-ro", image, directory]
        if not made or subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("only root can mount an ext4 in a file, and not everywhere")
        try:
            if not list(Path("/sys/fs/ext4").glob("*/trigger_fs_error")):
                pytest.skip("the ext4 of this kernel cannot be told to have an error")
            yield Path(directory)
        finally:
            subprocess.run(["umount", directory], check=True)
    finally:
        os.rmdir(directory)
        image.unlink()


@pytest.fixture(scope="module")
def failing_disk(tmp_path_factory: pytest.TempPathFactory) -> str:
    if not shutil.which("gcc"):
        pytest.skip("no gcc, which makes the disk that fails")
    library = tmp_path_factory.mktemp("library") / "failing_disk.so"
    options = ["-shared", "-fPIC", "-O1", "-o", str(library)]
    subprocess.run(["gcc", *options, str(DATA / "failing_disk.c")], check=True)
    return str(library)


@pytest.mark.parametrize(
    "fault",
    [
        "no-space", pytest.param("no-inodes", marks=pytest.mark.long), "no-files", "no-permission",
        "read-only", "made-read-only", "failing", "failing-once",
    ],
)  # fmt: skip
def test_a_run_is_refused_at_every_moment(
    project: Project, fault: str, request: pytest.FixtureRequest, times: Callable[[int, int], int]
) -> None:
    preload = {}
    if fault.startswith("failing"):
        preload["LD_PRELOAD"] = request.getfixturevalue("failing_disk")
    disk = request.getfixturevalue("ext4_disk" if fault == "made-read-only" else "small_disk")
    project.open_to_all()
    step = times(7, 3) if preload else times(2, 1)
    done = project.run(str(DATA / "run.py"), fault, str(disk), str(step), env=preload)
    counts = json.loads(done.stdout)
    print(fault, counts)
    assert counts["cases"] > 5
    # A single input/output error passes, as those of an NFS whose server is away for a moment.
    assert counts["refused"] == 0 if fault == "failing-once" else counts["refused"] > 5


LOGGER = "hydra/callbacks=mlxp_logger hydra.callbacks.mlxp_logger.parent_log_dir={logs}"
LAUNCHER = (
    "-m hydra/launcher=mlxp_slurm hydra.launcher.scheduler=taking.Taking "
    "hydra.launcher.parent_log_dir={logs} +lr=range(50)"
)


@pytest.mark.parametrize(
    ("resource", "step", "arguments", "runs"),
    [
        ("space", 2, LOGGER, 1),
        pytest.param("inodes", 3, LOGGER, 1, marks=pytest.mark.long),
        ("space", 6, f"-m {LOGGER} +lr=1,2", 2),
        ("space", 60, LAUNCHER, 50),
        pytest.param("inodes", 160, LAUNCHER, 50, marks=pytest.mark.long),
    ],
    ids=["run-space", "run-inodes", "sweep-space", "submission-space", "submission-inodes"],
)
def test_a_hydra_app_on_a_full_disk(
    project: Project,
    small_disk: Path,
    resource: str,
    step: int,
    arguments: str,
    runs: int,
    times: Callable[[int, int], int],
) -> None:
    step *= times(2, 1) if runs < 50 else 1
    given = arguments.format(logs=small_disk / "logs").split()
    output = project.path / "output"
    done = project.run(str(DATA / "app.py"), resource, str(step), str(small_disk), str(output), *given)
    counts = json.loads(done.stdout)
    print(resource, counts)
    assert counts["refused"] == counts["cases"] - 1 > 2
    assert counts["runs"] == runs


@pytest.mark.parametrize("resource", ["space", "inodes"])
def test_the_reader_needs_no_space_and_frozen_configs_leave_nothing(
    project: Project, small_disk: Path, resource: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(DATA))
    filler = importlib.import_module("fillers").FILLERS[resource]
    logs = small_disk / "logs"
    mlxpy.Logger(logs, config={"lr": 0.1}).close()
    project.write("conf/config.yaml", "lr: 0.1\n")
    filler.fill(small_disk, 0)
    try:
        assert mlxpy.Reader(logs).search()["config.lr"] == [0.1]
        listed, errors = project.mlxpy("ls", "--logs", str(logs))
        with pytest.raises(
            mlxpy.StorageError, match=r"^cannot keep a copy .*: No space left on device$"
        ):
            frozen_configs(project.path / "conf", logs)
    finally:
        filler.empty(small_disk)
    assert len(listed.splitlines()) == 2
    assert not errors
    assert not list(logs.glob(".configs/*/*"))
    assert (frozen_configs(project.path / "conf", logs) / "config.yaml").exists()
