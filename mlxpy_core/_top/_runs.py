"""The runs that are shown: what the reader knows of them, in the order of the table."""

import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._flatten import find_field, no_field
from mlxpy_core._operations._retrying import retry_runs
from mlxpy_core._plugins._scheduler import JobOutlook
from mlxpy_core._reading import Reader
from mlxpy_core._reading._moments import moment
from mlxpy_core._reading._rows import Rows
from mlxpy_core._reading._shown_columns import differing_settings, metrics_by_importance
from mlxpy_core._reading._sorting import sorted_places
from mlxpy_core._reading._tables._columns import MISSING
from mlxpy_core._reading._tables._metric_columns import Series
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._metrics_files import is_app_log
from mlxpy_core._runs._progress_file import Progress
from mlxpy_core._runs._run_names import run_names
from mlxpy_core._runs._status import Status

from ._live_run import Live, LiveRun, Metric, fraction_of

ID, STATUS, PROGRESS, METRIC = "id", "status", "progress", "metric"
"""What the table can be sorted by besides settings."""

_EPOCHS = re.compile(r"config\.(.*\.)?(epochs|num_epochs?|max_epochs|n_epochs)")
_MOST_FOLLOWED = 500
_SETTINGS = 12  # columns


@dataclass(frozen=True)
class View:
    """What the table shows; what changes from second to second is in `Live`.

    Attributes:
        log_ids: the runs, in the order of the table.
        statuses: their statuses.
        outlooks: what is expected of the jobs of those that wait or run, by number.
        settings: the values of the settings that differ, of each run, by their names.
        counts: how many runs have each status.
        metrics: the names of all metrics, what tells most first.
        metric: the chosen one; None if there is none.
        query: what the runs answer.
        sort: what they are sorted by; empty: those that go on first, the newest first.
        ascending: whether the least comes first.
        troubles: what could not be found out, and what was submitted again.
    """

    log_ids: Sequence[int] = ()
    statuses: Sequence[str] = ()
    outlooks: Mapping[int, JobOutlook] = field(default_factory=dict)
    settings: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    metrics: Sequence[str] = ()
    metric: str | None = None
    query: str = ""
    sort: str = ""
    ascending: bool = True
    troubles: Sequence[str] = ()


