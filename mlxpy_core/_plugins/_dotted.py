"""What settings name by dotted path, ``package.module.Class``."""

import importlib

from mlxpy_core._errors import MlxpyError


def load_dotted(path: str, what: str, hint: str) -> object:
    """Imports what a dotted path names.

    Args:
        path: the dotted path.
        what: what it is to be, such as ``scheduler``, for the error message.
        hint: what may be given instead, for the error message.

    Raises:
        MlxpyError: there is no such thing, or importing it fails.
    """
    module, _, name = path.rpartition(".")
    if not module:
        raise MlxpyError(f"no {what} {path!r}: {hint}")
    try:
        found: object = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise MlxpyError(f"no {what} {path!r} ({error}): {hint}") from error
    return found


def load_class(path: str, base: type, what: str, hint: str) -> type:
    """Imports a class that a dotted path names, see `load_dotted`.

    Args:
        path: the dotted path.
        base: what it must be a subclass of; users know it as ``mlxpy.<its name>``.
        what: what it is to be.
        hint: what may be given instead.

    Raises:
        MlxpyError: there is none, importing it fails, or it is no subclass of `base`.
    """
    found = load_dotted(path, what, hint)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise MlxpyError(f"the {what} {path!r} is no subclass of mlxpy.{base.__name__}: {hint}")
    return found
