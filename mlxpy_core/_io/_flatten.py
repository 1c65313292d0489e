"""Nested dicts as one level of dotted names, as the reader's columns are named."""

import json
from collections.abc import Mapping
from typing import Any


def flatten(tree: Mapping[Any, Any], prefix: str, leaves: dict[str, Any]) -> None:
    """Adds the leaves of nested dicts to `leaves`; an empty dict is a leaf."""
    for key, value in tree.items():
        name = f"{prefix}.{key if type(key) is str else _key_text(key)}"
        if type(value) is dict and value:
            flatten(value, name, leaves)
        else:
            leaves[name] = value


def _key_text(key: Any) -> str:
    try:
        return json.dumps(key)
    except TypeError:  # a date
        return str(key)
