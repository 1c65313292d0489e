"""One log of one run as an aligned table: its rows as they were logged."""

import difflib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import pyarrow as pa

from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._flatten import NESTED, flat_row, no_field
from mlxpy_core._reading._tables._columns import MISSING
from mlxpy_core._reading._tables._metric_lines import Row, read_rows
from mlxpy_core._reading._tables._warnings import warn_of_damaged_lines
from mlxpy_core._runs._metrics_files import files_of_all_ranks

from ._data_frames import data_frame, nullable
from ._display import render_text
from ._html_tables import render_html

if TYPE_CHECKING:
    import pandas


ReadRows = Callable[[], list[Row]]


class LogTable:
    """The rows of a log, in the order in which they were logged; what a row has not is None.

    ``log[0]`` is the first row, a dict; ``log[-10:]`` are the last ten; ``log["loss"]`` is a list, a
    value for each row.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows
        self._keys = list(dict.fromkeys(key for row in rows for key in row))

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        nothing = dict.fromkeys(self._keys)
        return (nothing | row for row in self._rows)

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> "LogTable": ...

    @overload
    def __getitem__(self, index: str) -> list[Any]: ...

    def __getitem__(self, index: int | slice | str) -> "Row | LogTable | list[Any]":
        """Returns a row, some of the rows, or a column.

        Raises:
            MlxpyError: no row has this key.
        """
        if isinstance(index, str):
            if index not in self._keys:
                raise MlxpyError(no_field(index, self._keys))
            return [row.get(index) for row in self._rows]
        if isinstance(index, slice):
            return LogTable(self._rows[index])
        return dict.fromkeys(self._keys) | self._rows[index]

    def __repr__(self) -> str:
        return render_text(_Drawn(self._rows, self._keys), "rows")

    def _repr_html_(self) -> str:
        return render_html(_Drawn(self._rows, self._keys), self._keys, "rows")

    def keys(self) -> list[str]:
        """Names the columns: the keys of all rows, in the order of their appearance."""
        return list(self._keys)

    def toPandas(self) -> "pandas.DataFrame":
        """Makes a pandas DataFrame; integers and booleans stay such where some are missing."""
        return data_frame({key: nullable(self[key]) for key in self._keys}, len(self))

    def toArrow(self) -> pa.Table:
        """Makes an Arrow table; a column whose values have no common type holds their JSON."""
        return pa.table({key: _arrow_column(self[key]) for key in self._keys})


class _Drawn:
    """The rows as a table draws them: what a row has not is empty, and None is None."""

    def __init__(self, rows: Sequence[Row], keys: list[str]) -> None:
        self._rows = rows
        self.fields = keys
        self.lazy_fields: set[str] = set()

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, places: Sequence[int]) -> "_Drawn":
        return _Drawn([self._rows[place] for place in places], self.fields)

    def column(self, field: str) -> list[Any]:
        return [row.get(field, MISSING) for row in self._rows]

    def varies(self, field: str) -> bool:  # what differs is of no importance here
        return False


def read_log(run: Path, name: str, app_logs: Mapping[str, ReadRows]) -> LogTable:
    """Reads a log of a run.

    Args:
        run: the run's directory.
        name: the log's name; ``rank1/train`` for that of another rank.
        app_logs: what reads the logs that the app wrote, by their names.

    Raises:
        MlxpyError: the run has no such log.
    """
    files = files_of_all_ranks(run / "metrics")
    if name not in files and name in app_logs:
        return LogTable([_with_dots(row) for row in app_logs[name]()])
    if name not in files:
        known = [*files, *app_logs]
        close = difflib.get_close_matches(str(name), known, n=3) or known[:5]
        hint = f"did you mean {' or '.join(close)}?" if close else "it has logged no metrics"
        raise MlxpyError(f"run {run.name} has no log {name!r}: {hint}")
    damaged: list[str] = []
    rows = read_rows(files[name], damaged, run.parent)
    warn_of_damaged_lines(damaged, stacklevel=3)
    return LogTable([_with_dots(row) for row in rows])


def _with_dots(row: Row) -> Row:
    """Returns a row whose nested dicts are their leaves, by names with dots."""
    if not any(type(value) is dict for value in row.values()):
        return row
    return {key.replace(NESTED, "."): value for key, value in flat_row(row).items()}


def _arrow_column(values: Sequence[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        return pa.array([None if value is None else json.dumps(value) for value in values], pa.string())
