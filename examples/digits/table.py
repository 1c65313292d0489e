"""Shows the runs of the digits example as a table: ``python table.py [LOGS]``."""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

COLUMNS = ("run", "status", "lr", "hidden", "seed", "epochs", "loss", "accuracy")


def row_of(run: Path) -> tuple[str, ...]:
    """Collects what the table shows of one run."""
    info = yaml.safe_load((run / "metadata" / "info.yaml").read_text())
    config = yaml.safe_load((run / "metadata" / "config.yaml").read_text())
    train, test = last_row(run, "train"), last_row(run, "test")
    return (
        run.name,
        info["status"],
        f"{config['optimizer']['lr']:g}",
        "x".join(map(str, config["model"]["hidden"])),
        str(config["seed"]),
        str(train.get("epoch", -1) + 1),
        f"{train.get('loss', float('nan')):.3f}",
        f"{test.get('accuracy', float('nan')):.3f}",
    )


def last_row(run: Path, log_name: str) -> dict[str, Any]:
    """Reads the last row of a metrics file; empty if nothing was logged."""
    path = run / "metrics" / f"{log_name}.json"
    lines = path.read_text().splitlines() if path.exists() else []
    return json.loads(lines[-1]) if lines else {}


def main() -> None:
    logs = Path(sys.argv[1] if len(sys.argv) > 1 else "logs")
    runs = sorted(
        (path.parent.parent for path in logs.glob("[0-9]*/metadata/info.yaml")),
        key=lambda run: int(run.name),
    )
    if not runs:
        sys.exit(f"no runs in {logs}: train first, with hydra/callbacks=mlxp_logger")
    rows = [COLUMNS, *map(row_of, runs)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))


if __name__ == "__main__":
    main()
