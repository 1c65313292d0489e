"""Eighteen runs, as in MLXP's guide."""

from pathlib import Path

import mlxpy


def make_guide_runs(logs: Path) -> Path:
    """Makes the runs of ``model.num_units=2,3,4 optimizer.lr=10.,1. seed=1,2,3``."""
    for units in (2, 3, 4):
        for lr in (10.0, 1.0):
            for seed in (1, 2, 3):
                config = {
                    "model": {"num_units": units},
                    "optimizer": {"lr": lr},
                    "seed": seed,
                    "same": "x",
                }
                with mlxpy.Logger(parent_log_dir=logs, config=config) as logger:
                    for epoch in range(4):
                        # For 3 units a large learning rate is best, for others a small one.
                        good = (lr == 10.0) == (units == 3)
                        loss = (units + good) / (epoch + 1) + 0.01 * seed
                        logger.log_metrics({"loss": loss, "epoch": epoch}, "train")
                        logger.log_metrics({"loss": 2 * loss}, "test")
    return logs
