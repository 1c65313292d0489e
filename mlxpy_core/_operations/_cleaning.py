"""Finds what no run needs: copies of code, frozen configs, directories of arrays and of no runs."""

import contextlib
import os
import re
import shutil
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlxpy_core._errors import StorageError
from mlxpy_core._io._files import read_bytes
from mlxpy_core._io._links import held_folder, opened_folder
from mlxpy_core._io._owners import foreign_owner
from mlxpy_core._io._temporary import temporary_path
from mlxpy_core._runs._directory import RunDirectory, is_run_name
from mlxpy_core._runs._info_file import info_path, read_info
from mlxpy_core._runs._status import is_final
from mlxpy_core._runs._trash import trash_of
from mlxpy_core._scheduling._submission_files import ARRAY_NAME, SCRIPT_NAME
from mlxpy_core._versioning._copy import written_into
from mlxpy_core._versioning._repository import keeps_commit

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_CLAIM = re.compile(r"\.?claim-.*")
_FROZEN = re.compile(r"\.configs/(\w+)")
# A younger directory may be on its way to become a run, or to be used by one.
_SETTLED_S = 3600


@dataclass
class Leftovers:
    """What can be removed.

    Attributes:
        copies: copies of commits that can be made again and hold nothing else, and whose runs have all
            ended.
        configs: frozen configs that no run's script names.
        arrays: directories of arrays, which hold links to the output of runs that have all ended.
        empty: directories of runs that never began: they hold nothing, or who claimed them.
        kept: why others are kept, a sentence each.
        used: when copies and configs were asked for last, as it was seen.
    """

    copies: list[Path] = field(default_factory=list)
    configs: list[Path] = field(default_factory=list)
    arrays: list[Path] = field(default_factory=list)
    empty: list[Path] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    used: dict[Path, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.copies or self.configs or self.arrays or self.empty)


def find_leftovers(logs: Path) -> Leftovers:
    """Looks at all runs of a directory, which have been reconciled; those in the trash are runs, too.

    Raises:
        StorageError: the directory cannot be read.
    """
    try:
        runs = [RunDirectory(logs / name) for name in os.listdir(logs) if is_run_name(name)]
    except OSError as error:
        raise StorageError(f"cannot read the runs in {logs}", error) from error
    found = Leftovers()
    removed = runs_in_trash(logs)
    found.empty = sorted(run.path for run in runs if _never_began(run.path))
    found.arrays = [path for run in runs for path in _arrays(run) if _is_over(path)]
    add_copies(found, runs, removed)
    _add_configs(found, logs, [*runs, *removed])
    for path in (*found.copies, *found.configs, *found.empty):
        with contextlib.suppress(OSError):
            found.used[path] = path.stat().st_mtime_ns
    return found


def runs_in_trash(logs: Path) -> list[RunDirectory]:
    """Lists the runs that were removed, and can be restored."""
    try:
        names = os.listdir(trash_of(logs))
    except OSError:
        return []
    return [RunDirectory(trash_of(logs) / name) for name in sorted(names) if is_run_name(name)]


def remove(leftovers: Leftovers) -> int:
    """Removes what was found, but for what somebody has asked for since; returns how many.

    Raises:
        StorageError: the file system refused.
    """
    removed = 0
    # Copies lie where their owner has chosen; the others are found below the directory of runs.
    within = {path: path.parent for path in leftovers.copies}
    within |= {path: path.parent.parent for path in (*leftovers.configs, *leftovers.arrays)}
    within |= {path: path.parent for path in leftovers.empty}
    for path, named in within.items():
        try:
            with held_folder(path.parent, named) as folder:
                removed += _remove(folder / path.name, leftovers.used.get(path))
        except OSError as error:  # noqa: PERF203  # it names the one
            raise StorageError(f"cannot remove {path}", error) from error
    return removed


def _remove(path: Path, used: int | None) -> bool:
    """Removes what was asked for last at a time, unless that has changed; returns whether it did."""
    # Under another name first: half a copy must not be taken for a whole one.
    doomed = temporary_path(path)
    path.rename(doomed)
    # Whoever asks for a copy gives it a new time of change, or makes it again.
    unused = used in (None, doomed.stat().st_mtime_ns)
    if not unused:
        with contextlib.suppress(OSError):  # made again meanwhile
            doomed.rename(path)
    if doomed.exists():
        shutil.rmtree(doomed)
    return unused


