"""Which columns of many tell runs apart, and in which order they matter to people."""

import re
from collections.abc import Sequence
from typing import Any

from mlxpy_core._reading._tables._columns import MISSING
from mlxpy_core._runs._metrics_files import is_of_other_rank

from ._drawable import Drawable

IDENTITY = ("info.log_id", "info.status")
"""What a table of runs begins with."""

# What tells runs of equal configs apart.
_TELLING_INFO = (
    "info.current_file_path",
    "info.version_manager.commit_hash",
    "info.signal",
    "info.exception.type",
    "info.user",
    "info.hostname",
)
# Metrics that count rows, and tell nothing of what came out.
_COUNTERS = re.compile(
    r"_?(?:global_)?(?:batch|epoch|iter|iteration|row|runtime|step|time|timestamp|wall_time)s?"
)
_OF_MACHINE = re.compile(r"(rank\d+/)?system\.")
_OF_APP = re.compile(r"tensorboard[./]|csv/|jsonl/")
_TIME = re.compile(r"\d{4}-\d\d-\d\d|\d\d[:-]\d\d[:-]\d\d")
_SAMPLE = 60  # runs
_INCIDENTAL = 2


def differing_settings(rows: Drawable) -> tuple[list[str], list[str]]:
    """Names the config's columns that differ, what tells most first.

    Returns:
        What tells runs apart, seeds last; and what differs whenever a run is made, such as its directory
        or the time: all that differs, if there is nothing else.
    """
    fields = [field for field in rows.fields if field.startswith("config.") and rows.varies(field)]
    sample = rows.take(range(min(len(rows), _SAMPLE)))
    vagueness = {field: _vagueness(field, sample.column(field)) for field in fields}
    ordered = sorted(fields, key=vagueness.__getitem__)
    telling = [field for field in ordered if vagueness[field][0] < _INCIDENTAL]
    return (telling, ordered[len(telling) :]) if telling else (ordered, [])


def differing_info(rows: Drawable) -> list[str]:
    """Names the columns of info that differ and tell runs apart, what tells most first."""
    known = set(rows.fields)
    return [field for field in _TELLING_INFO if field in known and rows.varies(field)]


def metrics_by_importance(rows: Drawable) -> list[str]:
    """Names the metrics: results before counters, those of all ranks before those of one.

    Those that the app wrote by itself come after mlxpy's own, and what the machine did comes last.
    """
    lazy = rows.lazy_fields
    metrics = [field for field in rows.fields if field in lazy and not field.startswith("artifact.")]
    return sorted(metrics, key=_unimportance)


def _unimportance(field: str) -> tuple[bool, bool, bool]:
    of_machine, of_app = _OF_MACHINE.match(field) is not None, _OF_APP.match(field) is not None
    return of_machine, is_counter(field), of_app or is_of_other_rank(field)


def _vagueness(field: str, values: Sequence[Any]) -> tuple[int, bool]:
    present = [value for value in values if value is not MISSING]
    texts = [value for value in present if isinstance(value, str)]
    only_texts = bool(texts) and len(texts) == len(present)
    paths = only_texts and len(set(texts)) == len(texts) and all("/" in text for text in texts)
    if paths or (only_texts and all(map(_TIME.search, texts))):
        vague = _INCIDENTAL
    else:
        vague = 1 if is_seed(field) else 0
    return vague, len(present) < len(values)


def is_seed(field: str) -> bool:
    """Returns whether a column holds seeds: runs that differ only in these repeat each other."""
    return "seed" in field.rsplit(".", 1)[-1].lower()


def is_counter(field: str) -> bool:
    """Returns whether a metric counts rows, such as an epoch."""
    return _COUNTERS.fullmatch(field.rsplit(".", 1)[-1].lower()) is not None
