"""Copies of commits, in which programs run: made once, and there whole or not at all."""

import contextlib
import errno
import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlxpy_core._errors import MlxpyError, StorageError
from mlxpy_core._io._files import open_in_place, write_whole
from mlxpy_core._io._owners import foreign_owner, owner_name
from mlxpy_core._io._temporary import TEMPORARY_PATTERN, temporary_path
from mlxpy_core._runs._directory import make_results_directory
from mlxpy_core._runs._process import describe_process

from ._git import GitError
from ._last_use import mark_used
from ._repository import SUBMODULE, Repository, find_repository

_INCOMPLETE = "mlxpy-without-submodules"
# No checkout takes longer than a day.
_ABANDONED_S = 86_400


def safe_copy(repository: Repository, commit: str, parent: Path) -> Path:
    """Gives a directory that holds all files of a commit, and makes it if there is none.

    It is a repository of its own, at that commit, whose objects are those of `repository`.

    Args:
        repository: where the commit is.
        commit: its full hash.
        parent: copies lie at ``<parent>/<name of the repository>/<commit>``; where another user has made
            that directory, in one of this user's own beside it.

    Raises:
        StorageError: the file system refused.
        MlxpyError: git did.
    """
    place = _copies_of(parent, repository) / commit
    repository.keep(commit)
    try:
        _check_owner(place)
        if not mark_used(place):
            with one_at_a_time(parent, repository) as alone:
                if not mark_used(place):
                    _remove_leftovers(place.parent, alone=alone)
                    _make(repository, commit, place)
        if (place / ".git" / _INCOMPLETE).exists():
            with one_at_a_time(parent, repository):
                _add_submodules(repository, commit, place)
    except OSError as error:
        raise StorageError(f"cannot make a copy of the code in {place.parent}", error) from error
    return place


def _copies_of(parent: Path, repository: Repository) -> Path:
    """Returns where the copies of a repository lie; what another user has made can hold any code."""
    shared = parent / repository.root.name
    if foreign_owner(shared) is None:
        return shared
    own = shared.with_name(f"{shared.name}_{os.getuid()}")
    _check_owner(own)
    return own


def _check_owner(place: Path) -> None:
    if (owner := foreign_owner(place)) is not None:
        raise MlxpyError(
            f"{place} belongs to {owner_name(owner)}, who decides what it holds: remove it, or set "
            "parent_work_dir to a directory of your own"
        )


@contextmanager
def one_at_a_time(parent: Path, repository: Repository) -> Iterator[bool]:
    """Keeps others of this machine from doing the same for a repository with copies below `parent`.

    It only spares work: where the file system has no locks, several do the work and the first to end
    is right, and what is given is False. The kernel gives the lock back when its holder dies.
    """
    make_results_directory(parent)
    descriptor = open_in_place(_copies_of(parent, repository) / ".lock", parent, os.O_RDWR)
    try:
        alone = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise
            alone = False
        yield alone
    finally:
        os.close(descriptor)


def link_into(copy: Path, repository: Path, paths: list[str]) -> None:
    """Links files or folders that git ignores into a copy.

    Of a folder that the commit has files of, what the copy lacks is linked.

    Args:
        copy: the copy.
        repository: the top of the working tree that has them.
        paths: where they are, relative to it.

    Raises:
        MlxpyError: one is not there, or the copy has something else in its place.
        StorageError: the file system refused.
    """
    for path in paths:
        if os.path.isabs(path) or ".." in Path(path).parts:
            raise MlxpyError(f"link: {path} is no path below {repository}: give a relative one")
        source, place = repository / path, copy / path
        if not source.exists():
            lost = f": it leads to {source.readlink()}" if source.is_symlink() else ""
            raise MlxpyError(f"link: there is no {path} in {repository}{lost}; give a path below it")
        try:
            linked = _through_link(copy, place.parent)
            if linked and not os.path.samefile(linked, repository / linked.relative_to(copy)):
                raise _linked_elsewhere(linked)
            if not linked:  # otherwise it is there by the link
                _link(copy, repository, Path(path))
        except OSError as error:
            raise StorageError(f"cannot link {path} into {copy}", error) from error


def _through_link(copy: Path, folder: Path) -> Path | None:
    """Finds the link in a copy that a folder of it lies behind."""
    inside = (one for one in (folder, *folder.parents) if one != copy and one.is_relative_to(copy))
    return next((one for one in inside if one.is_symlink()), None)


def _link(copy: Path, repository: Path, path: Path) -> None:
    source, place = repository / path, copy / path
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        place.symlink_to(source)
    except FileExistsError as error:
        if place.is_symlink():
            if place.readlink() == source or os.path.samefile(place, source):
                return
            raise _linked_elsewhere(place) from error
        if not place.is_dir():
            raise MlxpyError(
                f"link: {path} is in the commit, so the copy has it already: leave it out of link"
            ) from error
        if not source.is_dir():
            raise MlxpyError(
                f"link: {path} is a folder in the commit and a file in {repository}: leave it out"
            ) from error
        for name in sorted(os.listdir(source)):
            inner = place / name
            if not os.path.lexists(inner) or inner.is_dir() or inner.is_symlink():
                _link(copy, repository, path / name)


