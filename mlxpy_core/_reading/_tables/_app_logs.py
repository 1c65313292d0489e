"""Which metrics the apps of all runs wrote by themselves: their names, last values and files.

A row of this cache holds what was found of one run. That of an ended run counts as long as the run's
info.yaml is as it was, and nothing of the run is looked at. The directories of other runs are listed at
each opening, and of files that have grown is read what was appended.
"""

import errno
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from mlxpy_core._io._progress import with_progress
from mlxpy_core._io._retries import Retries
from mlxpy_core._runs._app_files import AppFile, list_app_files, output_places
from mlxpy_core._runs._metrics_files import shown_log

from ._app_rows import NoMetricsError, NotInstalledError, read_app_rows
from ._arrays import arrow_array, arrow_integers, numpy_array
from ._cache_place import CachePlace
from ._catalog import Catalog
from ._columns import MISSING
from ._event_files import can_read_events
from ._log_source import LogSource
from ._metric_batch import Batch, file_name
from ._metric_lines import Row
from ._segments import CHANGED, LOG_ID, SIZE, Ints, Segment, SegmentStore, current_places

# The columns: the keys of each log, as JSON that is equal for runs that have the same; the files, and up
# to where they have been read; when they were looked at; and whether they will be again.
_KEYS, _FILES, _SEEN, _AGAIN = "#keys", "#files", "#seen", "#again"
_NEVER, _ALWAYS, _WHEN_INSTALLED = range(3)  # the values of the last one
# A writer that is closed when its program ends writes after the end of the run.
_SETTLED_S = 60.0
_MOST_TOLD = 5
_BATCH_RUNS = 10_000

Keys = dict[str, list[str]]
"""The keys of each log."""
Patterns = Sequence[str] | None
"""Which files are looked at, see `list_app_files`."""


@dataclass(frozen=True)
class _Seen:
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
class _Found:
    """What was found of a run.

    Attributes:
        seen: its files, those of one log in their order.
        again: whether it is to be looked at again.
    """

    seen: list[_Seen] = field(default_factory=list)
    again: int = _ALWAYS

    @property
    def keys(self) -> Keys:
        keys: dict[str, set[str]] = {}
        for one in self.seen:
            if one.last:
                keys.setdefault(one.file.log, set()).update(one.last)
        return {log: sorted(keys[log]) for log in sorted(keys)}

    def files(self, log: str) -> list[AppFile]:
        return [one.file for one in self.seen if one.file.log == log and one.last is not None]


@dataclass
class _Notes:
    """What could not be read."""

    troubles: list[str] = field(default_factory=list)
    runs_with_events: int = 0  # that are not read for want of the extra

    def told(self) -> list[str]:
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


