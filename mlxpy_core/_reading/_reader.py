"""The reader of a directory of runs."""

import os
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._retries import Retries
from mlxpy_core._io._text import printable
from mlxpy_core._reading._query._parser import check_fields
from mlxpy_core._reading._query._user_parser import DefaultParser, Parser
from mlxpy_core._reading._tables._app_logs import AppLogs
from mlxpy_core._reading._tables._cache_place import cache_place
from mlxpy_core._reading._tables._columns import PYTHON_TYPES
from mlxpy_core._reading._tables._metric_columns import MetricColumns
from mlxpy_core._reading._tables._opening import open_catalog
from mlxpy_core._runs._annotations import ANNOTATED
from mlxpy_core._runs._directory import RunDirectory

from ._config_list import ConfigList
from ._drawable import LAZY_CELL
from ._html_tables import render_directory, shown
from ._rows import CatalogRows

if TYPE_CHECKING:
    import pandas

    from mlxpy_core._plugins._scheduler import JobOutlook

# How long a scheduler is given to answer.
_TIMEOUT_S = 10.0


class Reader:
    """Finds runs by what their config and info say.

    Opening it reads the metadata of all runs, from a cache what has not changed. What it shows stays as
    it was then, until `refresh`. Runs without a final status are reconciled with the process table or
    with their scheduler, which is asked once; what that comes to is written where it may be.

    Args:
        parent_log_dir: the directory of runs.
        dst_dir: where to keep the cache, if not in ``<parent_log_dir>/.mlxpy``.
        refresh: whether to look for changes in runs that are cached.
        src_dir: the directory of runs, by the name that MLXP has for it.
        parser: reads queries in another language, see `Parser`.
        app_metrics: which files are taken for metrics that the app wrote by itself: patterns of
            names, or of paths in the run's output directory if they have a slash; ``[]`` for none. By
            default what the run says, or event files, and CSV and JSON lines that look like metrics.
        archived: whether runs that ``mlxpy archive`` hides are among them; those that go on always are.

    Attributes:
        src_dir: the directory of runs, absolute.
        parser: what reads queries.
        troubles: what could not be found out about runs that have not ended, and which metrics of apps
            could not be read, a sentence each.
        outlooks: what schedulers expect of jobs that wait or run (`JobOutlook`), by the runs' numbers.

    Raises:
        MlxpyError: there is no such directory, or `dst_dir` cannot be written.
    """

    def __init__(
        self,
        parent_log_dir: str | os.PathLike[str] = "./logs",
        dst_dir: str | os.PathLike[str] | None = None,
        refresh: bool = True,
        *,
        src_dir: str | os.PathLike[str] | None = None,
        parser: Parser | None = None,
        app_metrics: Sequence[str] | None = None,
        archived: bool = False,
    ) -> None:
        runs = parent_log_dir if src_dir is None else src_dir
        self._logs = Path(os.path.abspath(os.path.expanduser(runs)))
        self._dst_dir = None if dst_dir is None else Path(os.path.abspath(os.path.expanduser(dst_dir)))
        self.src_dir = str(self._logs)
        self.parser = parser or DefaultParser()
        self._app_metrics = [app_metrics] if isinstance(app_metrics, str) else app_metrics
        self._archived = archived
        self._open(refresh)

    def __len__(self) -> int:
        return len(self._catalog)

    def __repr__(self) -> str:
        statuses = ", ".join(f"{count} {shown(name)}" for name, count in self._statuses().items())
        columns = ", ".join(f"{len(names)} of {kind}" for kind, names in self._columns_by_kind().items())
        held = [f"{len(self)} runs", *([f"({statuses})"] if statuses else [])]
        return f"Reader({self.src_dir!r}): {' '.join(held)}" + (
            f", columns: {columns}" if columns else ""
        )

    def _repr_html_(self) -> str:
        return render_directory(self.src_dir, self._statuses(), self._columns_by_kind())

    def refresh(self) -> None:
        """Looks for runs that are new, changed or gone."""
        self._open(refresh=True)

    @overload
    def search(self, query_string: str = "", asPandas: Literal[False] = False) -> ConfigList: ...

    @overload
    def search(self, query_string: str = "", *, asPandas: Literal[True]) -> "pandas.DataFrame": ...

    def search(self, query_string: str = "", asPandas: bool = False) -> "ConfigList | pandas.DataFrame":
        """Finds the runs that answer a query.

        A query compares fields with values, as in
        ``config.optimizer.lr <= 1e-2 & info.status == 'COMPLETE'``. There are ``== != < <= > >=``,
        ``in [...]``, ``not in [...]``, ``'baseline' in info.tags``, ``& | ~`` (also ``and or not``) and
        parentheses; numbers, strings in either quotes, ``True``, ``False``, ``None`` and lists. A field
        with odd characters goes between backquotes. Each run's value compares by its own type; a
        comparison with a field that a run does not have is false, but for ``'a' not in field``.

        Args:
            query_string: the query; without one, all runs answer.
            asPandas: whether to give a pandas DataFrame, in which metrics are lists.

        Raises:
            QueryError: the query is malformed, or names a field that no run has.
        """
        parsed = self.parser.parse(query_string) if query_string.strip() else []
        positions = np.arange(len(self))
        if callable(parsed):
            positions = np.flatnonzero([bool(parsed(row)) for row in self._rows.rows()])
        elif len(self):
            known = {*self._rows.kinds, *(f"info.{name}" for name in ANNOTATED)}
            lazy, aliases = self._rows.lazy_fields, self._catalog.aliases
            predicate = check_fields(parsed, query_string, known, lazy, aliases)
            positions = self._catalog.matching(predicate)
        results = ConfigList(CatalogRows(self._catalog, self._metrics, positions))
        return results.toPandas(lazy=False) if asPandas else results

    def filter(self, query_string: str = "", result_format: str = "datadict") -> Any:
        """Finds runs as `search` does, under the name that MLXP gave it.

        Args:
            query_string: the query.
            result_format: ``datadict`` for a `ConfigList`, ``pandas`` for a DataFrame.

        Raises:
            QueryError: as `search`.
            MlxpyError: another result_format.
        """
        if result_format not in ("datadict", "pandas"):
            raise MlxpyError(f"result_format={result_format!r}: give 'datadict' or 'pandas'")
        found = self.search(query_string)
        return found.toPandas(lazy=False) if result_format == "pandas" else found

    @property
    def fields(self) -> "pandas.DataFrame":
        """All columns and the types of their values."""
        return _type_table({**self._types(), **dict.fromkeys(self._rows.lazy_fields, LAZY_CELL)})

    @property
    def searchable(self) -> "pandas.DataFrame":
        """The columns that a query can name, and the types of their values."""
        return _type_table(self._types())

    def _open(self, refresh: bool) -> None:
        if not _is_directory(self._logs):
            raise MlxpyError(f"no directory {self.src_dir!r}: give the parent_log_dir of your runs")
        place = cache_place(self._logs, self._dst_dir)
        open_runs = partial(open_catalog, self._logs, place.below("runs"), archived=self._archived)
        self._catalog = open_runs(refresh=refresh)
        self.troubles: list[str] = []
        self.outlooks: dict[int, JobOutlook] = {}
        if refresh and (statuses := self._reconcile()):
            self._catalog = open_runs(refresh=True, statuses=statuses)
        apps = AppLogs(self._catalog, place.below("apps"), self._app_metrics)
        self._catalog.add_app_logs(apps.codes, apps.variants)
        self.troubles += apps.troubles
        self._metrics = MetricColumns(self._catalog, place.below("metrics"), apps)
        self._rows = CatalogRows(self._catalog, self._metrics, np.arange(len(self)))

    def _reconcile(self) -> dict[int, str]:
        """Reconciles runs without a final status; returns the statuses that have changed."""
        open_ones = np.flatnonzero(~self._catalog.ended)
        if not len(open_ones):
            return {}
        from mlxpy_core._operations._reconciling import reconcile_runs  # of no use to most readers

        statuses = self._catalog.values("info.status", open_ones)
        runs = [RunDirectory(self._catalog.run_path(position)) for position in open_ones.tolist()]
        findings = reconcile_runs(runs, timeout_s=_TIMEOUT_S)
        self.troubles = findings.troubles
        self.outlooks = {run.log_id: outlook for run, outlook in findings.outlooks.items()}
        found = (
            (run.log_id, findings.statuses.get(run), old)
            for run, old in zip(runs, statuses, strict=True)
        )
        return {log_id: new.value for log_id, new, old in found if new and new != old}

    def _statuses(self) -> dict[str, int]:
        """Counts statuses, the most frequent first."""
        return dict(Counter(map(str, self._rows.column("info.status"))).most_common())

    def _columns_by_kind(self) -> dict[str, list[str]]:
        """Names the columns of config, info, metrics and artifacts, where there are any."""
        kinds: dict[str, list[str]] = {"config": [], "info": [], "metrics": [], "artifacts": []}
        lazy = self._rows.lazy_fields
        for field in self._rows.fields:
            if field in lazy:
                kind = "artifacts" if field.startswith("artifact.") else "metrics"
            else:
                kind = "config" if field.startswith("config.") else "info"
            kinds[kind].append(field)
        return {kind: names for kind, names in kinds.items() if names}

    def _types(self) -> dict[str, str]:
        return {
            field: " | ".join(sorted({PYTHON_TYPES[kind] for kind in kinds}))
            for field, kinds in self._rows.kinds.items()
        }


def _is_directory(path: Path) -> bool:
    try:
        return Retries()(path.is_dir)
    except OSError as error:
        raise MlxpyError(f"cannot read the runs in {str(path)!r}: {error.strerror}") from error


def _type_table(types: dict[str, str]) -> "pandas.DataFrame":
    import pandas

    # A table of pandas prints its labels as they are.
    shown = {printable(field): kind for field, kind in types.items()}
    table: pandas.DataFrame = pandas.DataFrame({"Type": shown}, dtype=object).sort_index()
    table.index.name = "Fields"
    return table
