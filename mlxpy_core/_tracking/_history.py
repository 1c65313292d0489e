"""One history over several attempts: rows that a resumed run will log again are moved aside.

Rows of earlier attempts that came after the checkpoint go to ``metrics/.aside/<attempt>/``; what
stays reads as if the run had never been interrupted.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from mlxpy_core._io._files import whole_stream
from mlxpy_core._runs._metrics_files import (
    cut_torn_line,
    files_with_subprocesses,
    metrics_of_rank,
    other_ranks,
)
from mlxpy_core._runs._subprocesses import is_written

Positions = dict[str, int]
"""Length in bytes of each metrics file by log name."""


def measure(metrics: Path) -> Positions:
    """Returns the length of each metrics file of a rank, its subprocesses' too."""
    return {name: path.stat().st_size for name, path in files_with_subprocesses(metrics).items()}


def measure_ranks(metrics: Path, rank: int) -> dict[int, Positions]:
    """Returns the lengths that a checkpoint of a rank remembers: rank 0's those of all ranks' files."""
    ranks = [rank] if rank else [0, *other_ranks(metrics)]
    return {one: measure(metrics_of_rank(metrics, one)) for one in ranks}


class History:
    """The metrics files of one rank of a run, and of its subprocesses, as one attempt sees them.

    Args:
        metrics: where they are.
        logs: the directory of all runs.
        attempt: the number of this attempt, from 1.
        contested: whether a process of an earlier attempt may still live somewhere; what it goes on to
            log is then lost, because its files are replaced by copies.
    """

    def __init__(self, metrics: Path, logs: Path, attempt: int, *, contested: bool = False) -> None:
        self._metrics = metrics
        self._logs = logs
        while os.path.exists(metrics / ".aside" / str(attempt)):
            attempt += 1  # other ranks than 0 can only guess which attempt this is
        self._aside = metrics / ".aside" / str(attempt)
        for path in files_with_subprocesses(metrics).values():
            if contested:
                self._replace(path, path.read_bytes())
            with open(path, "rb+") as file:
                cut_torn_line(file.fileno())
        # Bytes before this length were logged by earlier attempts.
        self._inherited = measure(metrics)
        self._kept: Positions | None = None

    @property
    def resumed(self) -> bool:
        """Whether this attempt has moved rows aside, or looked for such."""
        return self._kept is not None

    def move_to(self, metrics: Path, logs: Path) -> None:
        """Looks for the files in another directory from now on."""
        self._logs = logs
        self._aside = metrics / self._aside.relative_to(self._metrics)
        self._metrics = metrics

    def resume_at(self, positions: Mapping[str, int]) -> None:
        """Moves aside what earlier attempts logged after `positions`.

        Called again before a new row, for a checkpoint that is further on, it brings back the rows
        between the two. The metrics files must not be open for writing.
        """
        kept = dict(positions)
        if self._kept is not None:
            kept = {
                name: max(kept.get(name, 0), self._kept.get(name, 0)) for name in {*kept, *self._kept}
            }
            self._bring_back()
        self._kept = kept
        for name, inherited in self._inherited.items():
            keep = min(kept.get(name, 0), inherited)
            # A subprocess that lives would go on in what was replaced, and its rows be lost.
            if keep < inherited and not is_written(self._metrics / f"{name}.json"):
                self._move_aside(name, keep, inherited)

    def positions_of(self, step: float, key: str) -> Positions:
        """Returns where in each file the rows of earlier attempts begin that have this or a later step.

        Args:
            step: the step.
            key: the name under which rows hold their step; rows without it stay with those before them.
        """
        return {
            name: _length_before(self._metrics / f"{name}.json", inherited, step, key)
            for name, inherited in self._inherited.items()
        }

    def _move_aside(self, name: str, keep: int, inherited: int) -> None:
        path = self._metrics / f"{name}.json"
        content = path.read_bytes()
        # Copied before they are cut: a crash between the two leaves the history as it was.
        with whole_stream(self._aside / f"{name}.json", self._logs) as copy:
            copy.write(content[keep:inherited])
        self._replace(path, content[:keep] + content[inherited:])
        self._inherited[name] = keep

    def _bring_back(self) -> None:
        for name, copy in files_with_subprocesses(self._aside).items():
            path = self._metrics / f"{name}.json"
            content = path.read_bytes() if path.exists() else b""
            keep, rows = self._inherited[name], copy.read_bytes()
            with whole_stream(path, self._logs) as new:
                new.write(content[:keep] + rows + content[keep:])
            self._inherited[name] = keep + len(rows)
            copy.unlink()

    def _replace(self, path: Path, content: bytes) -> None:
        if not content:
            os.unlink(path)
            return
        with whole_stream(path, self._logs) as new:
            new.write(content)


def _length_before(path: Path, length: int, step: float, key: str) -> int:
    """Returns the length of the rows before the first one of a step or a later one, at most `length`."""
    if not length:
        return 0
    position = 0
    with open(path, "rb") as file:
        for line in file:
            if position >= length or _reaches(line, step, key):
                break
            position += len(line)
    return min(position, length)


def _reaches(line: bytes, step: float, key: str) -> bool:
    try:
        found = json.loads(line).get(key)
    except (ValueError, AttributeError, RecursionError):  # no row of ours
        return False
    return isinstance(found, (int, float)) and found >= step
