"""What commands print for programs."""

import json
import math
from collections.abc import Sequence
from typing import Any

import click

from mlxpy_core._io._flatten import with_text_keys


def print_json(rows: Sequence[Any]) -> None:
    """Prints an array for programs; what is no number in JSON (NaN, infinities) is null."""
    click.echo(json.dumps([strict_json(row) for row in rows], indent=2, default=str))


def strict_json(value: Any) -> Any:
    """Returns plain data without what JSON has no number for: NaN and infinities become null."""
    if isinstance(value, dict):
        return {key: strict_json(item) for key, item in with_text_keys(value).items()}
    if isinstance(value, (list, tuple)):
        return [strict_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
