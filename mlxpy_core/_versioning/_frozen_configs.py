"""Copies of config directories, kept while jobs queue that will read them."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from mlxpy_core._errors import StorageError
from mlxpy_core._io._files import fsync_path
from mlxpy_core._runs._directory import make_results_directory

_SUFFIXES = (".yaml", ".yml")


def frozen_configs(directory: Path, parent_log_dir: Path, *, copy: bool = True) -> Path:
    """Gives a copy of the config files below a directory; the same files have the same copy.

    Only YAML files are copied, which is all that Hydra reads. Directories that are hidden or hold runs
    are no configs.

    Args:
        directory: the config directory.
        parent_log_dir: the directory of all runs; the copy lies in its ``.configs/<hash>``.
        copy: whether to make the copy; otherwise only to tell where it would be.

    Raises:
        StorageError: a file cannot be read or written.
    """
    try:
        files = {
            path.relative_to(directory): path.read_bytes()
            for path in _config_files(directory, parent_log_dir)
        }
        digest = hashlib.sha256()
        for name, content in sorted(files.items()):
            # The lengths keep one file's end apart from the next one's start.
            digest.update(f"{name}\0{len(content)}\0".encode(errors="surrogateescape") + content)
        frozen = parent_log_dir / ".configs" / digest.hexdigest()[:16]
        if copy and not frozen.is_dir():
            make_results_directory(parent_log_dir)
            _write(files, frozen)
        return frozen
    except OSError as error:
        raise StorageError(f"cannot keep a copy of the configs in {directory}", error) from error


def _config_files(directory: Path, parent_log_dir: Path) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(directory, followlinks=True):
        here = Path(folder)
        subfolders[:] = [name for name in subfolders if _holds_configs(here, name, parent_log_dir)]
        yield from (here / name for name in names if name.endswith(_SUFFIXES))


def _holds_configs(here: Path, name: str, parent_log_dir: Path) -> bool:
    folder = here / name
    if name.startswith(".") or folder == parent_log_dir or (folder / ".hydra").exists():
        return False
    # A link upwards would be followed for ever.
    return not (folder.is_symlink() and here.resolve().is_relative_to(folder.resolve()))


def _write(files: dict[Path, bytes], frozen: Path) -> None:
    temporary = frozen.with_name(f".tmp-{uuid.uuid4().hex}")
    try:
        temporary.mkdir(parents=True)
        for name, content in files.items():
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            fsync_path(path)
        temporary.rename(frozen)
    except OSError:
        if not frozen.is_dir():  # made by another process meanwhile
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
