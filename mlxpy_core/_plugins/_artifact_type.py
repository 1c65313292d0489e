"""A type of artifacts, built in or of a plugin."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Save = Callable[[Any, Path], None]
Load = Callable[[Path], Any]


@dataclass(frozen=True)
class ArtifactType:
    """How one kind of object becomes a file and comes back; a plugin may return such types.

    Attributes:
        name: the type's name; also the folder below ``artifacts/``.
        save: called as ``save(obj, path)``; writes one file at `path`.
        load: called as ``load(path)``; returns the object.
        suffix: what is added to an artifact's name that does not end in it.
    """

    name: str
    save: Save
    load: Load
    suffix: str = ""
