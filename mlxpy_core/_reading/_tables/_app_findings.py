"""What is found of the metrics that the app of one run wrote: its files, their keys and last values."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mlxpy_core._io._retries import Retries
from mlxpy_core._runs._app_files import AppFile, list_app_files, output_places
from mlxpy_core._runs._metrics_files import shown_log

from ._app_rows import NoMetricsError, NotInstalledError, read_app_rows
from ._columns import MISSING
from ._metric_lines import Row

NEVER, ALWAYS, WHEN_INSTALLED = range(3)
"""Whether a run is to be looked at again; caches hold these numbers."""

# A writer that is closed when its program ends writes after the end of the run.
_SETTLED_S = 60.0
_MOST_TOLD = 5

Patterns = Sequence[str] | None
"""Which files are looked at, see `list_app_files`."""


@dataclass(frozen=True)
class SeenFile:
    """A file of a run.

    Attributes:
        file: the file as it was then.
        end: up to where it has been read.
        last: the last value of each key; None if it holds no metrics.
    """

    file: AppFile
    end: int
    last: dict[str, Any] | None


@dataclass
class Findings:
    """What was found of a run.

    Attributes:
        seen: its files, those of one log in their order.
        again: whether it is to be looked at again.
    """

    seen: list[SeenFile] = field(default_factory=list)
    again: int = ALWAYS

    @property
    def keys(self) -> dict[str, list[str]]:
        """The keys of each log."""
        keys: dict[str, set[str]] = {}
        for one in self.seen:
            if one.last:
                keys.setdefault(one.file.log, set()).update(one.last)
        return {log: sorted(keys[log]) for log in sorted(keys)}

    def files(self, log: str) -> list[AppFile]:
        """Returns the files that hold a log."""
        return [one.file for one in self.seen if one.file.log == log and one.last is not None]

    def last(self, log: str, key: str) -> Any:
        """Returns the last value of a key; `MISSING` if there is none."""
        for one in reversed(self.seen):
            if one.file.log == log and one.last and key in one.last:
                return one.last[key]
        return MISSING

    def are_fresh(self, now_ns: int) -> bool:
        """Returns whether a file was written so short ago that more may follow."""
        newest = max((one.file.stamp[0] for one in self.seen), default=0)
        return now_ns - newest < _SETTLED_S * 1e9

    def encoded(self, run: str) -> str:
        """Returns the files as text: paths in the run's directory, which may be moved, are relative."""
        if not self.seen:
            return ""
        files = []
        for one in self.seen:
            file = one.file
            inside = file.within == os.path.dirname(run)
            path = file.path[len(run) + 1 :] if inside else file.path
            within = None if inside else file.within
            place = [file.log, file.kind, path, within, *file.stamp, file.owner, file.named]
            files.append([place, one.end, one.last])
        return json.dumps(files)

    @classmethod
    def decoded(cls, text: str, run: str, again: int) -> "Findings":
        """Reads what `encoded` returned."""
        seen = []
        for (log, kind, path, within, changed, size, owner, named), end, last in json.loads(
            text or "[]"
        ):
            if within is None:
                path, within = f"{run}/{path}", os.path.dirname(run)
            file = AppFile(log, kind, path, within, (changed, size), owner, named)
            seen.append(SeenFile(file, end, last))
        return cls(seen, again)


@dataclass
class Notes:
    """What could not be read of one or more runs.

    Attributes:
        troubles: a sentence each.
        runs_with_events: how many have event files that are not read for want of the extra.
    """

    troubles: list[str] = field(default_factory=list)
    runs_with_events: int = 0

    def told(self) -> list[str]:
        """Returns what people are told, a sentence each."""
        more = len(self.troubles) - _MOST_TOLD
        told = self.troubles[:_MOST_TOLD]
        if more > 0:
            told[-1] += f", and {more} more like it"
        if self.runs_with_events:
            runs = f"{self.runs_with_events} run{'s' if self.runs_with_events > 1 else ''}"
            told.append(
                f"TensorBoard event files of {runs} are not read: pip install 'mlxpy[tensorboard]'"
            )
        return told


