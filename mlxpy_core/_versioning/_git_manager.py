"""`GitVM`: sees to it that what runs is a commit, and makes the copy of it."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mlxpy_core._errors import MlxpyError

from ._copy import link_into, one_at_a_time, safe_copy
from ._dialogue import (
    ask_about_changes,
    ask_about_copy,
    ask_about_untracked,
    has_terminal,
    print_line,
    shown,
)
from ._repository import Repository, WorkTree, find_repository
from ._snapshot import Rules, select, take_snapshot
from ._version_manager import Version, VersionManager

ON_DIRTY = ("ignore", "commit", "snapshot", "error")
_SHOWN = 5


@dataclass(frozen=True)
class _Decision:
    """Which code runs.

    Attributes:
        commit: the commit.
        tree: the working tree that it was chosen in.
        copies: whether it runs from a copy.
        left_out: files that the commit should hold and does not, with the reasons.
    """

    commit: str
    tree: WorkTree
    copies: bool = True
    left_out: dict[str, str] = field(default_factory=dict)


class GitVM(VersionManager):
    """Deals with what is not committed in the user's git repository, and makes the copy.

    Args:
        parent_work_dir: where the copies lie, absolute.
        compute_requirements: whether runs list the distributions that they import.
        interactive_mode: whether somebody at a terminal is asked.
        on_dirty: what happens with uncommitted code if nobody is asked: ``ignore``, ``commit``,
            ``snapshot`` or ``error``.
        link: files or folders that git ignores, to be linked into the copy; below the repository.
        include: files that a snapshot or commit holds although they are large or look like secrets.
        max_file_mb: larger files are left out of these, in units of 10^6 bytes.

    Raises:
        MlxpyError: `on_dirty` is none of these.
    """

    def __init__(
        self,
        *,
        parent_work_dir: Path,
        compute_requirements: bool = True,
        interactive_mode: bool = True,
        on_dirty: str = "snapshot",
        link: Sequence[str] = (),
        include: Sequence[str] = (),
        max_file_mb: float = 50,
    ) -> None:
        if on_dirty not in ON_DIRTY:
            raise MlxpyError(f"on_dirty={on_dirty} is unknown: give one of {', '.join(ON_DIRTY)}")
        self._parent = parent_work_dir
        self._compute_requirements = compute_requirements
        self._interactive_mode = interactive_mode
        self._on_dirty = on_dirty
        self._link = list(link)
        self._rules = Rules((parent_work_dir,), max_file_mb, tuple(include))

    def prepare(self, directories: Sequence[Path]) -> Version:
        """Brings the code into the state in which it is to run; see `VersionManager`."""
        repository = _find(directories)
        if self._interactive_mode and has_terminal():
            decision = self._ask(repository)
        else:
            decision = self._decide(repository)
        commit, tree = decision.commit, decision.tree
        copy = safe_copy(repository, commit, self._parent) if decision.copies else None
        if copy:
            link_into(copy, repository.root, self._link)
        description = {
            "name": type(self).__name__,
            "commit_hash": commit,
            "branch": tree.branch,
            "dirty": bool(tree.changes or self._untracked(repository, tree)),
            "snapshot": commit != tree.commit,
            "left_out": sorted(decision.left_out),
            "repo_path": str(repository.root),
            "remote": repository.remote(tree.branch),
            "safe_copy": str(copy) if copy else None,
            "link": list(self._link),
            "requirements": [] if self._compute_requirements else None,
        }
        return Version(repository.root, copy, description)

    # Somebody is at the terminal.

    def _ask(self, repository: Repository) -> _Decision:
        _refuse_conflicts(repository, repository.work_tree())
        while untracked := self._untracked(repository, repository.work_tree()):
            answer = ask_about_untracked(untracked)
            if answer == "a":
                with _errors_printed():
                    _add(repository, untracked)
            if answer == "c":
                break
        while changes := repository.work_tree().changes:
            answer = ask_about_changes([change.path for change in changes])
            if answer == "a":
                with _errors_printed():
                    _commit(repository, [change.path for change in changes])
            if answer == "c":
                break
        tree = repository.work_tree()
        commit = _last_commit(repository, tree)
        return _Decision(commit, tree, copies=ask_about_copy(commit))

    # Nobody is.

    def _decide(self, repository: Repository) -> _Decision:
        tree = repository.work_tree()
        selection = select(repository, tree, self._rules)
        found = [*selection.taken, *selection.nested, *selection.left_out]
        if self._on_dirty == "ignore":
            if found:
                print_line(f"mlxpy: not committed, so not in the code that runs: {_names(found)}")
            return _Decision(_last_commit(repository, tree), tree)
        _refuse_conflicts(repository, tree)
        if not found:
            return _Decision(_last_commit(repository, tree), tree)
        if self._on_dirty == "error":
            raise MlxpyError(
                f"not committed in {repository.root}: {_names(found)}; commit it, have git ignore it, "
                "or choose another on_dirty: ignore, commit or snapshot"
            )
        if self._on_dirty == "commit":
            # Others may wait to do the same, and find nothing to do.
            with one_at_a_time(self._parent, repository):
                selection = select(repository, repository.work_tree(), self._rules)
                if selection:
                    _commit(repository, [*selection.taken, *selection.nested])
            tree = repository.work_tree()
        commit, left_out = _last_commit(repository, tree), selection.left_out
        if selection and self._on_dirty == "snapshot":
            commit, left_out = take_snapshot(repository, tree, selection, self._rules)
        if selection:
            done = {"commit": "committed", "snapshot": "kept as a snapshot"}[self._on_dirty]
            print_line(f"mlxpy: {done}: {_names([*selection.taken, *selection.nested])}")
        if left_out:
            named = _names([f"{path} ({reason})" for path, reason in left_out.items()])
            what = f"left out of the {self._on_dirty}: {named}"
            print_line(f"mlxpy: {what}; include=[...] takes it all the same")
        return _Decision(commit, tree, left_out=left_out)

    def _untracked(self, repository: Repository, tree: WorkTree) -> list[str]:
        return [path for path in tree.untracked if self._rules.is_code(repository.root, path)]


def _find(directories: Sequence[Path]) -> Repository:
    for directory in directories:
        if repository := find_repository(directory):
            return repository
    raise MlxpyError(
        f"{directories[0]} is not in a git repository, which the version manager needs: run git init "
        "and commit there, or run without the version manager"
    )


def _last_commit(repository: Repository, tree: WorkTree) -> str:
    if tree.commit is None:
        raise MlxpyError(
            f"there is no commit yet in {repository.root}, so there is no version to run: make one, as "
            "in git add . && git commit -m 'First version'"
        )
    return tree.commit


def _refuse_conflicts(repository: Repository, tree: WorkTree) -> None:
    operation = repository.operation()
    if operation and (tree.unmerged or operation == "merge"):
        raise MlxpyError(
            f"a {operation} is in progress in {repository.root}: end it (git {operation} --continue) or "
            f"take it back (git {operation} --abort)"
        )
    if tree.unmerged:
        raise MlxpyError(
            f"conflicts in {repository.root}: resolve {_names(tree.unmerged)}, then git add"
        )


def _add(repository: Repository, paths: Iterable[str]) -> None:
    # A repository among them ends in a slash.
    listed = "".join(f"{path.rstrip('/')}\0" for path in paths)
    repository.git("update-index", "--add", "--remove", "--replace", "-z", "--stdin", stdin=listed)


def _commit(repository: Repository, paths: Collection[str]) -> None:
    tree = repository.work_tree()
    inside = [
        change.path for change in tree.changes if change.has_changes_inside and change.path in paths
    ]
    if inside:
        raise MlxpyError(
            f"changes inside of submodules are committed there, not in {repository.root}: "
            f"{_names(inside)}; run git commit there first"
        )
    if not tree.branch:
        raise MlxpyError(
            f"HEAD is detached in {repository.root}, so a commit would be on no branch: make one with "
            "git switch -c NAME"
        )
    if operation := repository.operation():
        raise MlxpyError(
            f"a {operation} is in progress in {repository.root}, and a commit would become part of it: "
            f"end it (git {operation} --continue) or take it back (git {operation} --abort)"
        )
    _add(repository, paths)
    repository.git("commit", "-q", "-m", "Automatic commit by mlxpy")


@contextmanager
def _errors_printed() -> Iterator[None]:
    """Prints an error for whoever is at the terminal, who can see to it."""
    try:
        yield
    except MlxpyError as error:
        print_line(f"mlxpy: {error}")


def _names(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(map(shown, paths[:_SHOWN])) + more
