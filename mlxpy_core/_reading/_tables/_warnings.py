"""What a reader is warned of: runs and lines of files that could not be read."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path


class UnreadableRunWarning(UserWarning):
    """Some runs could not be read; the others were."""


def warn_of_unreadable_runs(logs: Path, unreadable: Mapping[int, str]) -> None:
    """Warns who has opened a reader."""
    named = [f"{log_id} ({why})" for log_id, why in sorted(unreadable.items())]
    more = f" and {len(named) - 10} more" if len(named) > 10 else ""
    warnings.warn(
        f"{len(named)} of the runs in {logs} cannot be read and are left out: "
        f"{', '.join(named[:10])}{more}",
        UnreadableRunWarning,
        stacklevel=4,
    )


def warn_of_damaged_lines(damaged: Sequence[str], stacklevel: int) -> None:
    """Warns of lines of metrics files that are no rows, if there are any.

    Args:
        damaged: their files and numbers.
        stacklevel: that of `warnings.warn`, seen from who calls this.
    """
    if damaged:
        more = f" and {len(damaged) - 5} more" if len(damaged) > 5 else ""
        warnings.warn(
            f"lines that are no rows are left out: {', '.join(damaged[:5])}{more}",
            UnreadableRunWarning,
            stacklevel=stacklevel + 1,
        )
