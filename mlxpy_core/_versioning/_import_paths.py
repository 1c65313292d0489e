"""Where the programs of a copy import from, found out while the development tree exists."""

import os
from collections.abc import Iterable, Iterator

from ._startup.sitecustomize import SafeCopy, moved


def import_paths(entries: Iterable[str], copy: SafeCopy) -> list[str]:
    """Lists the folders of a copy that stand for entries of ``sys.path``, to be its ``paths``.

    Path files (``.pth``) are read without their folders that do not exist any more, so a program whose
    development tree was deleted must be told them.
    """
    found = dict.fromkeys(place for entry in entries for place in _linked(entry) if moved(place, copy))
    return [str(moved(place, copy)) for place in found]


def _linked(entry: str) -> Iterator[str]:
    """Gives an entry; for a folder of links (setuptools, ``editable_mode=strict``), where these lead."""
    if not os.path.basename(entry).startswith("__editable__."):
        yield entry
        return
    for folder, _, files in os.walk(entry):
        for name in files:
            path = os.path.join(folder, name)
            inside, real = os.sep + os.path.relpath(path, entry), os.path.realpath(path)
            if os.path.islink(path) and real.endswith(inside):
                yield real.removesuffix(inside)
