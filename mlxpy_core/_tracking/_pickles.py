"""Pickles: ours are made by cloudpickle, those of MLXP by dill."""

import pickle
from typing import Any, BinaryIO

from mlxpy_core._errors import MlxpyError


def load_next_pickle(file: BinaryIO) -> Any:
    """Loads the pickle at which a file stands. This runs code that the file names.

    Raises:
        MlxpyError: it was made by dill, which is not installed.
        Exception: what its classes and functions raise; `pickle.UnpicklingError` or `EOFError` where
            there is none.
    """
    start = file.tell()
    try:
        return pickle.load(file)
    except (ImportError, AttributeError) as error:
        file.seek(start)
        if b"dill" not in file.read():
            raise
        try:
            import dill
        except ImportError:
            raise MlxpyError(
                f"{file.name} was pickled by dill, as MLXP does: install dill to load it"
            ) from error
        file.seek(start)
        return dill.load(file)
