"""The table over all runs of a directory, as they were when it was opened."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mlxpy_core._io._flatten import (
    app_metric_name,
    has_quotes,
    key_text,
    metric_name,
    public_names,
)
from mlxpy_core._reading._query._predicate import Predicate
from mlxpy_core._runs._metrics_files import is_app_log, shown_log
from mlxpy_core._runs._summary import read_lazy_names

from ._arrays import arrow_integers, numpy_array, text_codes
from ._columns import TypedColumns
from ._matching import matching_rows
from ._segments import Ints, Segment, StampedRuns

ENDED, LAZY = "#ended", "#lazy"

LazyNames = dict[str, Any]
"""What `RunRecord.lazy` holds, decoded."""
LazyColumn = tuple[str, str, str]
"""``metrics``, a log and a key; or ``artifacts``, a type and a folder."""


class Catalog:
    """All runs of a directory, as they were when it was opened; a run's position is its place by number.

    Attributes:
        logs: the directory.
        runs: the runs, whose numbers ascend.
        ended: whether each had ended.
        aliases: the names of the fields whose quotes mean nothing here, by those with the quotes.
    """

    def __init__(self, logs: Path, segments: Sequence[Segment], valid: Sequence[Ints]) -> None:
        self.logs = logs
        used = [(s, rows) for s, rows in zip(segments, valid, strict=True) if len(rows)]
        self._tables = [TypedColumns(segment.table) for segment, _ in used]
        self._segments = [segment for segment, _ in used]
        log_ids = _joined([segment.runs.log_ids[rows] for segment, rows in used])
        changed = _joined([segment.runs.changed[rows] for segment, rows in used])
        sizes = _joined([segment.runs.sizes[rows] for segment, rows in used])
        order = np.argsort(log_ids)
        self.runs = StampedRuns(log_ids[order], changed[order], sizes[order])
        self._rows = _joined([rows for _, rows in used])[order]
        self._tables_of = _joined(
            [np.full(len(rows), index, np.int64) for index, (_, rows) in enumerate(used)]
        )[order]
        self.ended = np.zeros(len(self), dtype=bool)
        for index, places in self._by_table(np.arange(len(self))):
            ended = self._segments[index].table[ENDED].take(arrow_integers(self._rows[places]))
            self.ended[places] = numpy_array(ended)
        self._app_logs: tuple[Ints, Sequence[Mapping[str, list[str]]]] | None = None
        self.aliases: dict[str, str] = {}
        if any(has_quotes(field) for table in self._tables for field in table.kinds):
            self.aliases = public_names(self.kinds())
            for table in self._tables:
                table.rename(self.aliases)

    def __len__(self) -> int:
        return len(self.runs.log_ids)

    def add_app_logs(self, codes: Ints, variants: Sequence[Mapping[str, list[str]]]) -> None:
        """Adds the logs that apps wrote by themselves to the names of metrics.

        Args:
            codes: shape (n,): which of the variants each run has.
            variants: the keys of each log.
        """
        if len(variants) > 1:
            self._app_logs = codes, variants

    def run_path(self, position: int) -> Path:
        """Returns the directory of a run."""
        return self.logs / str(self.runs.log_ids[position])

    def matching(self, predicate: Predicate) -> Ints:
        """Returns the positions of the runs that answer a query."""
        answer = np.zeros(len(self), dtype=bool)
        for index, table in enumerate(self._tables):
            here = self._tables_of == index
            answer[here] = matching_rows(predicate, table)[self._rows[here]]
        return np.flatnonzero(answer)

    def values(self, field: str, positions: Ints) -> list[Any]:
        """Returns a field of some runs, `MISSING` where a run does not have it."""
        values: list[Any] = [None] * len(positions)
        for index, places in self._by_table(positions):
            found = self._tables[index].values(field, self._rows[positions[places]])
            if len(places) == len(positions):
                return found
            for place, value in zip(places.tolist(), found, strict=True):
                values[place] = value
        return values

    def kinds(self, positions: Ints | None = None) -> dict[str, set[str]]:
        """Returns which fields some runs (or all) have, and of which kinds of values."""
        positions = np.arange(len(self)) if positions is None else positions
        kinds: dict[str, set[str]] = {}
        for index, places in self._by_table(positions):
            table, rows = self._tables[index], self._rows[positions[places]]
            for field in table.kinds:
                if found := table.kinds_in(field, rows):
                    kinds.setdefault(field, set()).update(found)
        return kinds

    def varies(self, field: str, positions: Ints) -> bool:
        """Returns whether a field is not the same in these runs; one that some do not have is not."""
        seen: set[tuple[str, Any]] = set()
        for index, places in self._by_table(positions):
            seen.update(self._tables[index].distinct(field, self._rows[positions[places]]))
            if len(seen) > 1:
                return True
        return False

    def lazy_names(self, positions: Ints) -> list[LazyNames]:
        """Names the metrics and artifacts of some runs."""
        codes, variants = self._lazy
        return [variants[code] for code in codes[positions].tolist()]

    def distinct_lazy_names(self, positions: Ints) -> list[LazyNames]:
        """Names the metrics and artifacts of some runs, once for all runs of the same ones."""
        codes, variants = self._lazy
        return [variants[code] for code in np.unique(codes[positions]).tolist()]

    @cached_property
    def lazy_aliases(self) -> dict[str, str]:
        """What `aliases` is for fields, for metrics and artifacts."""
        return public_names({name for names in self._lazy[1] for name in _quoted_columns(names)})

    def lazy_columns(self, names: LazyNames) -> dict[str, LazyColumn]:
        """Returns what `lazy_names` names as columns: what each holds, by its name."""
        aliases = self.lazy_aliases
        return {aliases.get(name, name): column for name, column in _quoted_columns(names).items()}

    def places_with(self, kind: str, first: str, second: str, positions: Ints) -> Ints:
        """Finds, among `positions`, those whose lazy names of a kind hold `second` under `first`."""
        codes, variants = self._lazy
        having = np.array([second in names[kind].get(first, ()) for names in variants], dtype=bool)
        return np.flatnonzero(having[codes[positions]])

    @cached_property
    def _lazy(self) -> tuple[Ints, list[LazyNames]]:
        """Which of the variants each run has; most have the same."""
        codes = np.zeros(len(self), dtype=np.int64)
        variants: dict[str, int] = {}
        for index, places in self._by_table(np.arange(len(self))):
            texts = self._segments[index].table[LAZY].take(arrow_integers(self._rows[places]))
            codes[places] = text_codes(texts, variants)
        names = [read_lazy_names(text) for text in variants]
        return (
            (codes, names) if self._app_logs is None else _with_app_logs(codes, names, *self._app_logs)
        )

    def _by_table(self, positions: Ints) -> Iterator[tuple[int, Ints]]:
        """Splits positions by table: the table's index, and places among `positions`."""
        tables = self._tables_of[positions]
        for index in np.unique(tables).tolist():
            yield index, np.flatnonzero(tables == index)


