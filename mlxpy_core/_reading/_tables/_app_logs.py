"""Which metrics the apps of all runs wrote by themselves: their names, last values and files.

A row of this cache holds what was found of one run. That of an ended run counts as long as the run's
info.yaml is as it was, and nothing of the run is looked at. The directories of other runs are listed at
each opening, and of files that have grown is read what was appended.
"""

import errno
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from mlxpy_core._io._progress import with_progress
from mlxpy_core._io._retries import Retries
from mlxpy_core._runs._metrics_files import shown_log

from ._app_findings import (
    ALWAYS,
    NEVER,
    WHEN_INSTALLED,
    Findings,
    Notes,
    Patterns,
    look_for_metrics,
    patterns_of_run,
    rows_of_files,
)
from ._arrays import arrow_array, arrow_integers, numpy_array, text_codes
from ._cache_place import CachePlace
from ._catalog import Catalog
from ._columns import MISSING
from ._event_files import can_read_events
from ._log_source import LogSource
from ._metric_batch import Batch, file_name
from ._metric_lines import Row
from ._segments import Ints, Segment, SegmentStore

# The columns: the keys of each log, as JSON that is equal for runs that have the same; the files, and up
# to where they have been read; when they were looked at; and whether they will be again.
_KEYS, _FILES, _SEEN, _AGAIN = "#keys", "#files", "#seen", "#again"
_BATCH_RUNS = 10_000


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
        self._found: dict[int, Findings] = {}
        self._batches: dict[str, Batch] = {}
        self.codes = np.zeros(len(catalog), dtype=np.int64)
        self._codes_of = {"": 0}
        notes = Notes()
        if patterns is None or patterns:
            self._open(notes)
        self.variants: list[dict[str, list[str]]] = [
            json.loads(text) if text else {} for text in self._codes_of
        ]
        self.troubles = notes.told()

    def source(self, log: str) -> LogSource:
        """Returns where the rows of a log come from; they are kept until its files have changed."""
        changed, sizes = self._catalog.runs.changed.copy(), self._catalog.runs.sizes.copy()
        for position, found in self._found.items():
            if found.again != NEVER:
                stamps = [file.stamp for file in found.files(log)]
                changed[position] = max((stamp[0] for stamp in stamps), default=0)
                sizes[position] = sum(stamp[1] for stamp in stamps)

        def rows(position: int, damaged: list[str], retries: Retries) -> list[Row]:
            files = self._of(position).files(log)
            if not files:  # the cache has been deleted since
                run = str(self._catalog.run_path(position))
                raise FileNotFoundError(errno.ENOENT, "open the reader again", run)
            return rows_of_files(files, retries)

        runs = replace(self._catalog.runs, changed=changed, sizes=sizes)
        return LogSource(runs, np.ones(len(changed), dtype=bool), rows)

    def readers(self, position: int) -> dict[str, Callable[[], list[Row]]]:
        """Returns what reads the rows of each log of one run, by the name that people see."""
        found = self._of(position)
        return {
            shown_log(log): partial(rows_of_files, found.files(log), Retries()) for log in found.keys
        }

    def last(self, log: str, key: str, positions: Ints) -> list[Any]:
        """Returns the last value of a key in some runs, `MISSING` where there is none."""
        return [self._of(position).last(log, key) for position in positions.tolist()]

    def _open(self, notes: Notes) -> None:
        again, valid = self._place()
        waiting = again == WHEN_INSTALLED
        if waiting.any():
            if can_read_events():
                again[waiting] = ALWAYS
            else:
                notes.runs_with_events += int(waiting.sum())
        known = self._catalog.ended & (again != ALWAYS)
        for index, segment in enumerate(self._segments):
            here = np.flatnonzero(known & (self._segment_of == index))
            texts = segment.table[_KEYS].take(arrow_integers(self._row_of[here]))
            self.codes[here] = text_codes(texts, self._codes_of)
        self._look_at(np.flatnonzero(~known), notes)
        self._store.tidy(self._segments, valid)

    def _place(self) -> tuple[Ints, list[Ints]]:
        """Finds the newest row of each run; returns when it says to look again, and all these rows."""
        self._segment_of[:] = self._row_of[:] = -1
        self._states.clear()
        self._segments = self._store.load([_KEYS, _SEEN, _AGAIN])
        newest = np.full(len(self._catalog), -1)
        again = np.full(len(self._catalog), ALWAYS)
        for index, segment in enumerate(self._segments):
            rows, positions = self._catalog.runs.current_rows(segment.runs)
            seen = numpy_array(segment.table[_SEEN])[rows]
            newer = np.argsort(seen, kind="stable")  # of a run's rows here, the newest one comes last
            newer = newer[seen[newer] > newest[positions[newer]]]
            rows, positions = rows[newer], positions[newer]
            newest[positions] = seen[newer]
            again[positions] = numpy_array(segment.table[_AGAIN])[rows]
            self._segment_of[positions] = index
            self._row_of[positions] = rows
        valid = [self._row_of[self._segment_of == index] for index in range(len(self._segments))]
        return again, valid

    def _look_at(self, positions: Ints, notes: Notes) -> None:
        """Looks for the files of some runs, and keeps what has changed."""
        retries, now = Retries(), time.time_ns()
        changed: dict[int, Findings] = {}
        what = f"looking for metrics in {self._catalog.logs.name}"
        own_patterns = self._catalog.values("info.app_metrics", positions)
        elsewhere = self._catalog.values("info.output_dir", positions)
        runs = list(zip(positions.tolist(), own_patterns, elsewhere, strict=True))
        for position, own, place in with_progress(runs, what):
            run = str(self._catalog.run_path(position))
            earlier = self._of(position)
            attempts = []
            if place is not MISSING:
                (attempts,) = self._catalog.values("info.attempts", np.array([position]))
            patterns = patterns_of_run(own) if self._patterns is None else self._patterns
            found, rows = look_for_metrics(run, attempts, patterns, earlier, notes, retries)
            if not self._catalog.ended[position] or found.are_fresh(now):
                found.again = ALWAYS
            if found.seen or found.again != NEVER:
                self._found[position] = found
            self.codes[position] = self._codes_of.setdefault(_keys_text(found), len(self._codes_of))
            self._keep_rows(position, rows)
            if found != earlier:
                changed[position] = found
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
        for log, batch in self._batches.items():
            store, runs = SegmentStore(self.cache.below(file_name(log))), self.source(log).runs
            segments = store.load(columns=())
            store.tidy(segments, [runs.current_rows(segment.runs)[0] for segment in segments])
            store.add(batch.table(runs))
        self._batches.clear()

    def _of(self, position: int) -> Findings:
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
            run = str(self._catalog.run_path(position))
            self._found[position] = Findings.decoded(text, run, again)
        return self._found.get(position, Findings())

    def _keep(self, changed: Mapping[int, Findings], now: int) -> None:
        """Keeps what was found of some runs."""
        if not changed:
            return
        found = list(changed.values())
        runs = [str(self._catalog.run_path(position)) for position in changed]
        files = [one.encoded(run) for one, run in zip(found, runs, strict=True)]
        columns = {
            **self._catalog.runs.columns(np.array(list(changed))),
            _KEYS: arrow_array(list(map(_keys_text, found)), pa.string()),
            _FILES: arrow_array(files, pa.string()),
            _SEEN: arrow_integers([now] * len(found)),
            _AGAIN: arrow_integers([one.again for one in found]),
        }
        self._store.add(pa.table(columns))


def _keys_text(found: Findings) -> str:
    return json.dumps(found.keys) if found.seen else ""