class AppLogs:
    """The logs that the apps of a catalog's runs wrote.

    Args:
        catalog: the runs.
        cache: where the cache of such logs lies.
        patterns: which files are looked at in all runs; None: as each run says.

    Attributes:
        codes: shape (n,): which of the variants each run has.
        variants: the keys of each log.
        cache: where the columns of their metrics lie.
        troubles: what could not be read, a sentence each.
    """

    def __init__(self, catalog: Catalog, cache: CachePlace, patterns: Patterns) -> None:
        self._catalog = catalog
        self._patterns = patterns
        # Other patterns find other files under the same names.
        chosen = json.dumps(None if patterns is None else list(patterns))
        cache = cache.below(hashlib.sha256(chosen.encode()).hexdigest()[:16])
        self.cache = cache.below("metrics")
        self._store = SegmentStore(cache.below("files"))
        self._segments: list[Segment] = []
        self._states: dict[int, pa.Table] = {}
        # Where the row of each run is, by its position in the catalog; -1 while it has none.
        self._segment_of = np.full(len(catalog), -1)
        self._row_of = np.full(len(catalog), -1)
        self._found: dict[int, _Found] = {}
        self._batches: dict[str, Batch] = {}
        self.codes = np.zeros(len(catalog), dtype=np.int64)
        self._codes_of = {"": 0}
        notes = _Notes()
        if patterns is None or patterns:
            self._open(notes)
        self.variants: list[Keys] = [json.loads(text) if text else {} for text in self._codes_of]
        self.troubles = notes.told()

    def source(self, log: str) -> LogSource:
        """Returns where the rows of a log come from; they are kept until its files have changed."""
        changed, sizes = self._catalog.changed.copy(), self._catalog.sizes.copy()
        for position, found in self._found.items():
            if found.again != _NEVER:
                stamps = [file.stamp for file in found.files(log)]
                changed[position] = max((stamp[0] for stamp in stamps), default=0)
                sizes[position] = sum(stamp[1] for stamp in stamps)

        def rows(position: int, damaged: list[str], retries: Retries) -> list[Row]:
            files = self._of(position).files(log)
            if not files:  # the cache has been deleted since
                run = str(self._catalog.run_path(position))
                raise FileNotFoundError(errno.ENOENT, "open the reader again", run)
            return _rows_of_files(files, retries)

        return LogSource((changed, sizes), np.ones(len(changed), dtype=bool), rows)

    def readers(self, position: int) -> dict[str, Callable[[], list[Row]]]:
        """Returns what reads the rows of each log of one run, by the name that people see."""
        found = self._of(position)
        return {
            shown_log(log): partial(_rows_of_files, found.files(log), Retries()) for log in found.keys
        }

    def last(self, log: str, key: str, positions: Ints) -> list[Any]:
        """Returns the last value of a key in some runs, `MISSING` where there is none."""
        return [_last(self._of(position), log, key) for position in positions.tolist()]

    def _open(self, notes: _Notes) -> None:
        again, valid = self._place()
        waiting = again == _WHEN_INSTALLED
        if waiting.any():
            if can_read_events():
                again[waiting] = _ALWAYS
            else:
                notes.runs_with_events += int(waiting.sum())
        known = self._catalog.ended & (again != _ALWAYS)
        for index, segment in enumerate(self._segments):
            here = np.flatnonzero(known & (self._segment_of == index))
            self._name(here, segment.table[_KEYS].take(arrow_integers(self._row_of[here])))
        self._look_at(np.flatnonzero(~known), notes)
        self._store.tidy(self._segments, valid)

    def _place(self) -> tuple[Ints, list[Ints]]:
        """Finds the newest row of each run; returns when it says to look again, and all these rows."""
        catalog = self._catalog
        self._segment_of[:] = self._row_of[:] = -1
        self._states.clear()
        self._segments = self._store.load([_KEYS, _SEEN, _AGAIN])
        newest = np.full(len(catalog), -1)
        again = np.full(len(catalog), _ALWAYS)
        for index, segment in enumerate(self._segments):
            places = current_places(segment, catalog.log_ids, catalog.changed, catalog.sizes)
            seen = numpy_array(segment.table[_SEEN])
            rows = np.flatnonzero(places >= 0)
            rows = rows[np.argsort(seen[rows], kind="stable")]
            rows = rows[seen[rows] > newest[places[rows]]]
            newest[places[rows]] = seen[rows]
            again[places[rows]] = numpy_array(segment.table[_AGAIN])[rows]
            self._segment_of[places[rows]] = index
            self._row_of[places[rows]] = rows
        valid = [self._row_of[self._segment_of == index] for index in range(len(self._segments))]
        return again, valid

    def _name(self, positions: Ints, texts: pa.ChunkedArray) -> None:
        encoded = texts.combine_chunks().dictionary_encode()
        codes = [self._code_of(text) for text in encoded.dictionary.to_pylist()]
        if codes:
            self.codes[positions] = np.array(codes)[numpy_array(encoded.indices)]

    def _code_of(self, text: str) -> int:
        return self._codes_of.setdefault(text, len(self._codes_of))

    def _look_at(self, positions: Ints, notes: _Notes) -> None:
        """Looks for the files of some runs, and keeps what has changed."""
        retries, now = Retries(), time.time_ns()
        changed: dict[int, tuple[str, str, int]] = {}
        what = f"looking for metrics in {self._catalog.logs.name}"
        own_patterns = self._catalog.values("info.app_metrics", positions)
        elsewhere = self._catalog.values("info.output_dir", positions)
        runs = list(zip(positions.tolist(), own_patterns, elsewhere, strict=True))
        for position, own, place in with_progress(runs, what):
            run = str(self._catalog.run_path(position))
            earlier = self._of(position)
            before = (_encoded(earlier, run), earlier.again)
            attempts = [] if place is MISSING else self._attempts(position)
            patterns = _patterns_of(own) if self._patterns is None else self._patterns
            found, rows = _look(run, attempts, patterns, earlier, notes, retries)
            if not self._catalog.ended[position] or _is_fresh(found, now):
                found.again = _ALWAYS
            if found.seen or found.again != _NEVER:
                self._found[position] = found
            keys = json.dumps(found.keys) if found.seen else ""
            self.codes[position] = self._code_of(keys)
            self._keep_rows(position, rows)
            after = (_encoded(found, run), found.again)
            if after != before:
                changed[position] = (keys, *after)
            if len(changed) == _BATCH_RUNS:
                self._keep(changed, now)
                changed.clear()
        self._keep(changed, now)
        self._write_batches()

    def _keep_rows(self, position: int, rows: Mapping[str, list[Row]]) -> None:
        """Keeps what was read on the way: all rows of some logs of a run."""
        for log, of_log in rows.items():
            self._batches.setdefault(log, Batch()).add(position, of_log)
        if any(batch.full for batch in self._batches.values()):
            self._write_batches()

    def _write_batches(self) -> None:
        log_ids = self._catalog.log_ids
        for log, batch in self._batches.items():
            store, stamps = SegmentStore(self.cache.below(file_name(log))), self.source(log).stamps
            segments = store.load(columns=())
            places = [current_places(segment, log_ids, *stamps) for segment in segments]
            store.tidy(segments, [np.flatnonzero(of_rows >= 0) for of_rows in places])
            store.add(batch.table(log_ids, *stamps))
        self._batches.clear()

    def _attempts(self, position: int) -> Any:
        return self._catalog.values("info.attempts", np.array([position]))[0]

    def _of(self, position: int) -> _Found:
        """Returns what was found of a run, now or by an earlier reader."""
        for _ in range(2):
            index, row = int(self._segment_of[position]), int(self._row_of[position])
            if position in self._found or index < 0:
                break
            if index not in self._states:
                table = self._store.columns(self._segments[index], [_FILES, _AGAIN])
                if table is None:  # merged with others meanwhile
                    self._place()
                    continue
                self._states[index] = table
            table = self._states[index]
            text, again = table[_FILES][row].as_py(), table[_AGAIN][row].as_py()
            self._found[position] = _decoded(text, str(self._catalog.run_path(position)), again)
        return self._found.get(position, _Found())

    def _keep(self, changed: Mapping[int, tuple[str, str, int]], now: int) -> None:
        """Keeps the keys, files and again of some runs."""
        if not changed:
            return
        catalog, positions = self._catalog, np.array(list(changed))
        keys, files, again = zip(*changed.values(), strict=True)
        columns = {
            LOG_ID: arrow_integers(catalog.log_ids[positions]),
            CHANGED: arrow_integers(catalog.changed[positions]),
            SIZE: arrow_integers(catalog.sizes[positions]),
            _KEYS: arrow_array(keys, pa.string()),
            _FILES: arrow_array(files, pa.string()),
            _SEEN: arrow_integers([now] * len(positions)),
            _AGAIN: arrow_integers(again),
        }
        self._store.add(pa.table(columns))