def read_app_logs(run: Path, info: dict[str, Any]) -> tuple[dict[str, list[Row]], list[str]]:
    """Reads all that the app of one run wrote.

    Args:
        run: the run's directory.
        info: what its info.yaml holds.

    Returns:
        The rows of each log by the name that people see, and what could not be read, a sentence each.
    """
    notes = Notes()
    patterns = patterns_of_run(info.get("app_metrics"))
    _, rows = look_for_metrics(str(run), info.get("attempts"), patterns, Findings(), notes, Retries())
    return {shown_log(log): of_log for log, of_log in rows.items()}, notes.told()


def patterns_of_run(own: Any) -> Patterns:
    """Returns the patterns that a run's info.yaml, which may be another user's, names."""
    if isinstance(own, list) and all(isinstance(pattern, str) for pattern in own):
        return own
    return None


def look_for_metrics(
    run: str, attempts: Any, patterns: Patterns, earlier: Findings, notes: Notes, retries: Retries
) -> tuple[Findings, dict[str, list[Row]]]:
    """Looks for the files of a run, and reads what is new.

    Args:
        run: the run's directory.
        attempts: what its info.yaml says of its attempts.
        patterns: which files are looked at.
        earlier: what was found when it was looked at before.
        notes: gets what cannot be read.
        retries: bounds the time that a file system is waited for.

    Returns:
        What was found, and the rows of those logs all of which are new.
    """
    if patterns is not None and not patterns:
        return Findings(again=NEVER), {}
    listing = list_app_files(output_places(run, attempts), patterns)
    if not listing.whole:
        notes.troubles.append(f"{run} has so many files that metrics were not looked for among all")
    before = {one.file.path: one for one in earlier.seen}
    seen, rows, known = list[SeenFile](), dict[str, list[Row]](), set[str]()
    away = waits = False
    for file in listing.files:
        old = before.get(file.path)
        if old and old.file == file:
            seen.append(old)
            known.add(file.log)
            continue
        try:
            now, new = retries(partial(_read, file, old, notes.troubles))
        except NotInstalledError:
            waits = True
        except NoMetricsError as error:
            seen.append(SeenFile(file, 0, None))
            if file.named:
                notes.troubles.append(f"{file.path}: {error}")
        except OSError as error:
            away = True
            notes.troubles.append(f"{file.path} cannot be read: {error.strerror}")
        else:
            seen.append(now)
            rows.setdefault(file.log, []).extend(new)
            if old:
                known.add(file.log)
    notes.runs_with_events += waits
    found = Findings(seen, ALWAYS if away else WHEN_INSTALLED if waits else NEVER)
    return found, {log: of_log for log, of_log in rows.items() if log not in known}


def _read(file: AppFile, old: SeenFile | None, damaged: list[str]) -> tuple[SeenFile, list[Row]]:
    """Reads a file, from where an earlier reading ended if there was one."""
    start, last = 0, dict[str, Any]()
    if old and old.last is not None and old.end <= file.stamp[1] and file.grows:
        start, last = old.end, dict(old.last)
    noted: list[str] = []
    rows, end = read_app_rows(file, noted, start)
    for row in rows:
        last.update(row)
    if noted:
        more = f" and {len(noted) - 1} more" if len(noted) > 1 else ""
        damaged.append(f"what is no row is left out: {noted[0]}{more}")
    return SeenFile(file, end, last), rows


def rows_of_files(files: Sequence[AppFile], retries: Retries) -> list[Row]:
    """Reads files one after the other; what is wrong with them was told when they were found."""
    rows: list[Row] = []
    for file in files:
        try:
            rows += retries(partial(read_app_rows, file, [])).rows
        except (NoMetricsError, NotInstalledError):  # noqa: PERF203  # another file by now
            continue
    return rows
