"""The files of a run's artifacts."""

import os
from pathlib import Path


def list_artifacts(directory: str | Path) -> dict[str, dict[str, list[str]]]:
    """Lists the files below a run's ``artifacts`` directory: names by type and by folder in it.

    The folder is '' for artifacts whose names have none.
    """
    listed: dict[str, dict[str, list[str]]] = {}
    for folder, folders, names in os.walk(directory):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        shown = sorted(name for name in names if not name.startswith("."))
        parts = os.path.relpath(folder, directory).split(os.sep)
        if shown and parts != ["."]:
            listed.setdefault(parts[0], {})["/".join(parts[1:])] = shown
    return listed
