"""What a report holds: everything that its page shows, as JSON knows it."""

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._flatten import find_field, no_field
from mlxpy_core._reading import ConfigList
from mlxpy_core._reading._run_times import run_times
from mlxpy_core._reading._shown_columns import (
    differing_info,
    differing_settings,
    is_counter,
    is_seed,
    metrics_by_importance,
)
from mlxpy_core._search._study_results import (
    best_of_results,
    importances_of_results,
    read_results,
    trials_of_results,
)

from ._curves import metric_curves, numbers
from ._failures import failed_runs
from ._images import MOST_BYTES, thumbnails
from ._influence import FEWEST, importances, influence
from ._texts import cell, clean
from ._times import LogTimes

_SHOWN_METRICS = 4  # columns of the table at first
_MOST_METRICS = 200  # columns of the table
_DIGITS = 6  # of a last value


def report_content(found: ConfigList, target: Path, query: str, chosen: Sequence[str]) -> dict[str, Any]:
    """Returns what a report of some runs shows.

    Args:
        found: the runs.
        target: the file that the report will be, to which links are relative.
        query: how the runs were asked for.
        chosen: the metrics that are looked at first, and whose importances are computed.

    Raises:
        MlxpyError: one of these is no metric.
    """
    rows = found._rows
    metrics = metrics_by_importance(rows)
    first = [_metric(name, metrics, rows.aliases) for name in chosen]
    directories = [Path(path) for path in found["info.log_dir"]]
    telling, incidental = differing_settings(rows)
    info = differing_info(rows)
    last = {name: found.last(name) for name in [*first, *metrics][:_MOST_METRICS]}
    results = [name for name in last if name in first or not is_counter(name)]
    shown = {*telling, *results[:_SHOWN_METRICS]}
    times = run_times(found)
    fields = [
        _other("start", [f"{start:%Y-%m-%d %H:%M:%S}" if start else None for start, _ in times]),
        _other("duration (s)", [took if took is None else round(took, 1) for _, took in times]),
        *_said(found),
    ]
    for name in (*telling, *last, *info, *incidental):
        values = [_rounded(value) for value in last[name]] if name in last else found[name]
        fields.append({"name": clean(name), "values": list(map(cell, values)), "shown": name in shown,
                       "kind": "setting" if name in telling else "metric" if name in last else "other",
                       "seed": is_seed(name)})  # fmt: skip
    return {
        "logs": clean(str(directories[0].parent)),
        "query": clean(query),
        "made": f"{datetime.now():%Y-%m-%d %H:%M}",
        "runs": {
            "ids": found["info.log_id"],
            "statuses": [clean(str(status)) for status in found["info.status"]],
            "links": [_link(directory, target) for directory in directories],
        },
        "fields": fields,
        "same": _same_settings(found, {*telling, *incidental}),
        "curves": metric_curves(rows, LogTimes(rows, directories, times)),
        "influence": _influence_by_metric(
            found, [name for name in telling if not is_seed(name)], last, first
        ),
        "fewest": FEWEST,
        "searches": _searches(found, directories),
        "failures": failed_runs(found, directories),
        "images": {**thumbnails(found, directories), "limit": MOST_BYTES},
    }


def _metric(name: str, metrics: Sequence[str], aliases: Mapping[str, str]) -> str:
    field = find_field(name, metrics, aliases)
    if field is None:
        raise MlxpyError(f"--metric {name!r}: {no_field(name, metrics)}")
    return field


def _link(directory: Path, target: Path) -> str:
    """Returns the address of a directory relative to the report; never one of another scheme."""
    relative = os.path.relpath(directory, target.parent)
    return f"./{quote(os.fsencode(relative))}/"


def _other(name: str, values: list[Any]) -> dict[str, Any]:
    return {"name": name, "values": values, "shown": True, "kind": "other", "seed": False}


def _said(found: ConfigList) -> list[dict[str, Any]]:
    """Returns the tags and the notes, where a run has any."""
    known = [name for name in ("tags", "note") if f"info.{name}" in found._rows.fields]
    return [_other(name, list(map(_said_text, found[f"info.{name}"]))) for name in known]


def _said_text(value: Any) -> Any:
    return cell(", ".join(map(str, value)) or None if isinstance(value, list) else value)


def _searches(found: ConfigList, directories: Sequence[Path]) -> list[dict[str, Any]]:
    """Returns what the searches have found of which runs of the report are trials."""
    if "info.study" not in found._rows.fields:
        return []
    places = {path.name: place for place, path in enumerate(directories)}
    searches = []
    for study in dict.fromkeys(filter(None, found["info.study"])):
        if results := read_results(directories[0].parent, study):
            best = best_of_results(results)
            shares = importances_of_results(results).items()
            searches.append({
                "name": clean(str(study)),
                "trials": clean(trials_of_results(results)),
                "best": [{"words": clean(text), "run": places.get(str(run), -1)} for text, run in best],
                "importances": [[clean(name), share] for name, share in shares],
            })  # fmt: skip
    return searches


def _rounded(value: Any) -> Any:
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def _same_settings(found: ConfigList, differing: set[str]) -> list[tuple[str, Any]]:
    first = found[0]
    names = [name for name in found._rows.fields if name.startswith("config.") and name in first]
    return [(clean(name), cell(first[name])) for name in names if name not in differing]


def _influence_by_metric(
    found: ConfigList, settings: Sequence[str], last: Mapping[str, Sequence[Any]], chosen: Sequence[str]
) -> dict[str, Any]:
    """Returns, for each metric whose last values are numbers, how strongly each setting goes with it."""
    columns = {name: [cell(value) for value in found[name]] for name in settings}
    answers = {}
    for name, values in last.items():
        floats = numbers(np.array(values, dtype=object))
        if not len(floats):
            continue
        ranked = influence(columns, floats)
        shares = importances(columns, floats) if name in chosen else None
        for one in ranked:
            one["importance"] = shares and shares.get(one["name"])
            one["name"] = clean(one["name"])
        answers[clean(name)] = {"settings": ranked, "runs": int(np.isfinite(floats).sum())}
    return answers