class Runs:
    """The runs of a directory that answer a query. It is used by one thread at a time.

    Args:
        logs: the directory of runs.
        query: what they answer; empty for all.
        metric: the metric that is shown; None for that which tells most.
        retry: whether those that have tries left are submitted again (``hydra.launcher.retries``).

    Attributes:
        reader: finds them.

    Raises:
        MlxpyError: there is no such directory, or no run has the metric.
        QueryError: the query is malformed, or names a field that no run has.
    """

    def __init__(
        self, logs: Path, query: str = "", metric: str | None = None, *, retry: bool = False
    ) -> None:
        self.logs = logs
        self._retry = retry
        self._retried: list[str] = []  # what came of it
        # What is cached is on the screen at once; the first refresh looks at the rest.
        self.reader = Reader(logs, refresh=False)
        self._query = query
        self._metric = metric
        self._sources: dict[str, Metric] = {}
        self._sort = ""
        self._ascending = True
        self._live: dict[int, LiveRun] = {}
        self._search(query)
        if metric is not None and len(self._found):
            self._metric = self._known_metric(metric)

    def refresh(self) -> None:
        """Looks for what has changed: each scheduler is asked once."""
        self.reader.refresh()
        self._search(self._query)
        if self._retry and self._submit_again():
            self.reader.refresh()
            self._search(self._query)

    def filter(self, query: str) -> None:
        """Shows the runs that answer another query.

        Raises:
            QueryError: it is malformed, or names a field that no run has; the old one stays.
        """
        self._search(query)

    def sort_by(self, name: str) -> None:
        """Sorts by a column; by the same one again in the other direction."""
        self._ascending = not self._ascending if name == self._sort else True
        self._sort = name

    def show_metric(self, name: str) -> None:
        """Shows another metric.

        Raises:
            MlxpyError: no run has it; the old one stays.
        """
        self._metric = self._known_metric(name)
        self._live.clear()

    def run(self, log_id: int) -> Mapping[str, Any]:
        """Returns a run as the reader has it; empty if it is gone."""
        place = self._places.get(log_id)
        return {} if place is None else self._found[place]

    def differing(self, log_id: int) -> dict[str, Any]:
        """Returns the settings of a run in which the runs that are shown differ; all of them for one."""
        place, rows = self._places.get(log_id), self._found._rows
        if place is None:
            return {}
        names = [name for part in differing_settings(rows) for name in part]
        names = names or [name for name in rows.fields if name.startswith("config.")]
        one = rows.take([place])
        return {name: value for name in names if (value := one.column(name)[0]) is not MISSING}

    def curves(self, log_id: int, names: Sequence[str]) -> dict[str, Series]:
        """Returns what a run has logged of some metrics, all of it."""
        place = self._places.get(log_id)
        if place is None:
            return {}
        one = self._found._rows.take([place])
        found = {name: one.series(name) for name in names}
        return {name: series[0] for name, series in found.items() if series}

    def source_of(self, name: str) -> Metric | None:
        """Returns where a metric is logged; None for one that the app wrote by itself."""
        source = self._sources.get(name)
        return None if source is None or is_app_log(source.log) else source

    def view(self) -> View:
        """Returns the table."""
        rows = self._found._rows
        if not len(rows):
            return View(query=self._query, troubles=[*self.reader.troubles, *self._retried])
        log_ids, statuses = rows.column("info.log_id"), list(map(str, rows.column("info.status")))
        metric = self._shown_metric
        names = [*differing_settings(rows)[0]][:_SETTINGS]
        columns = {name: rows.column(name) for name in names}
        order = self._order(rows, log_ids, statuses, metric, columns)
        return View(
            [log_ids[place] for place in order],
            [statuses[place] for place in order],
            {**_time_left(rows, log_ids, statuses), **self.reader.outlooks},
            {name: [column[place] for place in order] for name, column in columns.items()},
            Counter(statuses),
            self._metrics,
            metric,
            self._query,
            self._sort,
            self._ascending,
            [*self.reader.troubles, *self._retried],
        )

    def look(self, log_ids: Iterable[int]) -> dict[int, Live]:
        """Reads what is new of some runs."""
        wanted = [log_id for log_id in log_ids if log_id in self._places]
        for log_id in wanted:
            if log_id not in self._live:
                self._live[log_id] = self._follow(log_id)
        found = {log_id: self._live[log_id].look() for log_id in wanted}
        if len(self._live) > _MOST_FOLLOWED:
            self._live = {log_id: self._live[log_id] for log_id in wanted}
        return found

    def _submit_again(self) -> bool:
        """Submits runs again that have tries left; returns whether there were any."""
        rows = self._found._rows
        if "info.end_reason" not in rows.fields:
            return False
        reasons = zip(rows.column("info.log_id"), rows.column("info.end_reason"), strict=True)
        ended = [log_id for log_id, reason in reasons if reason and reason is not MISSING]
        tried = retry_runs(RunDirectory(self.logs / str(log_id)) for log_id in ended)
        self._retried = list(tried.left)
        if tried.job_ids:
            names = run_names([run.log_id for run in tried.job_ids])
            self._retried.append(f"submitted again: {names}")
        return bool(tried.job_ids)

    @property
    def _shown_metric(self) -> str | None:
        return self._metric if self._metric in self._sources else next(iter(self._metrics), None)

    def _search(self, query: str) -> None:
        self._found = self.reader.search(query)
        self._query = query
        rows = self._found._rows
        ids = rows.column("info.log_id") if len(rows) else []
        self._places = {log_id: place for place, log_id in enumerate(ids)}
        self._metrics = metrics_by_importance(rows)
        sources = {name: Metric(*source) for name, source in rows.metric_sources.items()}
        anew = sources != self._sources  # a run may log its epoch by now
        self._sources = sources
        name = self._shown_metric
        if anew or (name and is_app_log(sources[name].log)):
            self._live.clear()

    def _known_metric(self, name: str) -> str:
        found = find_field(name, list(self._sources), self._found._rows.aliases)
        if found is None:
            raise MlxpyError(no_field(name, list(self._sources)))
        return found

    def _follow(self, log_id: int) -> LiveRun:
        name = self._shown_metric
        metric = self._sources[name] if name else None
        values: Sequence[Any] = ()
        if name and metric and is_app_log(metric.log):  # of files that only the reader reads
            values = list(self.curves(log_id, [name])[name].values)
            metric = None
        return LiveRun(self.logs / str(log_id), metric, self._epochs_of(log_id, metric), values)

    def _epochs_of(self, log_id: int, metric: Metric | None) -> tuple[Metric, float] | None:
        one = self._found._rows.take([self._places[log_id]])
        names = [name for name in self._found._rows.fields if _EPOCHS.fullmatch(name)]
        total = next((value for name in names if _is_number(value := one.column(name)[0])), None)
        logs = [one.log for one in self._sources.values() if one.key == "epoch"]
        logs = [log for log in logs if not is_app_log(log)]
        if total is None or not logs:
            return None
        return Metric(metric.log if metric and metric.log in logs else logs[0], "epoch"), total

    def _order(
        self,
        rows: Rows,
        log_ids: Sequence[int],
        statuses: Sequence[str],
        metric: str | None,
        columns: Mapping[str, Sequence[Any]],
    ) -> list[int]:
        newest = sorted(range(len(log_ids)), key=log_ids.__getitem__, reverse=True)
        if self._sort == METRIC and metric:
            values = rows.last(metric)
        elif self._sort == PROGRESS:
            values = _fractions(rows)
        elif self._sort in columns:
            values = list(columns[self._sort])
        elif self._sort in (ID, STATUS):
            values = list(log_ids if self._sort == ID else statuses)
        else:
            going_on = {Status.RUNNING.value: 0, Status.SUBMITTED.value: 1}
            return sorted(newest, key=lambda place: going_on.get(statuses[place], 2))
        return sorted_places(newest, values, self._sort, self._ascending)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _fractions(rows: Rows) -> list[float | None]:
    known = set(rows.fields)
    if not {"info.progress.done", "info.progress.total"} <= known:
        return [None] * len(rows)
    pairs = zip(rows.column("info.progress.done"), rows.column("info.progress.total"), strict=True)
    return [None if MISSING in pair else fraction_of(Progress(*pair)) for pair in pairs]


def _time_left(rows: Rows, log_ids: Sequence[int], statuses: Sequence[str]) -> dict[int, JobOutlook]:
    """Returns how long jobs still have that run, of what they were given when they started."""
    if "info.usage.requested_seconds" not in rows.fields:
        return {}
    running = [place for place, status in enumerate(statuses) if status == Status.RUNNING.value]
    some = rows.take(running)
    given = some.column("info.usage.requested_seconds")
    starts = map(moment, some.column("info.start_date"), some.column("info.start_time"))
    return {
        log_ids[place]: JobOutlook(left_s=max(0.0, start.timestamp() + seconds - time.time()))
        for place, seconds, start in zip(running, given, starts, strict=True)
        if _is_number(seconds) and start
    }
