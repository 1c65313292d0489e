"""Classes that settings name by dotted path, ``package.module.Class``."""

import importlib

from mlxpy_core._errors import MlxpyError


def load_class(path: str, base: type, what: str, hint: str) -> type:
    """Imports the class that a dotted path names.

    Args:
        path: the dotted path.
        base: what the class must be a subclass of; its users know it as ``mlxpy.<its name>``.
        what: what it is to be, such as ``scheduler``, for the error message.
        hint: what may be given instead, for the error message.

    Raises:
        MlxpyError: there is none, importing it fails, or it is no subclass of `base`.
    """
    module, _, name = path.rpartition(".")
    if not module:
        raise MlxpyError(f"no {what} {path!r}: {hint}")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise MlxpyError(f"no {what} {path!r} ({error}): {hint}") from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise MlxpyError(f"the {what} {path!r} is {found!r}, no subclass of mlxpy.{base.__name__}")
    return found
