"""Asks which learning rate reads digits best: ``python results.py [LOGS]``, after a sweep."""

import sys
from pathlib import Path

import mlxpy

COLUMNS = ["info.log_id", "config.optimizer.lr", "config.seed", "test.epoch", "test.accuracy"]


def last(accuracies: list[list[float]]) -> float:
    return sum(accuracy[-1] for accuracy in accuracies) / len(accuracies)


def main() -> None:
    logs = Path(sys.argv[1] if len(sys.argv) > 1 else "logs")
    results = mlxpy.Reader(logs).search("info.status == 'COMPLETE' & config.optimizer.lr <= 1e-2")
    if not len(results):
        sys.exit(f"no such runs in {logs}: train first, with hydra/callbacks=mlxp_logger")
    print(results.select(COLUMNS), end="\n\n")
    print(results.groupby("config.optimizer.lr").aggregate((last, "test.accuracy", "accuracy")))

    ax = results.plot("test.epoch", "test.accuracy", hue="config.optimizer.lr")
    ax.figure.savefig(logs / "accuracy.png", dpi=100, bbox_inches="tight")
    print(f"\nPicture: {logs / 'accuracy.png'}")


if __name__ == "__main__":
    try:
        main()
    except mlxpy.MlxpyError as error:
        sys.exit(str(error))
