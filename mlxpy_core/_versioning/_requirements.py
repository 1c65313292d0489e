"""The distributions whose modules a process has imported, as lines of a requirements file."""

import functools
import json
import os
import sys
from collections import Counter
from collections.abc import Container, Iterable, Mapping
from importlib.metadata import Distribution, distributions
from importlib.util import _LazyModule  # type: ignore[attr-defined] # what LazyLoader makes, and no public name
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mlxpy_core._errors import MlxpyError

from ._current_copy import current_copy
from ._git import git
from ._repository import without_credentials

_SITES = {"site-packages", "dist-packages"}
# A path file of setuptools imports it into every process.
_IMPORTED_BY_ITSELF = {"_distutils_hack"}


def requirements_of(version: Mapping[str, Any]) -> list[str]:
    """Lists the distributions that this process has imported; see `imported_requirements`.

    Args:
        version: what info.yaml records of the code.
    """
    safe_copy, repository = current_copy(), version.get("repo_path")
    return imported_requirements(
        Path(safe_copy.copy) if safe_copy else None,
        Path(repository) if repository else None,
        version.get("commit_hash"),
    )


def imported_requirements(
    copy: Path | None = None, repository: Path | None = None, commit: str | None = None
) -> list[str]:
    """Lists the distributions whose modules this process has imported, as pip reads them.

    Each is a line: ``name==version``; ``name @ address`` for what was installed from there, without
    credentials; ``name==version # from /path``; and ``name==version # editable, /path, commit <hash>``
    for an editable install, with the commit of its repository. The origins are those of PEP 610.

    Args:
        copy: a directory that holds a copy of `repository`; what was imported from there counts as
            imported from `repository`.
        repository: a working tree, which may be gone.
        commit: the commit of the editable installs in `repository`.

    Returns:
        The lines, in the order of the names.
    """
    files = _imported_files()
    if copy and repository:
        files = {_elsewhere(file, str(copy), str(repository)) for file in files}
    installed = _installed(tuple(sys.path))
    shared = Counter((one.root, name) for one in installed for name in one.names)
    lines: dict[str, str] = {}
    for root, group in groupby(installed, key=lambda one: one.root):
        below = _below(root, files)
        for one in group:
            claimed = one.claim(below, {name for name in one.names if shared[root, name] > 1})
            files -= {os.path.join(root, path) for path in claimed}
            if claimed and one.name:
                lines.setdefault(one.name.lower(), one.line(repository, commit))
    return [lines[name] for name in sorted(lines)]


def _below(root: str, files: Iterable[str]) -> dict[str, list[str]]:
    """Returns the paths of files below a directory, by their first parts."""
    paths: dict[str, list[str]] = {}
    for file in files:
        if file.startswith(root + os.sep):
            path = file[len(root) + 1 :]
            paths.setdefault(path.partition(os.sep)[0], []).append(path)
    return paths


def _imported_files() -> set[str]:
    """Returns the files of the modules, without running any code of theirs."""
    files = set()
    for module in list(sys.modules.values()):  # other threads may be importing
        try:
            attributes = object.__getattribute__(module, "__dict__")
        except AttributeError:
            continue
        file = attributes.get("__file__")
        if isinstance(file, str) and not isinstance(module, _LazyModule):
            files.add(file)
    parts = [(_real(folder), name) for folder, name in map(os.path.split, files)]
    standard_library = os.path.dirname(os.path.realpath(os.__file__))
    return {os.path.join(folder, name) for folder, name in parts if folder != standard_library}


_real = functools.lru_cache(maxsize=4096)(os.path.realpath)  # a look at the disk for each of its folders


def _elsewhere(file: str, copy: str, repository: str) -> str:
    place = os.path.realpath(copy) + os.sep
    return os.path.join(repository, file[len(place) :]) if file.startswith(place) else file


class _Installed:
    """A distribution, and how to find which files are its own.

    Args:
        distribution: its metadata.

    Attributes:
        is_editable: whether its files are in their own tree: all of them, below the root.
        root: the directory that holds its files.
        names: the first parts of their paths below the root.
    """

    def __init__(self, distribution: Distribution) -> None:
        self._distribution = distribution
        self._origin = _origin(distribution)
        self._address = str(self._origin.get("url", ""))
        self._path = unquote(urlsplit(self._address).path)
        self.is_editable = self._origin.get("dir_info", {}).get("editable") is True
        place = self._path if self.is_editable else str(distribution.locate_file(""))
        self.root = os.path.realpath(place)
        # What lists them: RECORD of wheels, or else the names of the modules.
        self._record = (distribution.read_text("RECORD") or "").splitlines()
        listed = {line.partition(",")[0].partition("/")[0] for line in self._record}
        modules = (distribution.read_text("top_level.txt") or "").split()
        self.names = listed - _IMPORTED_BY_ITSELF or {*modules, *(f"{name}.py" for name in modules)}

    @functools.cached_property
    def name(self) -> str:
        return str(self._distribution.metadata["Name"] or "")

    @functools.cached_property
    def _version(self) -> str:
        return str(self._distribution.metadata["Version"] or "")

    def claim(self, below: Mapping[str, list[str]], shared: Container[str]) -> list[str]:
        """Returns those of the files that are its own.

        Args:
            below: paths of modules below the root, by their first parts.
            shared: first parts that are other distributions' as well.
        """
        if self.is_editable:
            # An environment in the tree holds others.
            paths = (path for group in below.values() for path in group)
            return [path for path in paths if not _SITES.intersection(path.split(os.sep))]
        found = self.names & below.keys()
        return [
            path for name in found for path in below[name] if name not in shared or path in self._files
        ]

    @functools.cached_property
    def _files(self) -> set[str]:
        return {line.partition(",")[0] for line in self._record}

    def line(self, repository: Path | None, commit: str | None) -> str:
        """Writes the line of a requirements file; see `imported_requirements`."""
        pinned = f"{self.name}=={self._version}" if self._version else self.name
        if self.is_editable:
            known = repository and Path(self._path).is_relative_to(repository)
            state = f", commit {commit}" if known else _state_of(self._path)
            return f"{pinned} # editable, {self._path}{state}"
        if self._address.startswith("file:"):
            return f"{pinned} # from {self._path}"
        address = without_credentials(self._address)
        if version := self._origin.get("vcs_info"):
            address = f"{version.get('vcs')}+{address}@{version.get('commit_id')}"
        if folder := self._origin.get("subdirectory"):
            address += f"#subdirectory={folder}"
        return f"{self.name} @ {address}" if address else pinned


@functools.lru_cache(maxsize=2)
def _installed(search_path: tuple[str, ...]) -> list[_Installed]:
    found = [_Installed(one) for one in distributions(path=list(search_path))]
    # Editable ones first: beside their modules may be metadata that an earlier build has left.
    return sorted(found, key=lambda one: (not one.is_editable, -len(one.root), one.root))


def _origin(distribution: Distribution) -> dict[str, Any]:
    """Reads where a distribution is from: https://peps.python.org/pep-0610/."""
    try:
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    except ValueError:
        return {}
    return origin if isinstance(origin, dict) else {}


@functools.cache  # the modules of this process are as old as its imports
def _state_of(directory: str) -> str:
    try:
        commit = git(Path(directory), "rev-parse", "HEAD").strip()
        changes = git(Path(directory), "status", "--porcelain", "--untracked-files=no", "--", ".")
    except (MlxpyError, OSError):  # no repository, no commit, no git, no directory
        return ""
    return f", commit {commit}{', with uncommitted changes' * bool(changes)}"
