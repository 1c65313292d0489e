"""The files that a table can be written to."""

import csv
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from ._json import strict_json

# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULAS = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001  # some spreadsheets take the wide signs, too
# Otherwise a cell that holds a carriage return would be two.
_ENDS = "\r\n"
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(inf|nan)", flags=re.ASCII)


def csv_text(table: pa.Table, *, spreadsheet: bool) -> str:
    """Returns a table as CSV; lists are JSON, and what a run does not have is empty.

    Args:
        table: the table.
        spreadsheet: whether texts that a spreadsheet would take for formulas get an apostrophe.
    """
    lines = _Lines()
    writer = csv.writer(lines, lineterminator=_ENDS)
    cell = _inert if spreadsheet else _plain
    writer.writerow(map(cell, table.column_names))
    for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
        writer.writerow(map(cell, row))
    return "".join(lines)


class _Lines(list[str]):
    """What csv writes, a line each. It quotes only what is in the ends of its lines; ours are short."""

    def write(self, line: str) -> None:
        self.append(line.removesuffix(_ENDS) + "\n")


def _plain(value: Any) -> Any:
    return _as_json(value) if isinstance(value, (list, dict)) else value


def _inert(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FORMULAS) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return _plain(value)


def write_csv(table: pa.Table, path: Path, *, spreadsheet: bool = True) -> None:
    """Writes a table as CSV, see `csv_text`."""
    path.write_text(csv_text(table, spreadsheet=spreadsheet), encoding="utf-8", newline="")


def _write_parquet(table: pa.Table, path: Path) -> None:
    import pyarrow.parquet

    for index, field in enumerate(table.schema):
        if "struct<>" in str(field.type):  # an empty dict, which Parquet does not know
            texts = [None if value is None else _as_json(value) for value in table[index].to_pylist()]
            table = table.set_column(index, field.name, pa.array(texts, pa.string()))
    with path.open("wb") as file:  # pyarrow takes no path that is not UTF-8
        pyarrow.parquet.write_table(table, file)


def _write_arrow(table: pa.Table, path: Path) -> None:
    with pa.OSFile(os.fsencode(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _write_json(table: pa.Table, path: Path) -> None:
    path.write_text(json.dumps(strict_json(table.to_pylist()), indent=1) + "\n", encoding="utf-8")


def _write_json_lines(table: pa.Table, path: Path) -> None:
    lines = (_as_json(row) + "\n" for row in table.to_pylist())
    path.write_text("".join(lines), encoding="utf-8")


def _as_json(value: Any) -> str:
    return json.dumps(strict_json(value))


WRITERS: dict[str, Callable[[pa.Table, Path], None]] = {
    ".csv": write_csv,
    ".parquet": _write_parquet,
    ".arrow": _write_arrow,
    ".json": _write_json,
    ".jsonl": _write_json_lines,
}
"""What writes a table, by the file's suffix."""
