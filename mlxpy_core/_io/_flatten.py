"""Nested dicts as one level of dotted names, as the reader's columns are named.

Each name here stands for one place in the dicts: a key that could be taken for several keys, or for
another one, is written in double quotes as in JSON (``config."a.b"``), one that is no text without
quotes (``config.m.1``), in brackets if it holds a dot (``config.m.[1.5]``). `public_names` leaves the
quotes out wherever nothing else has that name.
"""

import difflib
import json
import re
from collections import Counter
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from datetime import date
from typing import Any

from ._text import is_unicode

NESTED = "\x1f"
"""What joins the keys of nested dicts in a metric's key; Unicode calls it the unit separator."""

_CONSTANTS = frozenset({"true", "false", "null", "NaN", "Infinity"})
_PREFIX = re.compile(r"^(config|info)\.")
_NUMBER = re.compile(r"-?(?:\d+(?:e[+-]?\d+)?|Infinity)")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', flags=re.DOTALL)
_PART = re.compile(rf"(?:(?<=\.)|^)(?:{_QUOTED.pattern}|\[[^\]]*\])(?=\.|$)", flags=re.DOTALL)


def flatten(tree: Mapping[Any, Any], prefix: str, leaves: dict[str, Any]) -> None:
    """Adds the leaves of nested dicts to `leaves`; an empty dict is a leaf."""
    for key, value in tree.items():
        plain = type(key) is str and key.isidentifier() and key not in _CONSTANTS
        name = f"{prefix}.{key if plain else key_text(key)}"
        if type(value) is dict and value:
            flatten(value, name, leaves)
        else:
            leaves[name] = with_text_keys(value) if type(value) is list else value


def with_text_keys(value: Any) -> Any:
    """Returns plain data whose dicts have text keys, as in JSON, and lose none: 1 beside ``"1"``."""
    if isinstance(value, (list, tuple)):
        nested = any(isinstance(item, (dict, list, tuple)) for item in value)
        return [with_text_keys(item) for item in value] if nested else value
    if not isinstance(value, dict):
        return value
    others = {_text(key) for key in value if not isinstance(key, str)}
    texts = [_quoted(key) if key in others else _text(key) for key in value]
    return dict(zip(texts, map(with_text_keys, value.values()), strict=True))


def key_text(key: Any) -> str:
    """Returns a key as a part of a name, another one for every key."""
    if isinstance(key, date):  # what is read from YAML has its text
        key = key.isoformat()
    if not isinstance(key, str):
        text = _text(key)
        return text if _NUMBER.fullmatch(text) or text in _CONSTANTS else f"[{text}]"
    unclear = not key or key[0] == "[" or "." in key or '"' in key or not key.isprintable()
    return _quoted(key) if unclear or key in _CONSTANTS or _NUMBER.fullmatch(key) else key


