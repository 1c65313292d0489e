"""Brings the table over all runs of a directory up to date by reading what has changed.

What ended runs say is cached. A run is read again when the stamp of its info.yaml (time of change and
length) differs from the cached one: whatever mlxpy changes in a run's metadata, it writes info.yaml
last. Runs that have not ended are read each time.
"""

import gc
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._files import Stamp
from mlxpy_core._io._progress import with_progress
from mlxpy_core._io._retries import Retries, can_pass
from mlxpy_core._runs._directory import RunDirectory, is_run_name
from mlxpy_core._runs._info_file import INFO_FILE, info_stamp

from ._arrays import arrow_array, arrow_scalar, numpy_array
from ._cache_place import CachePlace
from ._catalog import ENDED, LAZY, Catalog
from ._columns import encode_rows
from ._run_record import RunRecord, UnreadableRunError, read_run
from ._segments import Ints, Segment, SegmentStore, StampedRuns
from ._warnings import warn_of_unreadable_runs

# Runs that are Python's objects at a time; and how many such parts make a file of the cache.
_CHUNK, _CHUNKS = 500, 20
_ARCHIVED = "info.archived:b"
_NO_STAMP: Stamp = (-1, -1)
# How long files are looked for that another host may just have replaced, and a run may take to be made.
_REPLACED_S, _MAKING_S = 0.1, 60


def open_catalog(
    logs: Path,
    cache: CachePlace,
    *,
    refresh: bool,
    archived: bool = True,
    statuses: Mapping[int, str] = MappingProxyType({}),
) -> Catalog:
    """Reads the runs of a directory, from the cache what has not changed.

    Args:
        logs: the directory of runs.
        cache: where the cache lies.
        refresh: whether to look for changes in runs that are cached.
        archived: whether runs that have ended and are archived are among them.
        statuses: those of runs whose info.yaml holds no final one, by number.

    Raises:
        MlxpyError: the directory cannot be listed.
    """
    retries = Retries()  # for all runs together
    names = _run_names(logs, retries)
    log_ids = np.array(sorted(map(int, names)), dtype=np.int64)
    store = SegmentStore(cache)
    segments = store.load()
    runs = _stamped(logs, log_ids, () if refresh else segments, retries)
    covered = np.zeros(len(log_ids), dtype=bool)
    valid = []
    for segment in segments:
        rows, positions = runs.current_rows(segment.runs)
        valid.append(rows[~covered[positions]])
        covered[positions] = True
    store.tidy(segments, valid)

    there = ~covered & (runs.changed != _NO_STAMP[0])
    stamps = zip(runs.changed[there].tolist(), runs.sizes[there].tolist(), strict=True)
    todo = list(zip(log_ids[there].tolist(), stamps, strict=True))
    found, unreadable = _look_for_info(logs, log_ids[~covered & ~there].tolist())
    records = _read_all(logs, [*todo, *found], unreadable, statuses)
    with _collections_paused():
        for table, ended in _tables_of(records):
            segments.append(Segment.of(table))
            valid.append(np.arange(table.num_rows))
            if ended:
                store.add(table)
    if unreadable:
        warn_of_unreadable_runs(logs, unreadable)
    if not archived:
        valid = [_shown_rows(segment, rows) for segment, rows in zip(segments, valid, strict=True)]
    return Catalog(logs, segments, valid)


def _shown_rows(segment: Segment, rows: Ints) -> Ints:
    """Returns the rows of runs that go on, or are not archived."""
    if _ARCHIVED not in segment.table.column_names:
        return rows
    archived = pc.fill_null(segment.table[_ARCHIVED], arrow_scalar(False, pa.bool_()))
    hidden = numpy_array(archived) & numpy_array(segment.table[ENDED])
    shown: Ints = rows[~hidden[rows]]
    return shown


def _run_names(logs: Path, retries: Retries) -> list[str]:
    try:
        return [name for name in retries(lambda: os.listdir(logs)) if is_run_name(name)]
    except OSError as error:
        raise _unlistable(logs, error) from error


def _unlistable(logs: Path, error: OSError) -> MlxpyError:
    return MlxpyError(f"cannot read the runs in {str(logs)!r}: {error.strerror}")


def _stamped(logs: Path, log_ids: Ints, trusted: Sequence[Segment], retries: Retries) -> StampedRuns:
    """Returns the runs with the stamps of info.yaml, from the trusted segments if they have it."""
    changed, sizes = np.full((2, len(log_ids)), _NO_STAMP[0], dtype=np.int64)
    for known in (segment.runs for segment in trusted):
        rows = np.flatnonzero(np.isin(known.log_ids, log_ids))
        places = np.searchsorted(log_ids, known.log_ids[rows])
        rows, places = (array[known.changed[rows] > changed[places]] for array in (rows, places))
        changed[places], sizes[places] = known.changed[rows], known.sizes[rows]
    unknown = np.flatnonzero(changed == _NO_STAMP[0])
    changed[unknown], sizes[unknown] = _look_at(logs, log_ids[unknown].tolist(), retries)
    return StampedRuns(log_ids, changed, sizes)


