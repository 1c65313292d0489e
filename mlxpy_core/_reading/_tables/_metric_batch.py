"""Columns of metrics that are made of the rows of one run after the other.

The values that a run logged under a key are one list, in the column of their kind: ``<key>:<kind>``.
Where not every row has the key, ``<key>:r`` holds the numbers of those that do.
"""

import contextlib
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa

from mlxpy_core._io._text import is_unicode

from ._arrays import arrow_array, arrow_integers
from ._columns import ARROW_TYPES, KIND_BY_TYPE
from ._metric_lines import Row
from ._segments import StampedRuns

_BATCH_BYTES, _BATCH_RUNS = 2**26, 10_000
_EXACT = 2**53  # integers up to here are floats without rounding
ROWS = "r"


class Batch:
    """Columns that grow by a run at a time.

    Attributes:
        positions: the runs, by their positions in a catalog.
    """

    def __init__(self) -> None:
        self.positions: list[int] = []
        self._cells: dict[str, dict[int, pa.Array]] = {}
        self._bytes = 0

    @property
    def full(self) -> bool:
        """Whether the table is to be made now, so that memory and what a kill loses are bounded."""
        return self._bytes >= _BATCH_BYTES or len(self.positions) >= _BATCH_RUNS

    def add(self, position: int, rows: Sequence[Row]) -> None:
        """Adds the rows of a run."""
        index = len(self.positions)
        self.positions.append(position)
        for key in dict.fromkeys(key for row in rows for key in row):
            if not is_unicode(key):
                continue  # Arrow cannot name a column so, and mlxpy logs no such key
            values = [row[key] for row in rows if key in row]
            kind, cell = _encode_cell(values)
            self._put(f"{key}:{kind}", index, cell)
            if len(values) < len(rows):
                numbers = [number for number, row in enumerate(rows) if key in row]
                self._put(f"{key}:{ROWS}", index, arrow_integers(numbers))

    def table(self, runs: StampedRuns) -> pa.Table:
        """Makes a table of a row a run; `runs` are all of the catalog."""
        columns = runs.columns(np.array(self.positions, dtype=np.int64))
        for name, cells in self._cells.items():
            columns[name] = _list_array(cells, len(self.positions))
        return pa.table(columns)

    def _put(self, column: str, index: int, cell: pa.Array) -> None:
        self._cells.setdefault(column, {})[index] = cell
        self._bytes += cell.nbytes


def _encode_cell(values: list[Any]) -> tuple[str, pa.Array]:
    types = set(map(type, values)) - {type(None)}
    if types == {int, float} and all(abs(one) <= _EXACT for one in values if type(one) is int):
        types = {float}
    if len(types) == 1 and (kind := KIND_BY_TYPE.get(types.pop())):
        # Not where integers need more than 64 bits, or texts are no Unicode.
        with contextlib.suppress(OverflowError, UnicodeEncodeError, pa.ArrowInvalid):
            return kind, arrow_array(values, ARROW_TYPES[kind])
    return "j", arrow_array([json.dumps(value) for value in values], pa.string())


def _list_array(cells: dict[int, pa.Array], length: int) -> pa.Array:
    lengths = np.zeros(length + 1, dtype=np.int64)
    missing = np.ones(length, dtype=bool)
    for index, cell in cells.items():
        lengths[index + 1] = len(cell)
        missing[index] = False
    offsets = arrow_integers(np.cumsum(lengths)).cast(pa.int32())
    mask = arrow_array(missing.tolist(), pa.bool_())
    return pa.ListArray.from_arrays(offsets, pa.concat_arrays(cells.values()), mask=mask)


def file_name(name: str) -> str:
    """Returns a name as that of a file."""
    return quote(name, safe="")
