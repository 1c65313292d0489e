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
    assert not list(frozen.parent.glob(".tmp-*"))


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
