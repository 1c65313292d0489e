"""Checkpoints: pickles that remember how far each metrics file had got.

A checkpoint file holds two pickles one after the other: the user's object, which ``pickle.load``
returns to anybody, and the mark of the moment. One file, so that they can never disagree.
"""

import os
import pickle
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from mlxpy_core._errors import MlxpyError, StorageError

from ._history import Positions
from ._pickles import load_next_pickle

TYPE_NAME = "Checkpoint"
SUFFIX = ".pkl"


@dataclass(frozen=True)
class Mark:
    """The moment of a checkpoint.

    Attributes:
        attempt: the attempt of the run that wrote it, from 1.
        time: when that was, in seconds since 1970.
        positions: length in bytes of each metrics file, by rank and log name.
    """

    attempt: int
    time: float
    positions: dict[int, Positions]


def write_checkpoint(obj: Any, mark: Mark, file: BinaryIO, newest: Path | None) -> None:
    """Writes the two pickles to a new file, later in time than the file `newest`."""
    import cloudpickle

    cloudpickle.dump(obj, file)
    pickle.dump(asdict(mark), file)
    file.flush()
    # Clocks of two hosts, or two writes of one tick, must not hide which checkpoint came last.
    after = newest.stat().st_mtime_ns + 1000 if newest else 0
    now = max(time.time_ns(), after)
    os.utime(file.fileno(), ns=(now, now))


def read_checkpoint(path: Path) -> tuple[Any, Mark | None]:
    """Reads a checkpoint; the mark is None in a plain pickle that something else put there.

    Raises:
        MlxpyError: the file does not hold a whole pickle, or its classes are not to be found.
        StorageError: the file system refused.
    """
    try:
        with open(path, "rb") as file:
            obj = load_next_pickle(file)
            try:
                mark = Mark(**pickle.load(file))
            except (EOFError, TypeError, pickle.UnpicklingError):
                mark = None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StorageError(f"cannot read the checkpoint {path}", error) from error
    except (EOFError, pickle.UnpicklingError, ImportError, AttributeError) as error:
        raise MlxpyError(f"cannot load the checkpoint {path}: {error}") from error
    return obj, mark


def checkpoints_of_rank(folder: Path, rank: int) -> Path:
    """Returns the folder of the checkpoints that one rank wrote, below that of all."""
    return folder / ".ranks" / str(rank) if rank else folder


def newest_checkpoint(folder: Path) -> Path | None:
    """Finds the checkpoint that was written last below `folder`; other ranks' are below hidden ones."""
    files = [
        path
        for path in folder.rglob(f"*{SUFFIX}")
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    return max(files, key=lambda path: path.stat().st_mtime_ns, default=None)


def find_checkpoint(root: Path, name: str | None) -> Path:
    """Finds a checkpoint below a directory that somebody named: of a run, or of checkpoints.

    Args:
        root: the directory.
        name: the checkpoint's name; None for the one that was written last.

    Raises:
        FileNotFoundError: there is none (of this name).
    """
    # Where MLXP has them, in artifacts/pickle, none of ours are.
    folders = (root, root / TYPE_NAME, root / "artifacts" / TYPE_NAME, root.parent / TYPE_NAME)
    if name is None:
        found = newest_checkpoint(next((one for one in folders[1:] if one.is_dir()), root))
    else:
        plain = name.removeprefix("pickle/")
        paths = (folder / file for folder in folders for file in (name, plain, plain + SUFFIX))
        found = next(filter(Path.is_file, paths), None)
        found = found or checkpoint_of_mlxp(root / "artifacts", plain)
    if found is None:
        raise FileNotFoundError(f"no checkpoint{f' {name!r}' if name else ''} in {root}")
    return found


def checkpoint_of_mlxp(artifacts: Path, name: str) -> Path | None:
    """Finds a checkpoint among the artifacts of a run of MLXP's, where it is a pickle."""
    path = artifacts / "pickle" / name
    return path if (artifacts / ".keys").is_dir() and path.is_file() else None
