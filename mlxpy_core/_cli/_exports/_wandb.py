"""Runs as directories of Weights & Biases, which its command ``wandb sync`` uploads."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from mlxpy_core._errors import MlxpyError

from ._exported_run import ExportedRun

_FAILED = ("FAILED", "INTERRUPTED", "KILLED")


def export_to_wandb(runs: Iterable[ExportedRun], place: str = "") -> int:
    """Makes a directory ``wandb/offline-run-<time>-<identity>`` of each run; nothing is uploaded.

    A directory that was made of a run before is removed.

    Returns:
        How many were made.

    Raises:
        MlxpyError: W&B refused.
        ImportError: wandb is not installed.
    """
    import wandb

    try:
        return _export_all(runs, place)
    except wandb.Error as error:
        raise MlxpyError(f"W&B refused: {' '.join(str(error).split())}") from error


def _export_all(runs: Iterable[ExportedRun], place: str) -> int:
    import wandb

    place = place or os.environ.get("WANDB_DIR") or "."
    count = 0
    for run in runs:
        for earlier in Path(place, "wandb").glob(f"offline-run-*-{run.run_id}"):
            shutil.rmtree(earlier)
        made = wandb.init(
            dir=place,
            project=os.environ.get("WANDB_PROJECT") or "mlxpy",
            mode="offline",
            id=run.run_id,
            name=f"run {run.log_id}",
            config=run.config,
            settings=wandb.Settings(
                console="off",
                silent=True,
                save_code=False,
                disable_git=True,
                x_disable_stats=True,  # they would be of this process
                x_disable_meta=True,
            ),
        )
        # Each log counts its own steps, where W&B has one count for all.
        for log in dict.fromkeys(row.log for row in run.rows()):
            made.define_metric(f"{log}/*", step_metric=f"{log}/step")
        for row in run.rows():
            named = {f"{row.log}/{key}": value for key, value in row.values.items()}
            made.log({**named, f"{row.log}/step": row.step, "_timestamp": row.time})
        made.summary.update({"mlxpy/status": run.status, "mlxpy/log_dir": str(run.directory)})
        made.finish(exit_code=int(run.status in _FAILED))
        count += 1
    return count
