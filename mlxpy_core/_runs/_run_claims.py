"""Claims of runs: of the processes that would start, submit or change one at once, one does."""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlxpy_core._errors import MlxpyError, StorageError
from mlxpy_core._io._retries import Retries

from ._claims import prepared_claim, take_claim
from ._directory import RunDirectory
from ._info_file import read_info_to_continue
from ._process import died_here, lives_here

# A claim is held from the look at info.yaml until the attempt stands there. One that a dead process of
# another host has left is passed over after this time.
_CLAIM_S = 60.0
_LOOK_S = 0.02


@dataclass(frozen=True)
class RunClaim:
    """The right to write an attempt at a run, its submission or the like, until `release`.

    Attributes:
        info: what info.yaml holds of the earlier attempts; empty for a new run.
        place: the directory that is the claim.
        since_ns: when it was made, by the clock of the file system, in nanoseconds since 1970.
    """

    info: dict[str, Any]
    place: Path
    since_ns: int

    def release(self) -> None:
        """Releases the claim: the attempt stands in info.yaml, or will not be made."""
        shutil.rmtree(self.place, ignore_errors=True)


def claim_attempt(directory: RunDirectory) -> RunClaim:
    """Claims the next attempt at a run: of processes that ask at once, one gets it.

    Raises:
        MlxpyError: another process starts the run at this moment, or its info.yaml is damaged.
        StorageError: the file system refused.
    """
    attempt = _next_attempt(read_info_to_continue(directory))
    claim = _claim(directory, f"claim-{attempt}", _started_elsewhere)
    if _next_attempt(claim.info) != attempt:
        claim.release()
        raise _started_elsewhere(directory, {})
    return claim


def _next_attempt(info: Mapping[str, Any]) -> int:
    return len(info.get("attempts", [])) + 1


def claim_operation(directory: RunDirectory, operation: str, *, patient: bool = False) -> RunClaim:
    """Claims an operation on a run, such as its submission: of processes that ask at once, one gets it.

    What the run's info.yaml says is to be looked at once more: it may have been done before.

    Args:
        directory: the run's directory.
        operation: its name, a noun.
        patient: whether to wait for one that does it at this moment.

    Raises:
        MlxpyError: another process does it at this moment, or the run's info.yaml is damaged.
        StorageError: the file system refused.
    """
    return _claim(directory, f"claim-{operation}", _taken_elsewhere, patient=patient)


_Refusal = Callable[[RunDirectory, Mapping[str, Any]], MlxpyError]


def _claim(directory: RunDirectory, name: str, refusal: _Refusal, *, patient: bool = False) -> RunClaim:
    try:
        place, since_ns = Retries()(lambda: _prepare_and_take(directory, name, refusal, patient=patient))
    except OSError as error:
        raise StorageError(f"cannot start a run in {directory.path}", error) from error
    return RunClaim(read_info_to_continue(directory), place, since_ns)


def _prepare_and_take(
    directory: RunDirectory, name: str, refusal: _Refusal, *, patient: bool
) -> tuple[Path, int]:
    end = time.monotonic() + _CLAIM_S

    def is_lost(place: Path, holder: dict[str, Any]) -> bool:
        if died_here(holder) or _age_s(place) > _CLAIM_S:
            return True
        if (lives_here(holder) and not patient) or time.monotonic() > end:
            raise refusal(directory, holder)
        time.sleep(_LOOK_S)  # of another host: it starts the run, or has died in between
        return False

    with prepared_claim(directory.state, directory.logs) as mine:
        since_ns = mine.stat().st_mtime_ns
        return take_claim(mine, name, is_lost), since_ns


def _age_s(place: Path) -> float:
    try:
        return time.time() - place.stat().st_mtime
    except OSError:
        return 0


def _started_elsewhere(directory: RunDirectory, holder: Mapping[str, Any]) -> MlxpyError:
    return MlxpyError(
        f"run {directory.log_id} in {directory.path.parent} was started by {_named(holder)} at this "
        "moment: wait for its end or stop it before continuing it"
    )


def _taken_elsewhere(directory: RunDirectory, holder: Mapping[str, Any]) -> MlxpyError:
    return MlxpyError(f"run {directory.log_id} has just been taken by {_named(holder)}")


def _named(process: Mapping[str, Any]) -> str:
    return f"process {process['process_id']} on {process['host']}" if process else "another process"
