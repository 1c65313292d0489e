"""Keeps a working tree as it stands as a commit of its own, without touching branch, index or files."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mlxpy_core._runs._directory import is_run_name
from mlxpy_core._runs._info_file import info_path

from ._git import GitError
from ._repository import SUBMODULE, Repository, WorkTree, find_repository

# Names under which programs keep credentials.
_SECRET_NAMES = re.compile(
    r"\.env(rc|\..+)?|\.netrc|\.pgpass|\.pypirc|\.git-credentials|id_(rsa|dsa|ecdsa|ed25519)"
    r"|.+\.(pem|key|p12|pfx|jks|keystore|kdbx|ppk)|credentials(\.json)?|secrets?\.(json|ya?ml|toml)",
    re.IGNORECASE,
)
_NO_SECRETS = re.compile(r".+\.(example|sample|template|dist)", re.IGNORECASE)
_LEFT_BY_PYTHON = "__pycache__"
_LEFT_BY_HYDRA = (".hydra", "multirun.yaml")
_IDENTITY = {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in (("NAME", "mlxpy"), ("EMAIL", "mlxpy@localhost"))
}


@dataclass(frozen=True)
class Rules:
    """What counts as code, and what a snapshot leaves out.

    Attributes:
        results: directories of results, which are no code.
        max_file_mb: files that are larger, in units of 10^6 bytes.
        include: files that are taken all the same, by their paths below the repository; a folder stands
            for all that is in it.
    """

    results: tuple[Path, ...] = ()
    max_file_mb: float = 50
    include: tuple[str, ...] = ()

    def is_code(self, root: Path, path: str) -> bool:
        """Returns whether a file was written by somebody, not by a run."""
        place = root / path
        return not (any(place.is_relative_to(one) for one in self.results) or is_result(root, path))

    def reason_against(self, root: Path, path: str) -> str | None:
        """Returns why a file is left out; None if it is taken."""
        if any(PurePosixPath(path).is_relative_to(one) for one in self.include):
            return None
        name = PurePosixPath(path).name
        if _SECRET_NAMES.fullmatch(name) and not _NO_SECRETS.fullmatch(name):
            return "looks like a secret"
        try:
            megabytes = (root / path).lstat().st_size / 10**6
        except OSError:  # deleted
            return None
        return f"{megabytes:.0f} MB" if megabytes > self.max_file_mb else None


@dataclass(frozen=True)
class Selection:
    """What of the differences from the last commit is code.

    Attributes:
        taken: files of which the working tree's version counts.
        nested: submodules with changes inside, and repositories that git does not track.
        left_out: files of which the last commit's version counts, with the reason.
    """

    taken: list[str]
    nested: list[str]
    left_out: dict[str, str]

    def __bool__(self) -> bool:
        return bool(self.taken or self.nested)


def select(repository: Repository, tree: WorkTree, rules: Rules) -> Selection:
    """Selects the code among the differences from the last commit."""
    root = repository.root
    nested = [change.path for change in tree.changes if change.has_changes_inside]
    untracked = [path for path in tree.untracked if rules.is_code(root, path)]
    taken, left_out = [], {}
    for path in [*(change.path for change in tree.changes if not change.has_changes_inside), *untracked]:
        if path.endswith("/"):
            inner = find_repository(root / path)
            if inner and inner.work_tree().commit:
                nested.append(path.rstrip("/"))
            else:
                left_out[path] = "a repository without a commit"
        elif reason := rules.reason_against(root, path):
            left_out[path] = reason
        else:
            taken.append(path)
    return Selection(taken, nested, left_out)


def take_snapshot(
    repository: Repository, tree: WorkTree, selection: Selection, rules: Rules
) -> tuple[str, dict[str, str]]:
    """Keeps the working tree as a commit under ``refs/mlxpy/snapshots/``.

    The same tree on top of the same commit is the same snapshot. Branch, index and files stay as
    they are.

    Args:
        repository: the repository.
        tree: what differs from its last commit, of which there is one.
        selection: what of that is taken.
        rules: what counts in submodules.

    Returns:
        The commit, and what was left out, with the reasons.

    Raises:
        GitError: git cannot store it.
    """
    assert tree.commit
    nowhere = "0" * len(tree.commit)
    left_out = dict(selection.left_out)
    entries = [
        f"{change.mode} {change.object}\t{change.path}"
        if change.object != nowhere
        else f"0 {nowhere}\t{change.path}"
        for change in tree.changes
        if change.path in selection.left_out
    ]
    for path in selection.nested:
        inner, missing = _snapshot_of(repository.root / path, rules)
        entries.append(f"{SUBMODULE} {inner}\t{path}")
        left_out |= {f"{path}/{name}": reason for name, reason in missing.items()}
    with tempfile.TemporaryDirectory(prefix="mlxpy-") as temporary:
        # The user's index spares git from reading every file; its time stamp shows which to distrust.
        index = os.path.join(temporary, "index")
        shutil.copy2(repository.git_directory / "index", index)
        _update(repository, index, ["--add", "--remove", "--replace", "-z", "--stdin"], selection.taken)
        _update(repository, index, ["-z", "--index-info"], entries)
        written = repository.git("write-tree", GIT_INDEX_FILE=index).strip()
    seconds = repository.git("show", "-s", "--format=%ct", tree.commit).strip()
    dates = {f"GIT_{role}_DATE": f"{seconds} +0000" for role in ("AUTHOR", "COMMITTER")}
    message = f"The working tree on top of {tree.commit}"
    commit = repository.git(
        "commit-tree", "-p", tree.commit, "-m", message, written, **_IDENTITY, **dates
    ).strip()
    repository.keep_as("snapshots", commit)
    return commit, left_out


def _snapshot_of(directory: Path, rules: Rules) -> tuple[str, dict[str, str]]:
    repository = find_repository(directory)
    assert repository  # git has just listed it as one
    tree = repository.work_tree()
    selection = select(repository, tree, rules)
    if tree.commit is None:
        raise GitError(f"the submodule {directory} has no commit yet: make one, with git commit")
    if not selection:
        repository.keep(tree.commit)
        return tree.commit, selection.left_out
    return take_snapshot(repository, tree, selection, rules)


def _update(repository: Repository, index: str, options: list[str], records: Iterable[str]) -> None:
    text = "".join(f"{record}\0" for record in records)
    if text:
        # A shared index would be written beside the user's.
        no_split = ["-c", "core.splitIndex=false", "-c", "core.fsmonitor=false"]
        repository.git(*no_split, "update-index", *options, stdin=text, GIT_INDEX_FILE=index)


def is_result(root: Path, path: str) -> bool:
    """Returns whether a file was written by a run, by Hydra or by Python.

    Directories of results that mlxpy makes are ignored by git anyway; this is for those of MLXP and of
    Hydra, and for repositories that ignore nothing.

    Args:
        root: the top of the working tree.
        path: the file's path below it.
    """
    parts = PurePosixPath(path)
    if {_LEFT_BY_PYTHON, *_LEFT_BY_HYDRA}.intersection(parts.parts):
        return True
    folders = [root / folder for folder in parts.parents if folder.name]
    return any(
        any((folder / name).exists() for name in _LEFT_BY_HYDRA)
        or (is_run_name(folder.name) and info_path(folder).exists())
        for folder in folders
    )
