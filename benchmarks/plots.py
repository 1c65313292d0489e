"""Draws the table "Seen" of benchmarks/README.md: ``python -m benchmarks.plots FILE``."""

import re
import sys
from pathlib import Path

import matplotlib

README = Path(__file__).with_name("README.md")
UNITS = {"µs": 1e-6, "ms": 1e-3, "s": 1.0}


def main() -> None:
    """Draws what was seen into the file that the command names."""
    matplotlib.use("agg")
    from matplotlib import pyplot

    rows = times()
    figure, axes = pyplot.subplots(figsize=(8, 0.45 * len(rows) + 1), layout="constrained")
    for place, (_, ours, floor) in enumerate(reversed(rows)):
        axes.plot([ours, floor], [place, place], color="0.8", zorder=1)
        axes.scatter(floor, place, color="0.55", label="" if place else "what it is compared with")
        axes.scatter(ours, place, color="tab:blue", label="" if place else "mlxpy")
    axes.set_yticks(range(len(rows)), [name for name, _, _ in reversed(rows)])
    axes.set_xscale("log")
    axes.set_xlabel("seconds")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper right", ncols=2, frameon=False)
    figure.savefig(sys.argv[1])


def times() -> list[tuple[str, float, float]]:
    """Returns what was seen of each benchmark that has two times: its name, ours, and the other."""
    table = README.read_text().split("\n## Seen\n")[1]
    cell = r"([\d.]+) (µs|ms|s)"
    found = re.findall(rf"^\| `(\w+)` \| {cell} \| {cell} \|", table, re.MULTILINE)
    return [
        (name, float(ours) * UNITS[unit], float(floor) * UNITS[other])
        for name, ours, unit, floor, other in found
    ]


if __name__ == "__main__":
    main()