def _look_at(logs: Path, log_ids: Sequence[int], retries: Retries) -> tuple[list[int], list[int]]:
    """Returns the halves of the stamps; the time that opening a cached directory takes passes here."""
    changed, sizes = [], []
    try:
        directory = retries(lambda: os.open(logs, os.O_RDONLY | os.O_DIRECTORY))
    except OSError as error:
        raise _unlistable(logs, error) from error
    try:
        for log_id in log_ids:
            try:
                status = os.stat(f"{log_id}/{INFO_FILE}", dir_fd=directory)
            except OSError as error:  # noqa: PERF203  # the path must be resolved only once
                stamp = _stamp_again(logs / str(log_id), retries) if can_pass(error) else _NO_STAMP
                changed.append(stamp[0])
                sizes.append(stamp[1])
            else:
                changed.append(status.st_mtime_ns)
                sizes.append(status.st_size)
    finally:
        os.close(directory)
    return changed, sizes


def _stamp_again(run: Path, retries: Retries) -> Stamp:
    try:
        return retries(lambda: info_stamp(RunDirectory(run)))
    except OSError:
        return _NO_STAMP


@contextmanager
def _collections_paused() -> Iterator[None]:
    # Reading makes many objects and no cycles; each collection would walk all that the program has.
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _look_for_info(logs: Path, log_ids: Sequence[int]) -> tuple[list[tuple[int, Stamp]], dict[int, str]]:
    """Looks again at runs that seemed to have no info.yaml: another host may just have replaced it.

    Returns:
        The stamps of those that have one, and why the others cannot be read; a run that is being made
        has none yet.
    """
    found: list[tuple[int, Stamp]] = []
    unreadable = {}
    replaced = Retries(_REPLACED_S, passing=_is_missing)
    for log_id in log_ids:
        run = logs / str(log_id)
        if _has_no_metadata(run):
            continue
        stamp = _stamp_again(run, replaced)
        if stamp != _NO_STAMP:
            found.append((log_id, stamp))
        elif not _is_being_made(run):
            unreadable[log_id] = "info.yaml is missing or may not be read"
    return found, unreadable


def _has_no_metadata(run: Path) -> bool:
    try:
        return "metadata" not in os.listdir(run)
    except NotADirectoryError:
        return True
    except OSError:
        return False


def _is_being_made(run: Path) -> bool:
    """Returns whether a run without info.yaml got its first files just now; info.yaml is the last."""
    try:
        return time.time() - os.stat(run / "metadata").st_mtime < _MAKING_S
    except OSError:
        return False


def _read_all(
    logs: Path,
    todo: Sequence[tuple[int, Stamp]],
    unreadable: dict[int, str],
    statuses: Mapping[int, str],
) -> Iterator[RunRecord]:
    """Reads runs, and notes why others cannot be read."""
    away, replaced = Retries(passing=_is_away), Retries(_REPLACED_S, passing=_is_missing)
    for log_id, stamp in with_progress(todo, f"reading runs of {logs.name}"):
        read = partial(read_run, f"{logs}/{log_id}", stamp)
        try:
            record = replaced(partial(away, read))
        except UnreadableRunError as error:  # each run may fail for itself
            unreadable[log_id] = str(error)
            continue
        # One that has ended says so itself; what another says is not to be cached.
        if not record.ended and log_id in statuses:
            record.fields["info.status"] = statuses[log_id]
        yield record


def _is_away(error: BaseException) -> bool:
    return can_pass(error) or (error.__cause__ is not None and can_pass(error.__cause__))


def _is_missing(error: BaseException) -> bool:
    return isinstance(error, FileNotFoundError) or isinstance(error.__cause__, FileNotFoundError)


def _tables_of(records: Iterator[RunRecord]) -> Iterator[tuple[pa.Table, bool]]:
    """Makes tables of runs that have ended, and of runs that have not."""
    tables: dict[bool, list[pa.Table]] = {True: [], False: []}
    for count, chunk in enumerate(iter(lambda: list(islice(records, _CHUNK)), []), start=1):
        for ended in (True, False):
            if rows := [record for record in chunk if record.ended is ended]:
                tables[ended].append(_table_of(rows))
        if count % _CHUNKS == 0:
            yield from _concatenated(tables)
    yield from _concatenated(tables)


def _concatenated(tables: dict[bool, list[pa.Table]]) -> Iterator[tuple[pa.Table, bool]]:
    for ended, parts in tables.items():
        if parts:
            yield pa.concat_tables(parts, promote_options="default").combine_chunks(), ended
            parts.clear()


def _table_of(records: Sequence[RunRecord]) -> pa.Table:
    table = encode_rows([record.fields for record in records])
    named = np.array([(record.log_id, *record.stamp) for record in records], dtype=np.int64)
    own = {
        **StampedRuns(*named.T).columns(np.arange(len(records))),
        ENDED: arrow_array([record.ended for record in records], pa.bool_()),
        LAZY: arrow_array([record.lazy for record in records], pa.string()),
    }
    for name, column in own.items():
        table = table.append_column(name, column)
    return table
