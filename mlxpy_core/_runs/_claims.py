"""Claims: of the processes that want something at once, one gets it.

A claim is a directory that appears together with a note of its process, by a rename that fails where
there is one already. One that a dead process has left stays: what is removed, two processes could take
for free.
"""

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlxpy_core._io._files import write_unsynced
from mlxpy_core._io._yaml import dump_yaml, read_fields

from ._process import describe_living_process

Judge = Callable[[Path, dict[str, Any]], bool]
"""Is called with a claim that is there and its holder: returns whether that is lost, and the next one
may be made; False to look again. Raises what the process is told that does not get it."""


@contextmanager
def prepared_claim(folder: Path, within: Path) -> Iterator[Path]:
    """Yields a directory that `take_claim` makes a claim; it is removed if that fails.

    Args:
        folder: where the claims lie.
        within: the directory that the user has named, see `mlxpy_core._io._links`.

    Raises:
        OSError: the file system refused.
    """
    mine = folder / f".claim-{secrets.token_hex(8)}"
    try:
        write_unsynced(mine / "process.yaml", dump_yaml(describe_living_process()), within)
        yield mine
    except BaseException:
        shutil.rmtree(mine, ignore_errors=True)
        raise


def take_claim(mine: Path, name: str, is_lost: Judge) -> Path:
    """Makes a prepared directory the claim of a name, and returns where it lies then.

    Args:
        mine: what was prepared.
        name: what is claimed.
        is_lost: judges claims that are there.

    Raises:
        OSError: the file system refused.
    """
    turn = 1
    while True:
        place = mine.with_name(f"{name}.{turn}")
        try:
            os.rename(mine, place)
        except OSError:
            if not place.exists():
                raise
        else:
            return place
        if is_lost(place, read_fields(place / "process.yaml") or {}):
            turn += 1
