"""When a copy was asked for last: ``mlxpy clean`` keeps what is in use."""

import os
from pathlib import Path


def mark_used(copy: Path) -> bool:
    """Has a copy of code or configs count as asked for now; returns whether it is there."""
    try:
        os.utime(copy)
    except FileNotFoundError:
        return False
    return True
