"""What a query finds: a list of runs that can be looked at, cut, grouped and turned into tables."""

import functools
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast, overload

import numpy as np
import pyarrow as pa

from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._text import as_unicode

from ._combined_rows import ExtendedRows, stacked
from ._data_frames import data_frame
from ._display import render_text
from ._drawable import LAZY_CELL
from ._html_tables import render_html
from ._maps import Map, Maps, apply_maps, function_and_columns, rows_of
from ._rows import PlainRows, Rows, missing_as_none, need_fields
from ._run_row import RunRow
from ._sorting import GroupKey, grouped_places, sort_values, sorted_places

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes


class ConfigList:
    """A list of runs, one row each; a column is a field of config or info, a metric or an artifact.

    Metrics and artifacts are loaded when they are asked for: ``results[0]["train.loss"]`` is the list of
    what one run logged, ``results[:]["train.loss"]`` (or ``results["train.loss"]``) a list with an array
    of shape (n,) for each run. Columns of config and info hold plain values, None where a run has none.
    """

    def __init__(self, rows: Rows | Iterable[RunRow]) -> None:
        self._rows: Rows = PlainRows(list(rows)) if isinstance(rows, Iterable) else rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[RunRow]:
        for place, row in enumerate(self._rows.rows()):
            yield self._of_this_list(row, place)

    def __add__(self, other: "ConfigList") -> "ConfigList":
        """Returns the runs of both, one after the other; they may be of two directories."""
        if not isinstance(other, ConfigList):
            return NotImplemented
        return ConfigList(stacked([self._rows, other._rows]))

    @overload
    def __getitem__(self, index: int) -> RunRow: ...

    @overload
    def __getitem__(self, index: slice) -> "ConfigList": ...

    @overload
    def __getitem__(self, index: str) -> list[Any]: ...

    def __getitem__(self, index: int | slice | str) -> "RunRow | ConfigList | list[Any]":
        """Returns a run, some of the runs, or a column of all.

        Raises:
            MlxpyError: there is no such column.
        """
        if isinstance(index, str):
            (values,) = self._columns(index)
            return values
        places = range(len(self))[index]
        if isinstance(places, range):
            return ConfigList(self._rows.take(places))
        return self._of_this_list(next(self._rows.take([places]).rows()), places)

    def __repr__(self) -> str:
        return render_text(self._rows)

    def _repr_html_(self) -> str:
        return render_html(self._rows, self.diff())

    def last(self, field: str) -> list[Any]:
        """Returns the last value of a metric in each run, None where there is none.

        Of a metrics file only the end is read. Of a column that is no metric, these are its values.

        Raises:
            MlxpyError: there is no such column.
        """
        (name,) = need_fields(field, self._rows)
        return missing_as_none(self._rows.last(name))

    def keys(self) -> list[str]:
        """Names the columns."""
        return list(self._rows.fields)

    def diff(self, start_key: str = "config") -> list[str]:
        """Names the columns below `start_key` whose value is not the same in all runs."""
        return [
            field
            for field in self._rows.fields
            if field.startswith(start_key) and self._rows.varies(field)
        ]

    def config_diff(self) -> list[str]:
        """Names the config's columns whose value is not the same in all runs."""
        return self.diff("config")

    def select(self, fields: str | Sequence[str]) -> "ConfigList":
        """Returns the same runs with these columns only.

        Raises:
            MlxpyError: there is no such column.
        """
        names = need_fields(fields, self._rows)
        return ConfigList(self._rows.select(names))

    def filter(self, filter_map: Map, bygroups: str | Sequence[str] | None = None) -> "ConfigList":
        """Returns the runs for which a function says so.

        Args:
            filter_map: ``(function, columns)``: the function is called once, with one list for each
                column, and gives a boolean for each run.
            bygroups: columns: the function is called for each group of runs that are equal in them.

        Raises:
            MlxpyError: there is no such column, or the function gave something else.
        """
        if bygroups is not None:
            return self.groupby(bygroups).filter(filter_map).ungroup()
        function, columns = function_and_columns(filter_map)
        answers = list(function(*self._columns(columns)))
        if len(answers) != len(self):
            raise MlxpyError(
                f"the filter returned {len(answers)} booleans for {len(self)} rows: return one for each"
            )
        return ConfigList(self._rows.take([place for place, answer in enumerate(answers) if answer]))

    def sort(self, by: str | Sequence[str], ascending: bool = True) -> "ConfigList":
        """Orders the runs by columns: numbers before texts, runs without a value last.

        By a date or time of info they are ordered by the moment, whatever its zone.

        Raises:
            MlxpyError: there is no such column, or it has no order.
        """
        names = need_fields(by, self._rows)
        order = list(range(len(self)))
        for name in reversed(names):
            order = sorted_places(order, sort_values(self._rows, name), name, ascending)
        return ConfigList(self._rows.take(order))

    def groupby(self, group_keys: str | Sequence[str]) -> "GroupedConfigList":
        """Groups the runs that are equal in these columns.

        Raises:
            MlxpyError: there is no such column, or it is a metric or an artifact.
        """
        names = need_fields(group_keys, self._rows)
        if lazy := self._rows.lazy_fields.intersection(names):
            raise MlxpyError(f"column {lazy.pop()!r} cannot group: name fields of config or info")
        places = grouped_places(list(map(self._column, names)))
        groups = {key: ConfigList(self._rows.take(of_key)) for key, of_key in places.items()}
        return GroupedConfigList(names, groups)

    def aggregate(self, maps: Maps) -> "ConfigList":
        """Makes one row of all: each map's function is called with the list of a column's values.

        Args:
            maps: ``(function, columns)``, ``(function, columns, names)`` or a list of these; results are
                named ``f<function>.<column>`` where no names are given.

        Raises:
            MlxpyError: there is no such column.
        """
        return ConfigList(PlainRows([apply_maps(maps, "Columnwise", self._columns)]))

    def apply(self, maps: Maps, map_type: str = "Generic") -> "ConfigList":
        """Makes columns by functions of columns.

        Where the functions return a value for each run there is a row for each, otherwise one of all.

        Args:
            maps: ``(function, columns)``, ``(function, columns, names)`` or a list of these. Results are
                named ``f<function>.<column>``, or ``f<function>.<column>_<column>``, where no names are
                given; several results of one call are a tuple.
            map_type: with what a function is called: ``Generic``, once with a list for each of its
                columns; ``Columnwise``, with the list of one column after the other; ``Rowwise``, with
                the values of one run after the other; ``Pointwise``, with one value after the other.

        Raises:
            MlxpyError: there is no such column or type, or the results do not go together.
        """
        read = self._column_of_lists if map_type in ("Rowwise", "Pointwise") else self._column
        results = apply_maps(maps, map_type, lambda names: map(read, need_fields(names, self._rows)))
        rows = rows_of(results, len(self)) if len(self) else []
        return ConfigList(PlainRows([results] if rows is None else rows))

    def map(self, maps: Maps) -> "ConfigList":
        """Makes a column of each column by a function that is called with each value, see `apply`."""
        return self.apply(maps, "Pointwise")

    def transform(self, maps: Maps) -> "ConfigList":
        """Makes a column of each column by a function that is called with the list of its values.

        Raises:
            MlxpyError: there is no such column, or not one value for each run came back.
        """
        results = apply_maps(maps, "Columnwise", self._columns)
        rows = rows_of(results, len(self)) if len(self) else []
        if rows is None:
            raise MlxpyError(
                f"transform keeps the {len(self)} rows: call aggregate to make one row of all"
            )
        return ConfigList(PlainRows(rows))

    def merge(self, new_df: "ConfigList") -> "ConfigList":
        """Adds the columns of a list with as many rows to this one, and returns it.

        Raises:
            MlxpyError: it has another number of rows.
        """
        if len(new_df) != len(self):
            raise MlxpyError(
                f"merge needs as many rows as there are here: give {len(self)}, not {len(new_df)}"
            )
        for place, row in enumerate(new_df):
            self._add_to_row(place, dict(row))
        return self

    def toPandas(self, lazy: bool = True) -> "pandas.DataFrame":
        """Makes a pandas DataFrame with a row for each run.

        Args:
            lazy: leaves metrics and artifacts unloaded, marked as LAZYLOADING; otherwise metrics are
                lists.
        """
        unloaded = self._rows.lazy_fields if lazy else set[str]()
        columns = {
            field: [LAZY_CELL] * len(self) if field in unloaded else self._column_of_lists(field)
            for field in self._rows.fields
        }
        return data_frame(columns, len(self))

    def toArrow(self) -> pa.Table:
        """Makes an Arrow table with a row for each run; a metric is a column of lists."""
        return pa.table({field: self._rows.arrow(field) for field in self._rows.fields})

    @overload
    def plot(
        self,
        x: str | None,
        y: str,
        hue: str | None = None,
        ax: "Axes | None" = None,
        *,
        backend: Literal["matplotlib"] | None = None,
    ) -> "Axes": ...

    @overload
    def plot(
        self, x: str | None, y: str, hue: str | None = None, *, backend: Literal["plotly"]
    ) -> Any: ...

    def plot(
        self,
        x: str | None,
        y: str,
        hue: str | None = None,
        ax: "Axes | None" = None,
        *,
        backend: Literal["plotly", "matplotlib"] | None = None,
    ) -> "Axes | Any":
        """Plots one column over another: a line for the runs that differ only in their seed.

        A line is the mean of those runs, the band around it one standard deviation.

        Args:
            x: a metric, such as ``train.epoch``; None for the number of the row; or a field of config or
                info: then `y` is taken at its last value.
            y: a metric, or a number of config or info.
            hue: the column that colours tell apart; otherwise the settings do.
            ax: matplotlib's axes to plot on; a new figure if not given.
            backend: what draws: ``plotly`` or ``matplotlib``. By default plotly in a notebook, if it is
                installed and no `ax` is given, and matplotlib elsewhere.

        Returns:
            The axes, to be adorned or saved (``ax.figure.savefig``); of plotly a figure.

        Raises:
            MlxpyError: there is no such column, it holds no numbers, or what draws is not installed.
        """
        from ._plot_lines import plot_lines
        from ._plotting import choose_backend, draw_by_matplotlib, draw_by_plotly

        chosen = choose_backend(backend, ax)
        lines = plot_lines(self._rows, x, y, hue, self.diff())
        return draw_by_plotly(lines) if chosen == "plotly" else draw_by_matplotlib(lines, ax)

    def _columns(self, names: str | Sequence[str]) -> Iterator[list[Any]]:
        return map(self._column, need_fields(names, self._rows))

    def _column(self, name: str) -> list[Any]:
        return missing_as_none(self._rows.column(name))

    def _column_of_lists(self, name: str) -> list[Any]:
        """Returns a column with metrics as lists, as rows have them."""
        values = self._column(name)
        if name not in self._rows.lazy_fields:
            return values
        return [value.tolist() if isinstance(value, np.ndarray) else value for value in values]

    def _of_this_list(self, row: RunRow, place: int) -> RunRow:
        """Has a row tell this list what is added to it."""
        row.on_update = functools.partial(self._add_to_row, place)
        return row

    def _add_to_row(self, place: int, values: Mapping[str, Any]) -> None:
        if not isinstance(self._rows, ExtendedRows):
            self._rows = ExtendedRows(self._rows, [{} for _ in range(len(self))])
        self._rows.added[place].update(values)


