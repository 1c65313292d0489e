"""Which checkpoints a rule keeps: the last ones, and the best by a metric.

A list in the run's state names those that were stored with a rule, by their time of change: others are
never removed. It is written before a checkpoint takes its place, which is whole before another one goes;
so a process that is killed leaves a checkpoint too many, which the next one removes, and never none.
"""

import contextlib
import itertools
import json
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._files import fsync_path, open_regular, read_text, whole_file, write_whole
from mlxpy_core._io._flatten import NESTED, flat_row
from mlxpy_core._io._yaml import dump_yaml, load_yaml
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._metrics_files import file_of_log, metrics_of_rank
from mlxpy_core._runs._summary import stays_below

from ._checkpoints import SUFFIX, TYPE_NAME, checkpoints_of_rank

_TAIL = 2**18  # bytes of a metrics file, in which the last value is looked for


@dataclass(frozen=True)
class KeepRule:
    """Which of the checkpoints that are stored with a rule stay.

    Attributes:
        last: how many of the newest.
        metric: the metric, ``<log>.<key>``, whose best stays besides; empty for none.
        mode: ``min`` or ``max``.
    """

    last: int = 1
    metric: str = ""
    mode: str = "min"


def keep_rule(keep_last: Any, keep_best: Any) -> KeepRule | None:
    """Reads the arguments of `Logger.log_checkpoint`; None where there is no rule.

    Raises:
        MlxpyError: they are no rule.
    """
    if keep_last is None and keep_best is None:
        return None
    last = 1 if keep_last is None else keep_last
    if type(last) is not int or last < 1:
        raise MlxpyError(f"keep_last={keep_last!r} is no number of checkpoints: give 1 or more")
    if keep_best is None:
        return KeepRule(last)
    pair = list(keep_best) if isinstance(keep_best, (tuple, list)) else []
    if len(pair) != 2 or not isinstance(pair[0], str) or pair[1] not in ("min", "max"):
        raise MlxpyError(f"keep_best={keep_best!r}: give a metric and a mode, as in ('val.loss', 'min')")
    if not all(pair[0].partition(".")):
        raise MlxpyError(f"keep_best: {pair[0]!r} is no metric: give log and key, as in 'val.loss'")
    return KeepRule(last, *pair)


@dataclass(frozen=True)
class Kept:
    """One checkpoint that was stored with a rule.

    Attributes:
        name: its name.
        changed: its time of change, in nanoseconds.
        value: the metric's last value then; None if there was none.
    """

    name: str
    changed: int
    value: float | None = None


class KeptCheckpoints:
    """The checkpoints that one rank of a run has stored with a rule."""

    def __init__(self, directory: RunDirectory, rank: int) -> None:
        self._logs = directory.logs
        self._folder = checkpoints_of_rank(directory.artifacts / TYPE_NAME, rank)
        self._metrics = metrics_of_rank(directory.metrics, rank)
        self._list = directory.state / (f"checkpoints.rank{rank}.yaml" if rank else "checkpoints.yaml")

    @property
    def best(self) -> str | None:
        """The name of the best one by the rule that was used last."""
        best = self._read().get("best")
        return next((one.name for one in self._entries() if one.name == best), None)

    def step_aside(self, name: str) -> None:
        """Gives a checkpoint that another one of its name is about to replace a second name."""
        entries = self._entries()
        earlier = next((one for one in entries if one.name == name), None)
        if earlier is None or any(one.changed == earlier.changed for one in entries if one != earlier):
            return  # the second: a process that was killed, or refused by the file system, has done so
        numbered = (f"{name}-{number}" for number in itertools.count(1))
        free = next(one for one in numbered if not self._path(one).exists())
        place = next(index for index, one in enumerate(entries) if one.name == name)
        entries.insert(place, Kept(free, earlier.changed, earlier.value))
        self._write(entries, self._read().get("best"))
        try:
            os.link(self._path(name), self._path(free))
        except OSError:  # a file system without hard links
            with whole_file(self._path(free), self._logs) as path:
                shutil.copy2(self._path(name), path)

    def announce(self, name: str, changed: int, value: float | None) -> None:
        """Lists a checkpoint that is about to take its place."""
        self._write([*self._entries(), Kept(name, changed, value)], self._read().get("best"))

    def prune(self, rule: KeepRule) -> None:
        """Removes those that a rule does not keep."""
        entries = self._entries()
        valued = [one for one in entries if one.value is not None] if rule.metric else []
        # Of equals the first: those that came before the next value have its predecessor's.
        choose = min if rule.mode == "min" else max
        best = choose(valued, key=lambda one: one.value or 0.0) if valued else None
        newest = sorted(entries, key=lambda one: one.changed)[-rule.last :]
        kept = [one for one in entries if one in newest or one is best]
        fsync_path(self._path(newest[-1].name).parent)  # it is there for good
        for one in entries:
            if one not in kept:
                self._path(one.name).unlink(missing_ok=True)
        self._write(kept, best.name if best else None)

    def last_value(self, metric: str) -> float | None:
        """Returns the last number that was logged of a metric; None if there is none."""
        parts = metric.split(".")
        for count in range(len(parts) - 1, 0, -1):
            log, key = ".".join(parts[:count]), ".".join(parts[count:])
            for row in self._last_rows(file_of_log(self._metrics, log)):
                values = {name.replace(NESTED, "."): value for name, value in flat_row(row).items()}
                if key in values:
                    value = values[key]
                    usable = isinstance(value, (int, float)) and math.isfinite(value)
                    return float(value) if usable else None
        return None

    def _last_rows(self, path: Path) -> Iterator[dict[str, Any]]:
        try:
            with os.fdopen(open_regular(path, self._logs), "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
                lines = file.read().splitlines()
        except OSError:
            return
        for line in reversed(lines):
            with contextlib.suppress(ValueError, RecursionError):  # the first may be half of one
                row = json.loads(line)
                if isinstance(row, dict):
                    yield row

    def _entries(self) -> list[Kept]:
        """Returns those that are there as they were stored, in the order of storing."""
        try:
            entries = [Kept(**one) for one in self._read().get("checkpoints") or ()]
            return [one for one in entries if stays_below(one.name) and self._is_there(one)]
        except (AttributeError, TypeError):  # it may be anybody's
            return []

    def _is_there(self, one: Kept) -> bool:
        try:
            return self._path(one.name).stat().st_mtime_ns == one.changed
        except OSError:
            return False

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}{SUFFIX}"

    def _read(self) -> dict[str, Any]:
        try:
            listed = load_yaml(read_text(self._list, self._logs))
        except (OSError, ValueError, yaml.YAMLError):
            return {}
        return listed if isinstance(listed, dict) else {}

    def _write(self, entries: Sequence[Kept], best: Any) -> None:
        listed = {"checkpoints": [asdict(one) for one in entries], "best": best}
        write_whole(self._list, dump_yaml(listed), self._logs)