def flat_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a row of metrics with the leaves of nested dicts in place of these; {} is a leaf."""
    return {name: leaf for key, value in row.items() for name, leaf in _leaves(key, value)}


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if type(value) is dict and value:
        for name, item in value.items():
            yield from _leaves(key + NESTED + name, item)
    else:
        yield key, value


def metric_name(log: str, key: str) -> str:
    """Names the column of a metric, in which a log's name is quoted if it begins as others' names do."""
    if log[:1] == '"' or log.partition(".")[0] in ("artifact", "config", "info"):
        log = _quoted(log)
    if NESTED in key:  # in quotes all: a log of the first part's name may have the others as key
        return ".".join([log, *map(_quoted, key.split(NESTED))])
    clear = key and "." not in key and '"' not in key and key.isprintable()
    return f"{log}.{key if clear else _quoted(key)}"


def app_metric_name(log: str, key: str) -> str:
    """Names the column of a metric that the app wrote: in brackets, which no own metric's name has.

    `public_names` leaves them out wherever nothing else has that name.
    """
    return ".".join([log, *(_quoted(p) if _is_unclear(p) else f"[{p}]" for p in key.split(NESTED))])


def _is_unclear(part: str) -> bool:
    return not part or "]" in part or '"' in part or not part.isprintable()


def public_names(names: Collection[str]) -> dict[str, str]:
    """Returns which names need no quotes among these, and what they are without.

    What is left in quotes could be taken for another name, cannot be printed, or holds quotes itself.
    """
    if not (quoted := list(filter(has_quotes, names))):
        return {}
    meanings = Counter(map(_unquoted, names))
    return {
        name: plain
        for name in quoted
        if meanings[plain := _unquoted(name)] == 1 and '"' not in plain and plain.isprintable()
        and ".." not in f"{plain}." and not plain.startswith(".") and not name.startswith('"')
    }  # fmt: skip


def has_quotes(name: str) -> bool:
    """Returns whether a part of a name may be in quotes or brackets."""
    return '"' in name or ".[" in name


def find_field(field: str, known: Container[str], aliases: Mapping[str, str]) -> str | None:
    """Returns the name of the column that somebody typed, perhaps with quotes that it does not need."""
    if (name := next((name for name in _names_of_mlxp(field) if name in known), None)) or field in known:
        return name or field
    if not has_quotes(field) and field.isprintable():
        return None
    quoted = ".".join(map(key_text, field.split(".")))
    names = (aliases.get(name, name) for name in (field, _PART.sub(_requoted, field), quoted))
    return next((name for name in names if name in known), None)


def _names_of_mlxp(field: str) -> Iterator[str]:
    """Returns the names that a column may have here that MLXP calls so."""
    if field in ("info.logger.log_id", "info.logger.log_dir"):  # runs of MLXP have these, too
        yield field.replace(".logger", "")
    elif field.startswith("artifact.") and ".." in f"{field}.":  # MLXP ends a type with a dot
        plain = re.sub(r"\.+", ".", field).rstrip(".")
        yield from (plain, plain.replace(".pickle", ".Checkpoint", 1))  # it pickles checkpoints


def no_field(field: str, fields: Iterable[str]) -> str:
    """Says that there is no such column, and which are like it; the first ones if none is."""
    names = list(fields)
    if near := near_fields(field, names):
        return f"no column {field!r}: did you mean {' or '.join(near)}?"
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"no column {field!r}: there are {', '.join(names[:5])}{more}"


def near_fields(field: str, names: Iterable[str]) -> list[str]:
    """Returns up to three names that somebody may have meant who typed another one.

    Those with the same last part, such as ``lr``; or those that are spelt nearly so; or those that have
    it as a part of theirs; or those of the same group.
    """
    # The prefix that all share says nothing about likeness.
    shorts = {_PREFIX.sub("", name).lower(): name for name in reversed(list(names))}
    wanted = _PREFIX.sub("", field).lower()
    group, _, last = wanted.rpartition(".")
    return (
        [name for short, name in reversed(shorts.items()) if short.rpartition(".")[2] == last]
        or [shorts[short] for short in difflib.get_close_matches(wanted, shorts, n=3)]
        or [name for short, name in reversed(shorts.items()) if len(wanted) > 2 and wanted in short]
        or [name for short, name in reversed(shorts.items()) if group and short.startswith(f"{group}.")]
    )[:3]


def _unquoted(name: str) -> str:
    return _PART.sub(lambda part: str(_meant(part[0])), name) if '"' in name or "[" in name else name


def _meant(part: str) -> str:
    try:
        return str(json.loads(part)) if part[0] == '"' else part[1:-1]
    except ValueError:
        return part


def _requoted(part: "re.Match[str]") -> str:
    """Returns a part of a name without quotes that mean nothing."""
    meant = _meant(part[0])
    return key_text(meant) if part[0][0] == '"' and meant != part[0] else part[0]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=not is_unicode(text))


def _text(key: Any) -> str:
    if isinstance(key, str):
        return key
    try:
        return json.dumps(key)
    except (TypeError, ValueError):
        return key.isoformat() if isinstance(key, date) else str(key)