class GroupedConfigList:
    """Runs by the values that they have in some columns: a mapping of such values to `ConfigList`.

    Attributes:
        group_keys: the columns.
        grouped_dict: the groups by their values.
    """

    def __init__(self, group_keys: Sequence[str], groups: dict[GroupKey, ConfigList]) -> None:
        self.group_keys = list(group_keys)
        self.grouped_dict = groups

    def __len__(self) -> int:
        return len(self.grouped_dict)

    def __iter__(self) -> Iterator[GroupKey]:
        return iter(self.grouped_dict)

    def __getitem__(self, key: GroupKey) -> ConfigList:
        return self.grouped_dict[key]

    def __repr__(self) -> str:
        return str(self.toPandas())

    def _repr_html_(self) -> str:
        return self.ungroup()._repr_html_()

    @property
    def group_vals(self) -> list[GroupKey]:
        """The values of the groups, as a list."""
        return list(self.grouped_dict)

    def keys(self) -> KeysView[GroupKey]:
        """Returns the values of the groups."""
        return self.grouped_dict.keys()

    def items(self) -> ItemsView[GroupKey, ConfigList]:
        """Returns the groups with their values."""
        return self.grouped_dict.items()

    def select(self, key_list: Iterable[GroupKey]) -> "GroupedConfigList":
        """Returns the groups of these values."""
        chosen = set(key_list)
        return self._with({key: group for key, group in self.items() if key in chosen})

    @overload
    def filter(
        self,
        filter_map: Map,
        bygroups: str | Sequence[str] | None = None,
        ungroup: Literal[False] = False,
    ) -> "GroupedConfigList": ...

    @overload
    def filter(
        self, filter_map: Map, bygroups: str | Sequence[str] | None = None, *, ungroup: Literal[True]
    ) -> ConfigList: ...

    def filter(
        self, filter_map: Map, bygroups: str | Sequence[str] | None = None, ungroup: bool = False
    ) -> "GroupedConfigList | ConfigList":
        """Filters each group, see `ConfigList.filter`; or the groups of other columns."""
        if bygroups is None:
            return self._each(lambda group: group.filter(filter_map), ungroup)
        filtered = self.ungroup().filter(filter_map, bygroups)
        return filtered if ungroup else filtered.groupby(self.group_keys)

    @overload
    def aggregate(self, maps: Maps, ungroup: Literal[False] = False) -> "GroupedConfigList": ...

    @overload
    def aggregate(self, maps: Maps, ungroup: Literal[True]) -> ConfigList: ...

    def aggregate(self, maps: Maps, ungroup: bool = False) -> "GroupedConfigList | ConfigList":
        """Makes one row of each group, see `ConfigList.aggregate`."""
        return self._each(lambda group: group.aggregate(maps), ungroup)

    @overload
    def apply(
        self, maps: Maps, map_type: str = "Generic", ungroup: Literal[False] = False
    ) -> "GroupedConfigList": ...

    @overload
    def apply(self, maps: Maps, map_type: str = "Generic", *, ungroup: Literal[True]) -> ConfigList: ...

    def apply(
        self, maps: Maps, map_type: str = "Generic", ungroup: bool = False
    ) -> "GroupedConfigList | ConfigList":
        """Makes columns of each group, see `ConfigList.apply`."""
        return self._each(lambda group: group.apply(maps, map_type), ungroup)

    @overload
    def map(self, maps: Maps, ungroup: Literal[False] = False) -> "GroupedConfigList": ...

    @overload
    def map(self, maps: Maps, ungroup: Literal[True]) -> ConfigList: ...

    def map(self, maps: Maps, ungroup: bool = False) -> "GroupedConfigList | ConfigList":
        """Makes columns of each group, see `ConfigList.map`."""
        return self._each(lambda group: group.map(maps), ungroup)

    @overload
    def transform(self, maps: Maps, ungroup: Literal[False] = False) -> "GroupedConfigList": ...

    @overload
    def transform(self, maps: Maps, ungroup: Literal[True]) -> ConfigList: ...

    def transform(self, maps: Maps, ungroup: bool = False) -> "GroupedConfigList | ConfigList":
        """Makes columns of each group, see `ConfigList.transform`."""
        return self._each(lambda group: group.transform(maps), ungroup)

    def groupby(self, group_keys: str | Sequence[str]) -> "GroupedConfigList":
        """Groups the runs of each group by other columns, too.

        The result holds a `GroupedConfigList` for each group, whose methods do what they do to each of
        its groups; `ungroup` undoes this last grouping.
        """
        return self._with(
            {key: cast("ConfigList", one.groupby(group_keys)) for key, one in self.items()}
        )

    @overload
    def sort(
        self, by: str | Sequence[str], ascending: bool = True, ungroup: Literal[False] = False
    ) -> "GroupedConfigList": ...

    @overload
    def sort(
        self, by: str | Sequence[str], ascending: bool = True, *, ungroup: Literal[True]
    ) -> ConfigList: ...

    def sort(
        self, by: str | Sequence[str], ascending: bool = True, ungroup: bool = False
    ) -> "GroupedConfigList | ConfigList":
        """Orders the runs of each group, see `ConfigList.sort`."""
        return self._each(lambda group: group.sort(by, ascending), ungroup)

    def ungroup(self) -> ConfigList:
        """Returns the rows of all groups as one list, with the columns of the groups."""
        groups: list[Any] = list(self.grouped_dict.values())
        if any(isinstance(group, GroupedConfigList) for group in groups):
            inner = {key: group.ungroup() for key, group in zip(self, groups, strict=True)}
            return cast("ConfigList", self._with(inner))
        rows = stacked([group._rows for group in groups])
        if not set(self.group_keys) <= set(rows.fields):  # they are those of computed rows
            rows = PlainRows(
                [
                    {**row, **dict(zip(self.group_keys, key, strict=True))}
                    for key, group in self.items()
                    for row in group
                ]
            )
        return ConfigList(rows)

    def toPandas(self, lazy: bool = True) -> "pandas.DataFrame":
        """Makes a pandas DataFrame that is indexed by the columns of the groups."""
        import pandas

        table: pandas.DataFrame = pandas.DataFrame()
        if self.grouped_dict:
            frames = [group.toPandas(lazy) for group in self.grouped_dict.values()]
            names = [*self.group_keys, *frames[0].index.names]
            keys = [tuple(as_unicode(v) if isinstance(v, str) else v for v in key) for key in self]
            table = pandas.concat(frames, keys=keys, names=names)
        return table

    def _each(
        self, function: Callable[[ConfigList], ConfigList], ungroup: bool
    ) -> "GroupedConfigList | ConfigList":
        grouped = self._with({key: function(group) for key, group in self.items()})
        return grouped.ungroup() if ungroup else grouped

    def _with(self, groups: dict[GroupKey, ConfigList]) -> "GroupedConfigList":
        return GroupedConfigList(self.group_keys, groups)