def _add_configs(found: Leftovers, logs: Path, runs: Iterable[RunDirectory]) -> None:
    folder = logs / ".configs"
    try:
        with opened_folder(folder, logs):
            # A link there is nobody's copy.
            frozen = (path for path in folder.glob("*") if path.is_dir() and not path.is_symlink())
            configs = sorted(frozen)
    except FileNotFoundError:
        return
    except OSError as error:
        found.kept.append(f"frozen configs are kept: {error.strerror}")
        return
    try:
        named = {name for run in runs for name in _named_configs(run)} if configs else set()
    except OSError as error:
        found.kept.append(
            f"frozen configs are kept, since {error.filename} cannot be read and may name one "
            f"({error.strerror})"
        )
        return
    found.configs += [path for path in configs if path.name not in named and _age_s(path) > _SETTLED_S]


def add_copies(
    found: Leftovers, runs: Iterable[RunDirectory], removed: Collection[RunDirectory]
) -> None:
    """Finds copies of code that runs name, and no run needs.

    Args:
        found: is added to.
        runs: the runs.
        removed: those in the trash, which need theirs until it is emptied.
    """
    needed: dict[str, str] = {}
    versions: dict[str, tuple[Path, str]] = {}
    for run in (*removed, *runs):
        info = read_info(run)
        copy = named_copy(info or {})
        if not info or copy is None:
            continue
        version = info["version_manager"]
        if run in removed:
            needed[copy] = "in use by a run in the trash"
        elif not is_final(info):
            needed[copy] = "in use"
        if foreign_owner(run.path, run.metadata, info_path(run.path)) is None:  # theirs may name any
            versions[copy] = (Path(str(version.get("repo_path"))), str(version.get("commit_hash")))
    for copy, (repository, commit) in sorted(versions.items()):
        path = Path(copy)
        # What a run says is its copy is one only where a copy would be.
        if not _COMMIT.fullmatch(commit) or path.name != commit or not (path / ".git").is_dir():
            continue
        if copy in needed:
            found.kept.append(f"{copy} is {needed[copy]}")
        elif not (repository.is_dir() and keeps_commit(repository, commit)):
            found.kept.append(f"{copy} is all that is left of commit {commit[:12]}")
        elif written := written_into(path):
            more = f" and {len(written) - 1} more" if len(written) > 1 else ""
            found.kept.append(f"{copy} holds what its commit does not: {written[0]}{more}")
        else:
            found.copies.append(path)


def named_copy(info: Mapping[str, Any]) -> str | None:
    """Returns the copy of code that a run says it ran from."""
    version = info.get("version_manager")
    copy = version.get("safe_copy") if isinstance(version, dict) else None
    return str(copy) if copy else None


def _named_configs(run: RunDirectory) -> list[str]:
    """Lists the frozen configs that the scripts of a run name, or what it is submitted again by.

    Raises:
        OSError: one of these files is there and cannot be read; it says which.
    """
    try:
        with os.scandir(run.path) as entries:
            arrays = [entry.name for entry in entries if ARRAY_NAME.fullmatch(entry.name)]
    except NotADirectoryError:
        return []
    scripts = [run.path / "script.sh", *(run.path / name / "script.sh" for name in arrays)]
    recorded = [run.job_note, info_path(run.path)]
    return [name for path in (*scripts, *recorded) for name in _FROZEN.findall(_text(path))]


def _text(path: Path) -> str:
    """Reads a file that may not be there; one that is no file is an error, and not waited for."""
    try:
        return read_bytes(path).decode(errors="replace")
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _arrays(run: RunDirectory) -> list[Path]:
    try:
        with os.scandir(run.path) as entries:
            return [
                Path(entry.path)
                for entry in entries
                if ARRAY_NAME.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
            ]
    except OSError:
        return []


def holds_array_of_others(run: RunDirectory) -> bool:
    """Returns whether a run's directory holds the script of an array whose runs have not all ended."""
    return any(not _is_over(array) for array in _arrays(run))


def _is_over(array: Path) -> bool:
    """Tells whether there is nothing but the script and links to files of runs that have ended."""
    # Each submission makes another one. Where a scheduler writes words of its own there, they stay.
    try:
        links = [path for path in array.iterdir() if not SCRIPT_NAME.fullmatch(path.name)]
    except OSError:  # another user's
        return False
    if not links or not all(path.is_symlink() for path in links):
        return False
    names = {path.readlink().parent.name for path in links}
    runs = [RunDirectory(array.parent.parent / name) for name in names if is_run_name(name)]
    infos = [read_info(run) for run in runs if run.path.exists()]
    return all(info is not None and is_final(info) for info in infos)


def _never_began(path: Path) -> bool:
    try:
        names = os.listdir(path)
        if names == [".keys"]:  # who made it was killed before info.yaml was there
            names = [name for name in os.listdir(path / ".keys") if not _CLAIM.fullmatch(name)]
        return not names and _age_s(path) > _SETTLED_S
    except OSError:
        return False


def _age_s(path: Path) -> float:
    return time.time() - path.stat().st_mtime
