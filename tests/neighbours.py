"""A directory of runs that another user can write to, too.

The neighbour is a process that has become the user nobody, which root's tests can.
"""

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow  # noqa: F401  # before a process becomes another user
from conftest import NOBODY, Project, need_root, tree_of


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


def open_to_neighbours(project: Project) -> Project:
    """Makes a directory of runs that anybody may write to, beside what is this user's alone."""
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


def plant(place: Path) -> None:
    place.mkdir(parents=True)
    (place / "config.yaml").write_text("a: 1\n_target_: os.system\n")
