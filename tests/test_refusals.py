"""What the file system refuses: no space, no inodes, no permission, read-only, failing, too many open files."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REPOSITORY, Project

DATA = REPOSITORY / "tests" / "data" / "refusals"


@pytest.fixture
def small_disk(project: Project) -> Iterator[Path]:
    directory = project.path / "disk"
    directory.mkdir()
    options = ["-t", "tmpfs", "-o", "size=1m,nr_inodes=600,mode=0777", "tmpfs", str(directory)]
    if os.getuid() or subprocess.run(["mount", *options], capture_output=True).returncode:
        pytest.skip("only root can mount a small disk, and not everywhere")
    yield directory
    subprocess.run(["umount", "--recursive", str(directory)], check=True)


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
    ["no-space", "no-inodes", "no-files", "no-permission", "read-only", "failing", "failing-once"],
)
def test_a_run_is_refused_at_every_moment(
    project: Project, small_disk: Path, fault: str, request: pytest.FixtureRequest
) -> None:
    preload = request.getfixturevalue("failing_disk") if fault.startswith("failing") else ""
    project.open_to_all()
    done = project.run(str(DATA / "run.py"), fault, str(small_disk), env={"LD_PRELOAD": preload})
    counts = json.loads(done.stdout)
    assert counts["cases"] > 5
    assert counts["refused"] > 5