def read_app_logs(run: Path, info: dict[str, Any]) -> tuple[dict[str, list[Row]], list[str]]:
    """Reads all that the app of one run wrote.

    Args:
        run: the run's directory.
        info: what its info.yaml holds.

    Returns:
        The rows of each log by the name that people see, and what could not be read, a sentence each.
    """
    notes, retries = _Notes(), Retries()
    patterns = _patterns_of(info.get("app_metrics"))
    _, rows = _look(str(run), info.get("attempts"), patterns, _Found(), notes, retries)
    return {shown_log(log): of_log for log, of_log in rows.items()}, notes.told()


def _patterns_of(own: Any) -> Patterns:
    """Returns the patterns that a run's info.yaml, which may be another user's, names."""
    if isinstance(own, list) and all(isinstance(pattern, str) for pattern in own):
        return own
    return None


def _look(
    run: str, attempts: Any, patterns: Patterns, earlier: _Found, notes: _Notes, retries: Retries
) -> tuple[_Found, dict[str, list[Row]]]:
    """Looks for the files of a run, and reads what is new.

    Returns:
        What was found, and the rows of those logs all of which are new.
    """
    if patterns is not None and not patterns:
        return _Found(again=_NEVER), {}
    listing = list_app_files(output_places(run, attempts), patterns)
    if not listing.whole:
        notes.troubles.append(f"{run} has so many files that metrics were not looked for among all")
    before = {one.file.path: one for one in earlier.seen}
    seen, rows, known = list[_Seen](), dict[str, list[Row]](), set[str]()
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
            seen.append(_Seen(file, 0, None))
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
    found = _Found(seen, _ALWAYS if away else _WHEN_INSTALLED if waits else _NEVER)
    return found, {log: of_log for log, of_log in rows.items() if log not in known}


def _read(file: AppFile, old: _Seen | None, damaged: list[str]) -> tuple[_Seen, list[Row]]:
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
    return _Seen(file, end, last), rows


def _rows_of_files(files: Sequence[AppFile], retries: Retries) -> list[Row]:
    """Reads files one after the other; what is wrong with them was told when they were found."""
    rows: list[Row] = []
    for file in files:
        try:
            rows += retries(partial(read_app_rows, file, [])).rows
        except (NoMetricsError, NotInstalledError):  # noqa: PERF203  # another file by now
            continue
    return rows


def _last(found: _Found, log: str, key: str) -> Any:
    for one in reversed(found.seen):
        if one.file.log == log and one.last and key in one.last:
            return one.last[key]
    return MISSING


def _is_fresh(found: _Found, now: int) -> bool:
    newest = max((one.file.stamp[0] for one in found.seen), default=0)
    return now - newest < _SETTLED_S * 1e9


def _encoded(found: _Found, run: str) -> str:
    """Returns what is kept of a run: paths in its directory, which may be moved, are relative to it."""
    if not found.seen:
        return ""
    files = []
    for one in found.seen:
        file = one.file
        inside = file.within == os.path.dirname(run)
        path = file.path[len(run) + 1 :] if inside else file.path
        within = None if inside else file.within
        place = [file.log, file.kind, path, within, *file.stamp, file.owner, file.named]
        files.append([place, one.end, one.last])
    return json.dumps(files)


def _decoded(text: str, run: str, again: int) -> _Found:
    seen = []
    for (log, kind, path, within, changed, size, owner, named), end, last in json.loads(text or "[]"):
        if within is None:
            path, within = f"{run}/{path}", os.path.dirname(run)
        file = AppFile(log, kind, path, within, (changed, size), owner, named)
        seen.append(_Seen(file, end, last))
    return _Found(seen, again)
