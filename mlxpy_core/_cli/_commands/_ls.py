"""``mlxpy ls``."""

import functools
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlxpy_core._cli._arguments import archived_option, json_option, logs_option, runs_argument
from mlxpy_core._cli._json import print_json
from mlxpy_core._cli._numbers import earlier_numbers
from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._flatten import find_field, no_field
from mlxpy_core._io._text import clean

if TYPE_CHECKING:
    from mlxpy_core._reading import ConfigList

_SHORT = {
    "id": "info.log_id",
    "status": "info.status",
    "tags": "info.tags",
    "note": "info.note",
    "after": "info.scheduler.after",
}
_SAID = ("tags", "note", "after")  # shown where a run has any
_SORTED_BY = {"start": "info.start_time"}
_COMPUTED = ("start", "duration")
_FIRST = ("id", "status", "start", "duration")
_PROGRAM = "info.current_file_path"
_USAGE = "usage."
_BYTES = re.compile(
    r"(info\.)?usage\.(peak|requested)_memory|(rank\d+/)?system\.(memory|disk_free|gpu\d+_memory)"
)


@click.command()
@runs_argument(required=False)
@logs_option
@click.option(
    "-c", "--columns", multiple=True, metavar="FIELD", help="Show this field; may be repeated."
)
@click.option("--sort", metavar="FIELD", help="Order the runs by a field.")
@click.option("-n", "--last", type=click.IntRange(min=1), metavar="N", help="Only the N newest runs.")
@archived_option
@json_option
def command(
    runs: Sequence[str],
    logs: Path,
    columns: Sequence[str],
    sort: str | None,
    last: int | None,
    archived: bool,
    as_json: bool,
) -> None:
    """Lists runs, with the settings in which they differ.

    A FIELD is id, status, start, duration, tags, note, after (what a run waits for), or any of the
    reader's: of a metric, such as train.loss, the last value is shown. What a run used,
    info.usage.peak_memory, is usage.peak_memory, too.
    Below the runs of one search stands what it has found.

    \b
    Examples:
      mlxpy ls
      mlxpy ls "config.optimizer.lr <= 0.01 & info.status == 'COMPLETE'"
      mlxpy ls "'baseline' in info.tags"
      mlxpy ls "info.study == 'first'"
      mlxpy ls -n 20 -c config.optimizer.lr -c train.loss --sort train.loss
      mlxpy ls -c usage.peak_memory -c usage.requested_memory
    """
    from mlxpy_core._cli._search import runs_to_list

    found = runs_to_list(logs, runs, as_json=as_json, archived=archived)
    if found is None:
        return
    _check_columns([*columns, *([sort] if sort else [])], found)
    found = found[-last:] if last else found
    if as_json and not columns:
        known = found.keys()
        fields = [name for name in known if name.startswith(("config.", "info."))]
        print_json(_ordered(found, sort, [dict(row) for row in found.select(fields)]))
        return
    telling, metric = ([], []) if columns else _telling(found)
    known = found.keys()
    said = [] if columns else [name for name in _SAID if _SHORT[name] in known]
    names = dict.fromkeys(["id", *columns] if columns else [*_FIRST, *said, *telling, *metric])
    table = {name: _ordered(found, sort, _column(found, name)) for name in names}
    if "after" in table:
        table["after"] = [after and earlier_numbers(after) for after in table["after"]]
    if as_json:
        from mlxpy_core._cli._times import zoned

        if "start" in table:
            table["start"] = [moment and zoned(moment) for moment in table["start"]]
        print_json([dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)])
        return
    from mlxpy_core._cli._sizes import size_text
    from mlxpy_core._cli._table import print_table
    from mlxpy_core._cli._times import time_texts
    from mlxpy_core._io._text import duration_text

    for name in filter(_BYTES.fullmatch, table):
        table[name] = list(map(size_text, table[name]))
    if "start" in table:
        table["start"] = time_texts(table["start"])
    if "duration" in table:
        table["duration"] = [duration_text(seconds) for seconds in table["duration"]]
    if "tags" in table:
        table["tags"] = [tags and ", ".join(map(str, tags)) for tags in table["tags"]]
    print_table(table, [] if columns else ["id", "status", *metric], [*said, *telling])
    if lines := _of_study(found, logs):
        click.echo("\n" + "\n".join(map(clean, lines)))


def _of_study(found: "ConfigList", logs: Path) -> list[str]:
    """Returns what a search has found all of whose runs these are."""
    # A ConfigList has runs, not names.
    studies = set(found["info.study"]) if "info.study" in found.keys() else set()  # noqa: SIM118
    if len(studies) != 1:
        return []
    from mlxpy_core._search._study_results import lines_of_results, read_results

    results = read_results(logs, *studies)
    return lines_of_results(results) if results else []


def _telling(found: "ConfigList") -> tuple[list[str], list[str]]:
    """Names what tells the runs apart, what tells most first, and the first metric if there is one."""
    from mlxpy_core._reading._shown_columns import differing_settings, metrics_by_importance

    rows = found._rows
    settings, incidental = differing_settings(rows)
    programs = [name for name in (_PROGRAM,) if name in rows.fields and rows.varies(name)]
    return [*settings, *programs, *incidental], metrics_by_importance(rows)[:1]


def _check_columns(names: Sequence[str], found: "ConfigList") -> None:
    known = [*_FIRST, *_SAID, *found.keys()]
    for name in names:
        if name in known or _field(name, found) is not None:
            continue
        parts = name.split(",")
        if unknown := [part for part in parts if part not in known and _field(part, found) is None]:
            raise MlxpyError(no_field(unknown[0], known))
        each = " ".join(f"-c {part}" for part in parts)
        raise MlxpyError(f"no column {name!r}: name each by itself, {each}")


def _ordered(found: "ConfigList", sort: str | None, values: list[Any]) -> list[Any]:
    if not sort:
        return values
    from mlxpy_core._reading._moments import MOMENTS
    from mlxpy_core._reading._sorting import sort_values, sorted_places

    field = _field(_SORTED_BY.get(sort, sort), found)
    ordering = sort_values(found._rows, field) if field in MOMENTS and field else _column(found, sort)
    places = sorted_places(range(len(found)), ordering, sort)
    return [values[place] for place in places]


def _column(found: "ConfigList", name: str) -> list[Any]:
    """Returns a value for each run."""
    if name in _COMPUTED:
        return [times[_COMPUTED.index(name)] for times in _times(found)]
    field = _field(_SHORT.get(name, name), found)
    # The newest runs may not have logged yet what others have.
    return list(map(_one_value, found.last(field))) if field else [None] * len(found)


def _field(name: str, found: "ConfigList") -> str | None:
    """Returns the reader's column that a FIELD means."""
    known, aliases = found.keys(), found._rows.aliases
    field = find_field(name, known, aliases)
    if field is None and name.startswith(_USAGE):  # unless a log goes by that name
        return find_field(f"info.{name}", known, aliases)
    return field


@functools.cache  # two columns show them
def _times(found: "ConfigList") -> list[tuple[datetime | None, float | None]]:
    from mlxpy_core._reading._run_times import run_times

    return run_times(found)


def _one_value(value: Any) -> Any:
    """Returns the names of artifacts, and others as they are."""
    return list(value) if isinstance(value, dict) and value else value
