"""Brings back the code that an earlier run came from, and what a program needs to run from it."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlxpy_core._errors import MlxpyError
from mlxpy_core._versioning._startup.sitecustomize import VARIABLE, SafeCopy, moved

from ._copy import link_into, safe_copy
from ._current_copy import original_place
from ._repository import find_repository, keeps_commit
from ._restart import environment_of, import_paths, move_arguments

_DEFAULT_PARENT = ".workdir"


@dataclass(frozen=True)
class CodeOfRun:
    """The code of an earlier run.

    Attributes:
        command: the arguments of a command, with the places that they name in the code as it was.
        directory: where to run them.
        environment: the variables that the program needs.
        version_manager: what info.yaml records of the code.
        caveat: what may differ from the code as it was; empty if nothing does.
    """

    command: list[str]
    directory: str
    environment: dict[str, str]
    version_manager: dict[str, Any] | None
    caveat: str = ""


def code_of_run(
    info: Mapping[str, Any], arguments: Sequence[str], recorded: Mapping[str, str] | None
) -> CodeOfRun:
    """Returns the code of a run, from its copy, which is made again if it is gone.

    Args:
        info: what the run's info.yaml holds.
        arguments: its command's arguments, as typed in the development tree.
        recorded: the variables that had it run from a copy, if they are known.

    Raises:
        MlxpyError: the copy is gone, and so is the repository or the commit.
    """
    version = info["version_manager"]
    if version is None:
        caveat = f"there is no record of its code: {info['work_dir']} is used as it is now"
        return CodeOfRun(list(arguments), info["work_dir"], {}, None, caveat)
    place = _copy(version)
    caveat = ""
    if version["dirty"] and not version["snapshot"]:
        caveat = f"uncommitted changes of its code were not kept: this is commit {place.name[:12]}"
    text = (recorded or {}).get(VARIABLE)
    safe_copy = SafeCopy.read(text) if text else None
    if safe_copy is None or safe_copy.copy != str(place):
        safe_copy = SafeCopy(version["repo_path"], str(place))
        safe_copy.paths = import_paths(filter(None, sys.path), safe_copy)
    typed_in = original_place(info["work_dir"], safe_copy)
    directory = moved(typed_in, safe_copy) or typed_in
    os.makedirs(directory, exist_ok=True)  # git keeps no empty ones
    return CodeOfRun(
        move_arguments(arguments, typed_in, safe_copy),
        directory,
        environment_of(safe_copy),
        {**version, "safe_copy": str(place)},
        caveat,
    )


def _copy(version: Mapping[str, Any]) -> Path:
    """Returns the copy of a run's commit, which is made if it is not there."""
    recorded, root = version["safe_copy"], Path(version["repo_path"])
    if recorded and os.path.isdir(recorded):
        return Path(recorded)
    commit = version["commit_hash"]
    parent = Path(recorded).parent.parent if recorded else root / _DEFAULT_PARENT
    repository = find_repository(root) if root.is_dir() else None
    if repository is None:
        raise MlxpyError(
            f"the code is gone: there is no repository {root}, and no copy of {commit}: clone it there"
        )
    if not keeps_commit(root, commit):
        raise MlxpyError(
            f"the code is gone: {root} has no commit {commit}, and there is no copy of it: "
            "fetch it there, with git fetch"
        )
    copy = safe_copy(repository, commit, parent)
    link_into(copy, repository.root, list(version.get("link", [])))
    return copy
