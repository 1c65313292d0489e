"""Copies of config directories."""

import os
from pathlib import Path

import pytest
from conftest import Project

from mlxpy_core import StorageError
from mlxpy_core._versioning._frozen_configs import frozen_configs


def files_below(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_what_hydra_reads_is_copied(project: Project) -> None:
    logs = project.path / "conf" / "logs"
    expected = {"config.yaml": "a: 1\n", "model/deep/x.yml": "b: 2\n", "linked/x.yml": "b: 2\n"}
    project.write("conf/config.yaml", "a: 1\n")
    project.write("conf/model/deep/x.yml", "b: 2\n")
    project.write("conf/data.csv", "1,2\n")
    project.write("conf/.git/config.yaml", "no: 1\n")
    project.write("conf/logs/1/metadata/config.yaml", "no: 1\n")
    project.write("conf/outputs/now/.hydra/config.yaml", "no: 1\n")
    project.write("conf/outputs/now/results.yaml", "no: 1\n")
    os.symlink("model/deep", project.path / "conf/linked")
    os.symlink("..", project.path / "conf/model/up")
    frozen = frozen_configs(project.path / "conf", logs)
    assert files_below(frozen) == expected
    assert frozen.parent == logs / ".configs"
    assert not list(frozen.parent.glob(".mlxpy-tmp-*"))


def test_the_same_content_has_one_copy(project: Project) -> None:
    logs = project.path / "logs"
    for name in ("a", "b"):
        project.write(f"{name}/config.yaml", "a: 1\n")
    first = frozen_configs(project.path / "a", logs)
    assert frozen_configs(project.path / "b", logs) == first
    project.write("b/config.yaml", "a: 2\n")
    told = frozen_configs(project.path / "b", logs, copy=False)
    assert not told.exists()
    assert frozen_configs(project.path / "b", logs) == told != first
    # Names count, and where one file ends and the next begins.
    project.write("c/conf.yaml", "a: 1\n")
    assert frozen_configs(project.path / "c", logs) not in (first, told)


def test_a_copy_that_cannot_be_made(project: Project) -> None:
    project.write("conf/config.yaml", "a: 1\n")
    project.write("logs/.configs", "in the way")
    with pytest.raises(StorageError, match=r"cannot keep a copy of the configs in .*conf"):
        frozen_configs(project.path / "conf", project.path / "logs")


def test_what_is_no_file_is_not_waited_for(project: Project) -> None:
    project.write("conf/config.yaml", "a: 1\n")
    os.symlink("ada@host.1234", project.path / "conf/.#config.yaml")  # an editor's lock
    os.mkfifo(project.path / "conf/pipe.yaml")
    frozen = frozen_configs(project.path / "conf", project.path / "logs")
    assert files_below(frozen) == {"config.yaml": "a: 1\n"}


def test_all_is_on_the_disk_before_the_copy_has_its_name(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("conf/config.yaml", "a: 1\n")
    project.write("conf/model/deep/x.yaml", "b: 2\n")
    events: list[str] = []
    rename, fsync = Path.rename, os.fsync
    monkeypatch.setattr(Path, "rename", lambda path, to: (events.append("named"), rename(path, to))[1])

    def note(descriptor: int) -> None:
        events.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    frozen = frozen_configs(project.path / "conf", project.path / "logs")
    before, after = events[: events.index("named")], events[events.index("named") + 1 :]
    assert {"config.yaml", "x.yaml", "model", "deep"} < set(before)
    assert any(name.startswith(".mlxpy-tmp-") for name in before)
    assert after == [frozen.parent.name]


def test_another_users_copy_is_not_believed(project: Project) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give files to another user")
    project.write("conf/config.yaml", "a: 1\n")
    theirs = frozen_configs(project.path / "conf", project.path / "logs")
    (theirs / "config.yaml").write_text("a: 2\n")
    os.chown(theirs, 65534, 65534)
    mine = frozen_configs(project.path / "conf", project.path / "logs")
    assert mine == theirs.with_name(f"{theirs.name}_0")
    assert files_below(mine) == {"config.yaml": "a: 1\n"}
