"""The claim of a study: of the processes that search at once, one asks and writes."""

import contextlib
import os
import shutil
import time
from pathlib import Path
from typing import Any

from mlxpy_core._errors import MlxpyError, StorageError
from mlxpy_core._runs._claims import prepared_claim, take_claim
from mlxpy_core._runs._process import died_here, lives_here

from ._study_directory import StudyDirectory

# A holder on another host shows that it lives by renewing its claim.
_RENEWED_EVERY_S = 30.0
_STALE_S = 600.0


class StudyClaim:
    """The right to write a study, a directory ``claim.<n>`` in the study's, until `close`.

    Args:
        study: the study's directory, which is held open.

    Raises:
        MlxpyError: another process has it.
        StorageError: the file system refused.
    """

    def __init__(self, study: StudyDirectory) -> None:
        self._name = study.name
        try:
            with prepared_claim(study.path, study.path) as mine:
                self._made = mine.stat().st_mtime  # by the clock of the file system
                self._place = take_claim(mine, "claim", self._is_lost)
        except OSError as error:
            raise StorageError(f"cannot claim the study in {study.path.resolve()}", error) from error
        self._renewed = time.monotonic()

    def renew(self) -> None:
        """Shows processes on other hosts that this one lives."""
        if time.monotonic() - self._renewed > _RENEWED_EVERY_S:
            self._renewed = time.monotonic()
            with contextlib.suppress(OSError):
                os.utime(self._place)

    def close(self) -> None:
        """Releases the claim."""
        shutil.rmtree(self._place, ignore_errors=True)

    def _is_lost(self, place: Path, holder: dict[str, Any]) -> bool:
        if died_here(holder) or (not lives_here(holder) and self._made - _renewed(place) > _STALE_S):
            return True
        raise MlxpyError(
            f"the study {self._name} is under way in process {holder.get('process_id')} on "
            f"{holder.get('host')}: wait for its end, or give this one another name by "
            "hydra.sweeper.study=NAME"
        )


def _renewed(place: Path) -> float:
    try:
        return place.stat().st_mtime
    except OSError:
        return 0
