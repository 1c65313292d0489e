"""Values that runs may hold, and that whoever shows them must show, not do."""

from pathlib import Path

import pytest

import mlxpy

ALERT = "<img src=x onerror=alert(1)>"
HOSTILE = [
    ALERT,
    "</script><script>alert(2)</script>",
    "<!--<script>",
    "&lt;b&gt; & <a href='javascript:alert(3)'>x</a>",
    '"><svg/onload=fetch("https://example.org/")>',
    "\x1b]0;title\x07\x1b[2J\u202e%{x}$\\alpha$",
]
ESCAPED = "\\x1b]0;title\\x07\\x1b[2J\\u202e%{x}"
"""How the last of them is shown."""
FORMULAS = ["=1+1", "+1+A1", "-A1", "@SUM(A1)", "=HYPERLINK(1)"]


def fail_hostilely(logs: Path) -> None:
    """Makes a failed run whose config, names, metrics, log and image hold such values.

    Raises:
        ValueError: always: the run has failed by it.
    """
    config = {"lr": ALERT, "model": {"name": HOSTILE[1]}, ALERT: HOSTILE[2], "__proto__": HOSTILE}
    with mlxpy.Logger(parent_log_dir=logs, config={**config, "t": HOSTILE[5]}) as logger:
        run = Path(logger.log_dir)
        for value in range(3):
            row = {"loss": float(value), HOSTILE[1]: value, HOSTILE[3]: HOSTILE[0]}
            logger.log_metrics(row, "train")
        (run / "log.stderr").write_text("\n".join(["early", *HOSTILE, "\x1b[31mred\x1b[0m end"]))
        (run / "artifacts" / "image").mkdir(parents=True)
        (run / "artifacts" / "image" / "no.png").write_text(HOSTILE[4])
        raise ValueError(HOSTILE[1])


def make_hostile_run(logs: Path) -> None:
    """Makes the run of `fail_hostilely`."""
    with pytest.raises(ValueError, match="alert"):
        fail_hostilely(logs)