def _quoted_columns(names: LazyNames) -> dict[str, LazyColumn]:
    """Names the columns of a run's metrics and artifacts, with all quotes."""
    columns = {
        ".".join(["artifact", *map(key_text, [type_name, *filter(None, folder.split("/"))])]): (
            "artifacts",
            type_name,
            folder,
        )
        for type_name, folders in names["artifacts"].items()
        for folder in folders
    }
    for log, keys in names["metrics"].items():
        name_of = app_metric_name if is_app_log(log) else metric_name
        columns |= {name_of(shown_log(log), key): ("metrics", log, key) for key in keys}
    return columns


def _with_app_logs(
    codes: Ints,
    names: Sequence[LazyNames],
    app_codes: Ints,
    app_logs: Sequence[Mapping[str, list[str]]],
) -> tuple[Ints, list[LazyNames]]:
    """Returns which names each run has, and all variants of them, with those of apps."""
    pairs, codes = np.unique(codes * len(app_logs) + app_codes, return_inverse=True)
    variants = []
    for pair in pairs.tolist():
        own = names[pair // len(app_logs)]
        variants.append({**own, "metrics": {**own["metrics"], **app_logs[pair % len(app_logs)]}})
    return codes, variants


def _joined(arrays: Sequence[Ints]) -> Ints:
    return np.concatenate(arrays) if arrays else np.zeros(0, dtype=np.int64)
