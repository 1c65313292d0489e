"""What git knows of a repository: where it is, at which commit, and what differs from that."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from mlxpy_core._io._retries import Retries

from ._git import GitError, RunningGit, git

# https://git-scm.com/docs/git-status#_porcelain_format_version_2, with -z
_FIELDS = {"1": 8, "u": 10}
SUBMODULE = "160000"
"""The mode of a submodule in a tree."""
# For how long git waits for another's lock of a ref, and is called again.
_LOCK_MS, _LOCKED_S = 2000, 12.0
_OPERATIONS = {
    "MERGE_HEAD": "merge",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
}


@dataclass(frozen=True)
class Change:
    """A file that differs from the last commit.

    Attributes:
        path: where it is, relative to the repository.
        mode: its mode in the commit, in octal digits; zeros if it is not there.
        object: its object in the commit; zeros if it is not there.
        has_changes_inside: whether it is a submodule with uncommitted changes or untracked files.
    """

    path: str
    mode: str
    object: str
    has_changes_inside: bool


@dataclass(frozen=True)
class WorkTree:
    """What differs from the last commit.

    Attributes:
        commit: the last commit; None if there is none yet.
        branch: the branch; None if HEAD is detached.
        changes: what differs in files that git tracks.
        untracked: files that git neither tracks nor ignores; a repository among them ends in a slash.
        unmerged: files with conflicts.
    """

    commit: str | None
    branch: str | None
    changes: list[Change]
    untracked: list[str]
    unmerged: list[str]


@dataclass(frozen=True)
class Repository:
    """A repository with a working tree.

    Attributes:
        root: the top of the working tree, without symbolic links.
        git_directory: where the index and HEAD of this working tree are.
        common_directory: where objects and branches are; another one in a linked working tree.
    """

    root: Path
    git_directory: Path
    common_directory: Path

    def git(self, *arguments: str, stdin: str = "", **environment: str) -> str:
        """Runs git at the top of the working tree; keyword arguments are environment variables."""
        return git(self.root, *arguments, stdin=stdin, environment=environment)

    def work_tree(self) -> WorkTree:
        """Looks at the working tree, without touching it or the index."""
        # Two at once, as each looks at every file or folder.
        others = RunningGit(self.root, "ls-files", "-z", "--others", "--exclude-standard")
        output = self.git(
            "status",
            "--porcelain=v2",
            "--branch",
            "-z",
            "--untracked-files=no",
            "--no-renames",
            "--ignore-submodules=none",
        )
        records = output.split("\0")[:-1]
        heads = dict(record[2:].split(" ", 1) for record in records if record.startswith("# "))
        commit, branch = heads["branch.oid"], heads["branch.head"]
        return WorkTree(
            commit=None if commit == "(initial)" else commit,
            branch=None if branch == "(detached)" else branch,
            changes=list(_changes(records)),
            untracked=others.finish().split("\0")[:-1],
            unmerged=[
                record.split(" ", _FIELDS["u"])[-1] for record in records if record.startswith("u ")
            ],
        )

    def operation(self) -> str | None:
        """Names what git has begun here and not ended: a merge, a rebase; None if there is nothing."""
        found = (name for file, name in _OPERATIONS.items() if (self.git_directory / file).exists())
        return next(found, None)

    def remote(self, branch: str | None) -> str | None:
        """Returns the address that a branch comes from, or that of ``origin``, without credentials."""
        try:
            output = self.git("config", "-z", "--get-regexp", r"^(remote\..*\.url|branch\..*\.remote)$")
        except GitError:  # there is none
            return None
        values = dict(entry.split("\n", 1) for entry in output.split("\0")[:-1] if "\n" in entry)
        name = values.get(f"branch.{branch}.remote", "origin")
        address = values.get(f"remote.{name}.url")
        return without_credentials(address) if address else None

    def keep(self, commit: str) -> None:
        """Keeps git from ever collecting a commit, whatever becomes of the branches."""
        if not any(self._is_kept(kind, commit) for kind in ("commits", "snapshots")):
            self.keep_as("commits", commit)

    def keep_as(self, kind: str, commit: str) -> None:
        """Does so under ``refs/mlxpy/<kind>/``; others may be doing the same at this moment.

        Raises:
            GitError: git cannot.
        """
        name = f"refs/mlxpy/{kind}/{commit}"
        # Where a lock is left behind, git waits for it, too.
        wait = ["-c", f"core.filesRefLockTimeout={_LOCK_MS}"]

        def update() -> None:
            try:
                self.git(*wait, "update-ref", name, commit)
            except GitError:
                if not self._is_kept(kind, commit):  # otherwise another launch was faster
                    raise

        Retries(_LOCKED_S, passing=lambda error: "cannot lock ref" in str(error))(update)

    def _is_kept(self, kind: str, commit: str) -> bool:
        return (self.common_directory / "refs" / "mlxpy" / kind / commit).exists()


def find_repository(directory: Path) -> Repository | None:
    """Finds the repository whose working tree holds a directory; None if there is none.

    Raises:
        MlxpyError: there is no git.
        GitError: git cannot look, or will not.
    """
    try:
        output = git(directory, "rev-parse", "--show-toplevel", "--absolute-git-dir", "--git-common-dir")
    except GitError as error:
        if re.search(r"not a git repository|must be run in a work tree", str(error)):
            return None
        raise
    root, git_directory, common = output.removesuffix("\n").split("\n")
    common_directory = (directory / common).resolve()  # relative to where git ran, if at all
    return Repository(Path(root), Path(git_directory), common_directory)


def keeps_commit(directory: Path, commit: str) -> bool:
    """Returns whether the repository of a directory has a commit."""
    try:
        repository = find_repository(directory)
        return repository is not None and bool(repository.git("cat-file", "-t", commit))
    except GitError:
        return False


def without_credentials(address: str) -> str:
    """Returns the address of a remote without user, password and query, which may be secrets."""
    if "://" not in address:
        return address  # a path, or host:path, which cannot hold any
    parts = urlsplit(address)
    user, _, host = parts.netloc.rpartition("@")
    # An SSH address needs its user, which is no secret.
    kept = f"{user.partition(':')[0]}@" if user and parts.scheme.endswith("ssh") else ""
    return urlunsplit((parts.scheme, kept + host, parts.path, "", ""))


def _changes(records: list[str]) -> Iterator[Change]:
    for record in records:
        if record.startswith("1 "):
            fields = record.split(" ", _FIELDS["1"])
            inside = fields[2].startswith("S") and ("M" in fields[2] or "U" in fields[2])
            yield Change(path=fields[8], mode=fields[3], object=fields[6], has_changes_inside=inside)
