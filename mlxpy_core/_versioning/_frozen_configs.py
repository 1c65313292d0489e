"""Copies of config directories, kept while jobs queue that will read them."""

import hashlib
import itertools
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from mlxpy_core._errors import StorageError
from mlxpy_core._io._files import do_at_once, fsync_path, read_bytes
from mlxpy_core._io._links import make_folder
from mlxpy_core._io._owners import foreign_owner
from mlxpy_core._io._temporary import temporary_path
from mlxpy_core._runs._directory import make_results_directory

from ._last_use import mark_used

# Hydra reads the second one with a `version_base` below 1.2 only.
_SUFFIXES = (".yaml", ".yml")


def frozen_configs(directory: Path, parent_log_dir: Path, *, copy: bool = True) -> Path:
    """Gives a copy of the config files below a directory; the same files have the same copy.

    Only YAML files are copied, which is all that Hydra reads. Directories that are hidden or hold runs
    are no configs. The copy is whole on the disk before it has its name, and its time of change says
    when it was asked for last: `mlxpy clean` leaves alone what was asked for a short time ago.

    Args:
        directory: the config directory.
        parent_log_dir: the directory of all runs; the copy lies in its ``.configs/<hash>``.
        copy: whether to make the copy; otherwise only to tell where it would be.

    Raises:
        StorageError: a file cannot be read or written.
    """
    try:
        files = {
            os.path.relpath(path, directory): read_bytes(path)
            for path in _config_files(directory, parent_log_dir)
        }
        digest = hashlib.sha256()
        for name, content in sorted(files.items()):
            # The lengths keep one file's end apart from the next one's start.
            digest.update(f"{name}\0{len(content)}\0".encode(errors="surrogateescape") + content)
        shared = parent_log_dir / ".configs" / digest.hexdigest()[:16]
        frozen = next(
            place for place in _places(shared) if not os.path.lexists(place) or _holds(place, files)
        )
        if copy and not mark_used(frozen):
            make_results_directory(parent_log_dir)
            make_folder(frozen.parent, parent_log_dir)
            _write(files, frozen)
        return frozen
    except OSError as error:
        raise StorageError(f"cannot keep a copy of the configs in {directory}", error) from error


def _config_files(directory: Path, parent_log_dir: Path) -> Iterator[str]:
    for folder, subfolders, names in os.walk(directory, followlinks=True):
        here = Path(folder)
        subfolders[:] = [name for name in subfolders if _holds_configs(here, name, parent_log_dir)]
        paths = (f"{folder}/{name}" for name in names if name.endswith(_SUFFIXES))
        # No pipes, and no links to nowhere, as an editor's lock is.
        yield from (path for path in paths if os.path.isfile(path))


def _holds_configs(here: Path, name: str, parent_log_dir: Path) -> bool:
    folder = here / name
    if name.startswith(".") or folder == parent_log_dir or (folder / ".hydra").exists():
        return False
    # A link upwards would be followed for ever.
    return not (folder.is_symlink() and here.resolve().is_relative_to(folder.resolve()))


def _places(shared: Path) -> Iterator[Path]:
    """Lists where a copy may be: beside the usual place where that has something else."""
    yield shared
    for number in itertools.count(1):
        yield shared.with_name(f"{shared.name}_{os.getuid()}" + (f"_{number}" if number > 1 else ""))


def _holds(place: Path, files: Mapping[str, bytes]) -> bool:
    """Tells whether a directory is one's own copy of some files; another's may change at any time."""
    found = {}
    for folder, subfolders, names in os.walk(place):
        paths = [f"{folder}/{name}" for name in (*subfolders, *names)]
        if foreign_owner(folder, *paths) is not None or any(map(os.path.islink, paths)):
            return False
        found.update({os.path.relpath(f"{folder}/{name}", place): f"{folder}/{name}" for name in names})
    return found.keys() == files.keys() and all(
        read_bytes(found[name]) == content for name, content in files.items()
    )


def _write(files: dict[str, bytes], frozen: Path) -> None:
    temporary = temporary_path(frozen)
    try:
        folders = {temporary, *(path.parent for path in (temporary / name for name in files))}
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            with open(temporary / name, "xb") as file:
                file.write(content)
        inner = {parent for folder in folders for parent in (folder, *folder.parents)}
        inner = {folder for folder in inner if folder.is_relative_to(temporary)}
        # One fsync after the other waits for the disk each time; those at once are written together.
        do_at_once(fsync_path, [*(temporary / name for name in files), *inner])
        temporary.rename(frozen)
        fsync_path(frozen.parent)
    except OSError:
        if not _holds(frozen, files):  # made by another process meanwhile
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