def _linked_elsewhere(place: Path) -> MlxpyError:
    return MlxpyError(
        f"link: {place} leads to {place.readlink()} already, for another working tree of this commit: "
        "set parent_work_dir to another directory"
    )


def _make(repository: Repository, commit: str, place: Path) -> None:
    temporary = temporary_path(place.with_name(_boot_mark()))
    try:
        _check_out(repository, commit, temporary)
        temporary.rename(place)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # made by another machine meanwhile
            raise
    except GitError:
        # Git does not always say why it could not write; the file system does.
        (temporary / ".git" / "probe").write_bytes(b"x" * 2**16)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_leftovers(directory: Path, *, alone: bool) -> None:
    """Removes what was being made here by processes of this machine that are no more, and what is old.

    Args:
        directory: where copies lie.
        alone: whether no other process of this machine, of no container on it either, makes a copy.
    """
    mark = f"-{_boot_mark()}"
    for leftover in directory.glob(TEMPORARY_PATTERN):
        with contextlib.suppress(OSError):
            is_old = time.time() - leftover.stat().st_mtime > _ABANDONED_S
            if is_old or (alone and leftover.name.endswith(mark)):
                shutil.rmtree(leftover, ignore_errors=True)


def _boot_mark() -> str:
    # Names of hosts are not unique; the boot is, and its containers share the kernel that locks.
    return str(describe_process()["boot_id"] or "unknown")


def _check_out(repository: Repository, commit: str, target: Path) -> None:
    """Writes all files of a commit into a new directory, with a repository that stands at it."""
    _make_git_directory(repository, commit, target / ".git")
    # The settings of the user's repository count (line ends, filters), but for what would leave files
    # out or write beside its own index. By hand and not by git clone: no templates, hooks or branches.
    settings = (
        "core.sparseCheckout=false",
        "core.splitIndex=false",
        "core.fsmonitor=false",
        "checkout.workers=0",
    )
    repository.git(
        *(word for setting in settings for word in ("-c", setting)),
        f"--git-dir={repository.git_directory}",
        f"--work-tree={target}",
        "read-tree",
        "--reset",
        "-u",
        commit,
        GIT_INDEX_FILE=str(target / ".git" / "index"),
    )
    _add_submodules(repository, commit, target)


def _make_git_directory(repository: Repository, commit: str, directory: Path) -> None:
    """Makes a repository by hand; see https://git-scm.com/docs/gitrepository-layout."""
    (directory / "objects" / "info").mkdir(parents=True)
    (directory / "refs").mkdir()
    sha256 = len(commit) == 64
    config = f"[core]\n\trepositoryFormatVersion = {int(sha256)}\n\tbare = false\n"
    config += "[extensions]\n\tobjectFormat = sha256\n" if sha256 else ""
    (directory / "config").write_text(config)
    (directory / "objects" / "info" / "alternates").write_text(
        f"{repository.common_directory / 'objects'}\n", errors="surrogateescape"
    )
    shallow = repository.common_directory / "shallow"
    if shallow.exists():
        shutil.copyfile(shallow, directory / "shallow")
    (directory / "HEAD").write_text(f"{commit}\n")


def _add_submodules(repository: Repository, commit: str, target: Path) -> None:
    """Fills the folders of submodules that are empty in a copy.

    Those that the user has not fetched stay empty, as in the user's own tree, and are looked for again
    when the copy is used again.
    """
    missing = []
    for path, inner_commit in submodules(repository, commit):
        place = target / path
        if (place / ".git").exists():
            continue
        source = repository.root / path
        inner = find_repository(source) if (source / ".git").exists() else None
        if inner is None:
            missing.append(path)
            continue
        try:
            inner.keep(inner_commit)
        except GitError as error:
            raise MlxpyError(
                f"the submodule {path} of {repository.root} lacks its commit {inner_commit[:12]}: run "
                "git submodule update --init"
            ) from error
        temporary = temporary_path(target / ".git" / "submodule")
        _check_out(inner, inner_commit, temporary)
        temporary.rename(place)
    note = target / ".git" / _INCOMPLETE
    if missing:
        write_whole(note, "".join(f"{path}\n" for path in missing))
    else:
        note.unlink(missing_ok=True)


def submodules(repository: Repository, commit: str) -> Iterator[tuple[str, str]]:
    """Gives the submodules of a commit: their paths and the commits that belong to them."""
    for entry in repository.git("ls-tree", "-r", "-z", commit).split("\0"):
        if entry.startswith(SUBMODULE):
            description, path = entry.split("\t", 1)
            yield path, re.split(" +", description)[2]


def written_into(copy: Path) -> list[str]:
    """Lists the files of a copy that are not its commit's: a program that runs there may leave results.

    Raises:
        MlxpyError: git cannot look.
    """
    repository = find_repository(copy)
    if repository is None or repository.root != copy.resolve():
        return [".git"]
    # What git ignores may be results, too. Links were put there for the program.
    others = repository.git("ls-files", "-z", "--others").split("\0")[:-1]
    found = [path for path in others if "__pycache__" not in path and not (copy / path).is_symlink()]
    # Of a submodule git does not say here what that ignores.
    filled = (path for path, _ in submodules(repository, "HEAD") if (copy / path / ".git").exists())
    inside = [f"{path}/{name}" for path in filled for name in written_into(copy / path)]
    return [*(change.path for change in repository.work_tree().changes), *found, *inside]
