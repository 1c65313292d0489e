"""Tells what in a working tree is no code but was left by running it."""

from pathlib import Path, PurePosixPath

from mlxpy_core._directories import is_run_name

_LEFT_BY_PYTHON = "__pycache__"
_LEFT_BY_HYDRA = (".hydra", "multirun.yaml")


def is_result(root: Path, path: str) -> bool:
    """Tells whether a file was written by a run, by Hydra or by Python.

    Directories of results that mlxpy makes are ignored by git anyway; this is for those of MLXP and of
    Hydra, and for repositories that ignore nothing.

    Args:
        root: the top of the working tree.
        path: the file's path below it.
    """
    parts = PurePosixPath(path)
    if _LEFT_BY_PYTHON in parts.parts or any(name in parts.parts for name in _LEFT_BY_HYDRA):
        return True
    folders = [root / folder for folder in parts.parents if folder.name]
    return any(
        any((folder / name).exists() for name in _LEFT_BY_HYDRA)
        or (is_run_name(folder.name) and (folder / "metadata" / "info.yaml").exists())
        for folder in folders
    )
