"""The claim of a study: of the processes that search at once, one asks and writes."""

import contextlib
import os
import secrets
import shutil
import time
from pathlib import Path
from typing import Any

import yaml

from mlxpy_core._errors import MlxpyError, StorageError
from mlxpy_core._io._files import read_text, write_unsynced
from mlxpy_core._io._yaml import dump_yaml, load_yaml
from mlxpy_core._runs._process import describe_living_process, died_here, lives_here

# A holder on another host shows that it lives by renewing its claim.
_RENEWED_EVERY_S = 30.0
_STALE_S = 600.0


class StudyClaim:
    """The right to write a study, a directory ``claim.<n>`` in the study's, until `release`.

    It appears together with a note of its process, by a rename that fails where there is one already.
    One that a dead process has left stays: what is removed, two processes could take for free.

    Args:
        study: the study's directory, which exists.

    Raises:
        MlxpyError: another process has it.
        StorageError: the file system refused.
    """

    def __init__(self, study: Path) -> None:
        mine = study / f".claim-{secrets.token_hex(8)}"
        try:
            write_unsynced(mine / "process.yaml", dump_yaml(describe_living_process()), study)
            self._place = _take(mine)
        except OSError as error:
            shutil.rmtree(mine, ignore_errors=True)
            raise StorageError(f"cannot claim the study in {study}", error) from error
        except MlxpyError:
            shutil.rmtree(mine, ignore_errors=True)
            raise
        self._renewed = time.monotonic()

    def renew(self) -> None:
        """Shows processes on other hosts that this one lives."""
        if time.monotonic() - self._renewed > _RENEWED_EVERY_S:
            self._renewed = time.monotonic()
            with contextlib.suppress(OSError):
                os.utime(self._place)

    def release(self) -> None:
        """Releases the claim."""
        shutil.rmtree(self._place, ignore_errors=True)


def _take(mine: Path) -> Path:
    """Makes a prepared directory the claim; those that dead processes have left are passed over."""
    now = mine.stat().st_mtime  # by the clock of the file system
    turn = 1
    while True:
        place = mine.with_name(f"claim.{turn}")
        try:
            os.rename(mine, place)
        except OSError:
            if not place.exists():
                raise
        else:
            return place
        holder = _holder(place)
        if died_here(holder) or (not lives_here(holder) and now - _renewed(place) > _STALE_S):
            turn += 1
            continue
        raise MlxpyError(
            f"the study {mine.parent.name} is under way in process {holder.get('process_id')} on "
            f"{holder.get('host')}: wait for its end, or give this one another name by "
            "hydra.sweeper.study=NAME"
        )


def _holder(place: Path) -> dict[str, Any]:
    try:
        holder = load_yaml(read_text(place / "process.yaml"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _renewed(place: Path) -> float:
    try:
        return place.stat().st_mtime
    except OSError:
        return 0
