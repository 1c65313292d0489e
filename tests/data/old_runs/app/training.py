"""What the programs of these runs do: a training whose every step is known, and that can be continued."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from lines import load_lines, save_lines

MISHAP_AFTER = 6


def next_value(value: int) -> int:
    return value * 48271 % 2147483647


def train(config: Any, logger: Any) -> int:
    rank = int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")))
    try:
        state = logger.load_checkpoint()
    except FileNotFoundError:
        state = {"step": 0, "value": config.seed}
    wait_for_all_ranks(rank)  # before one of them writes a checkpoint that others would load
    for step in range(state["step"], config.steps):
        state = {"step": step + 1, "value": next_value(state["value"])}
        logger.log_metrics({"step": step, "value": state["value"], "rank": rank}, "train")
        if step % 3 == 0:
            logger.log_metrics({"score": state["value"] / 7, "worst": float("inf")}, "eval")
        if step % 4 == 0:
            logger.log_checkpoint(state)
        if step == MISHAP_AFTER:
            have_mishap()
    print("trained to", state["value"])
    if config.artifacts:
        log_artifacts(logger)
    return int(state["value"])


def have_mishap() -> None:
    """Does what the file `mishap` says: a signal's name, or `error`."""
    mishap = Path("mishap")
    said = mishap.read_text().strip() if mishap.exists() else ""
    if said == "error":
        raise ValueError("as asked")
    if said:
        os.kill(os.getpid(), signal.Signals[said])


def wait_for_all_ranks(rank: int) -> None:
    folder, size = os.environ.get("BARRIER"), int(os.environ.get("RANKS", "1"))
    if folder:
        Path(folder, str(rank)).touch()
        while len(os.listdir(folder)) < size:
            time.sleep(0.02)


def log_artifacts(logger: Any) -> None:
    import numpy

    logger.register_artifact_type("lines", save_lines, load_lines)
    pixels = numpy.arange(12, dtype=numpy.uint8).reshape(2, 2, 3)
    logger.log_artifact({"layers": [1, 2]}, "model", "pickle")
    logger.log_artifact(numpy.arange(4.0), "weights", "numpy")
    logger.log_artifact(pixels, "picture", "image")
    logger.log_artifact({"best": None}, "summary", "json")
    logger.log_artifact("é\n", "remark", "text")
    logger.log_artifact(["one", "two"], "folder/names", "lines")
