"""Directories of runs to read: ours by the engine itself, MLXP 1.0.5's in its format."""

import json
import os
import sys
from datetime import datetime
from pathlib import Path

import mlxpy

SEEDS = 10


def make_runs(logs: Path, count: int, rows: int) -> None:
    """Has the engine log `count` runs of `rows` rows each, without waiting for the disk."""
    waiting, os.fsync = os.fsync, lambda descriptor: None
    try:
        for number in range(count):
            with mlxpy.Logger(parent_log_dir=logs, config=config_of(number)) as logger:
                for row in range(rows):
                    logger.log_metrics(metrics_of(number, row), "train")
    finally:
        os.fsync = waiting


def make_mlxp_runs(logs: Path, count: int, rows: int) -> None:
    """Writes the files that MLXP 1.0.5 leaves for the same runs."""
    for log_id in range(1, count + 1):
        run = logs / str(log_id)
        for name in ("metadata", "metrics/.keys", "artifacts"):
            (run / name).mkdir(parents=True)
        now = datetime.now()
        info = {
            "status": "COMPLETE",
            "current_file_path": os.path.abspath(sys.argv[0]),
            "executable": sys.executable,
            "hostname": "host",
            "process_id": os.getpid(),
            "start_date": f"{now:%d/%m/%Y}",
            "start_time": f"{now:%H:%M:%S}",
            "end_date": f"{now:%d/%m/%Y}",
            "end_time": f"{now:%H:%M:%S}",
            "work_dir": os.getcwd(),
            "logger": {
                "log_id": log_id,
                "log_dir": str(run),
                "metrics_dir": str(run / "metrics"),
                "metadata_dir": str(run / "metadata"),
                "artifacts_dir": str(run / "artifacts"),
            },
            "scheduler": None,
            "version_manager": None,
        }
        from mlxpy_core import dump_yaml

        (run / "metadata/info.yaml").write_text(dump_yaml(info))
        (run / "metadata/config.yaml").write_text(dump_yaml(config_of(log_id - 1)))
        (run / "metadata/mlxp.yaml").write_text(dump_yaml({"use_logger": True}))
        (run / "metrics/.keys/train.yaml").write_text("loss: ''\naccuracy: ''\nepoch: ''\n")
        lines = (json.dumps(metrics_of(log_id - 1, row)) + "\n" for row in range(rows))
        (run / "metrics/train.json").write_text("".join(lines))


def config_of(number: int) -> dict[str, object]:
    """Returns the config of a run: a sweep over learning rates, widths and seeds."""
    setting, seed = divmod(number, SEEDS)
    return {
        "seed": seed,
        "model": {"name": "mlp", "width": 2 ** (setting % 5 + 4), "num_layers": 4, "activation": "relu"},
        "optimizer": {"name": "adam", "lr": 10.0 ** -(setting % 4), "weight_decay": 1e-4},
        "data": {"name": "digits", "batch_size": 64, "augment": False},
        "num_epoch": 100,
    }


def metrics_of(number: int, row: int) -> dict[str, float]:
    """Returns a row of metrics of a run."""
    return {"loss": 1 / (row + 1 + number % 7), "accuracy": 1 - 1 / (row + 2), "epoch": row}
