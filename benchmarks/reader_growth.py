"""Draws how the time of opening runs grows with their number, ours and MLXP's, into docs/."""

import sys
from pathlib import Path

from ._runs import make_mlxp_runs
from .reader import LARGE_ROWS, open_and_query, open_first, open_mlxp, runs

OURS = (100, 300, 1000, 3000, 10_000, 100_000)
MLXPS = (100, 300, 1000, 2000)
DOCS = Path(__file__).parent.parent / "docs"


def main() -> None:
    """Measures each once, after a turn that does not count."""
    from matplotlib import pyplot

    first, later, theirs = {}, {}, {}
    for count in OURS:
        with runs(count, LARGE_ROWS) as logs:
            open_first(logs)
            first[count] = open_first(logs) / 1e3
            later[count] = min(open_and_query(logs) for _ in range(3)) / 1e3
            print(count, first[count], later[count], file=sys.stderr)
    for count in MLXPS:
        with runs(count, LARGE_ROWS, make_mlxp_runs) as logs:
            theirs[count] = open_mlxp(logs) / 1e3
            print(count, theirs[count], file=sys.stderr)
    figure, ax = pyplot.subplots(figsize=(7, 4.5))
    ax.loglog(list(theirs), list(theirs.values()), "o-", label="MLXP 1.0.5, each opening")
    ax.loglog(list(first), list(first.values()), "o-", label="mlxpy, first opening")
    ax.loglog(list(later), list(later.values()), "o-", label="mlxpy, later opening and a query")
    ax.set_xlabel("runs")
    ax.set_ylabel("seconds")
    ax.grid(visible=True, alpha=0.3)
    ax.legend()
    figure.savefig(DOCS / "reader_growth.png", dpi=110, bbox_inches="tight")
    lines = [
        "| runs | MLXP 1.0.5, each opening | first opening | later opening and a query |",
        "|---|---|---|---|",
    ]
    for count in sorted({*OURS, *MLXPS}):
        cells = (_seconds(times.get(count)) for times in (theirs, first, later))
        lines.append(f"| {count:,} | {' | '.join(cells)} |")
    print("\n".join(lines))  # for docs/reading.md


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3g} s"


if __name__ == "__main__":
    main()
