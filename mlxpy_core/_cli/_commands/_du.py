"""``mlxpy du``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from mlxpy_core._cli._arguments import json_option, logs_option, runs_argument
from mlxpy_core._cli._json import print_json

_COPY = "info.version_manager.safe_copy"


@click.command(short_help="Shows where the space is: runs, copies of code, the trash.")
@runs_argument(required=False)
@logs_option
@click.option("-n", "--largest", type=click.IntRange(min=1), default=20, show_default=True, metavar="N",
              help="Show the N largest runs.")  # fmt: skip
@click.option("--seconds", type=click.FloatRange(min=0), default=60, show_default=True,
              help="How long to look.")  # fmt: skip
@json_option
def command(runs: Sequence[str], logs: Path, largest: int, seconds: float, as_json: bool) -> None:
    """Shows where the space is: of runs, copies of their code, caches and the trash.

    Links are not followed. What takes longer than --seconds to look at is not counted, which is said.

    \b
    Examples:
      mlxpy du
      mlxpy du 12-40
      mlxpy du "info.status == 'FAILED'" -n 5
    """
    from mlxpy_core._cli._search import find_runs
    from mlxpy_core._cli._sizes import size_text
    from mlxpy_core._cli._table import print_table
    from mlxpy_core._io._progress import with_progress
    from mlxpy_core._operations._space import Measure
    from mlxpy_core._runs._trash import trash_of

    found = find_runs(logs, runs, archived=True)
    numbers = list(found["info.log_id"]) if len(found) else []
    measure = Measure(seconds)
    rows: list[dict[str, Any]] = []
    for number in with_progress(numbers, f"looking at runs of {logs.name}"):
        parts = measure.of_run(logs / str(number))
        rows.append({"id": number, "size": sum(parts.values()), **parts})
    # No dict: `in` would look among its runs.
    copies = {str(copy) for copy in found[_COPY] if copy} if _COPY in found.keys() else set()  # noqa: SIM118
    besides = {"copies of code": sum(measure.of_tree(Path(copy)) for copy in sorted(copies))}
    if not runs:
        besides["caches"] = measure.of_tree(logs / ".mlxpy")
        besides["trash"] = measure.of_tree(trash_of(logs))
        hidden = (logs / name for name in (".configs", ".sweeps"))
        besides["sweeps and their configs"] = sum(map(measure.of_tree, hidden))
    total = sum(row["size"] for row in rows) + sum(besides.values())
    if as_json:
        print_json([*rows, *({"what": what, "size": size} for what, size in besides.items())])
    else:
        rows.sort(key=lambda row: -row["size"])
        if rows:
            print_table(_columns(rows[:largest]))
        if len(rows) > largest:
            rest = sum(row["size"] for row in rows[largest:])
            click.echo(f"{len(rows) - largest} more runs: {size_text(rest)}")
        for what, size in besides.items():
            if size:
                click.echo(f"{what}: {size_text(size)}")
        click.echo(f"total: {size_text(total)}")
    if not measure.whole:
        click.echo(f"mlxpy: this is not all: it was looked at for {seconds:g} s (--seconds)", err=True)


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    from mlxpy_core._cli._sizes import size_text

    shown = [name for name in rows[0] if name in ("id", "size") or any(row[name] for row in rows)]
    return {
        name: [row[name] if name == "id" else size_text(row[name]) for row in rows] for name in shown
    }
