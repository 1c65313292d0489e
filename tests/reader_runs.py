"""Runs for the tests of the reader, and what it finds and keeps of them."""

from pathlib import Path
from typing import Any

import mlxpy
from mlxpy_core import Reader


def make_run(
    logs: Path, config: dict[str, Any], losses: list[float] | None = None, **options: Any
) -> int:
    with mlxpy.Logger(parent_log_dir=logs, config=config, **options) as logger:
        for epoch, loss in enumerate(losses or []):
            logger.log_metrics({"loss": loss, "epoch": epoch}, "train")
        return logger.log_id


def cache_files(logs: Path) -> list[Path]:
    return sorted((logs / ".mlxpy").rglob("*.arrow"))


def found(reader: Reader, query: str = "") -> list[int]:
    return reader.search(query)["info.log_id"]
