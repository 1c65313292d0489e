"""``mlxpy logs``."""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import click

from mlxpy_core._cli._arguments import logs_option, run_argument
from mlxpy_core._cli._selection import choose_run
from mlxpy_core._errors import MlxpyError, StorageError
from mlxpy_core._io._files import open_regular
from mlxpy_core._io._terminal_text import TerminalText
from mlxpy_core._runs._directory import RunDirectory

_ASK_S = 5.0


@click.command()
@run_argument()
@logs_option
@click.option("-f", "--follow", "following", is_flag=True, help="Go on until the run has ended.")
@click.option("--stderr", is_flag=True, help="Print log.stderr rather than log.stdout.")
@click.option(
    "-n", "--lines", type=click.IntRange(min=0), metavar="LINES", help="Begin with the last LINES lines."
)
def command(run: str, logs: Path, following: bool, stderr: bool, lines: int | None) -> None:
    """Prints what a run printed.

    Runs have it in files if a scheduler started them, or with log_streams_to_file. A terminal gets its
    text and colours; what would move the cursor or drive the terminal otherwise is shown as escapes.

    \b
    Examples:
      mlxpy logs 3
      mlxpy logs 3 -f -n 20
      mlxpy logs 3 --stderr
    """
    directory = choose_run(logs, run)
    path = directory.path / ("log.stderr" if stderr else "log.stdout")
    try:
        if following:
            _print_parts(_followed(directory, path, lines))
            return
        with os.fdopen(open_regular(path, directory.logs), "rb") as file:
            file.seek(_beginning(file, lines))
            _print_parts(iter(lambda: file.read(2**20), b""))
    except FileNotFoundError as error:
        raise _no_file(directory, path) from error
    except (BrokenPipeError, StorageError):
        raise
    except OSError as error:
        raise StorageError(f"cannot read {path}", error) from error


def _print_parts(parts: Iterable[bytes]) -> None:
    """Prints output: into a pipe as it is, to a terminal with nothing but its colours."""
    out = sys.stdout.buffer
    shown = TerminalText() if sys.stdout.isatty() else None
    try:
        for part in parts:
            out.write(shown.feed(part) if shown else part)
            out.flush()
    finally:
        if shown:
            out.write(shown.finish())
            out.flush()


def _followed(directory: RunDirectory, path: Path, lines: int | None) -> Iterator[bytes]:
    from mlxpy_core._cli._follow import follow
    from mlxpy_core._operations._reconciling import reconcile_runs
    from mlxpy_core._runs._info_file import info_path, read_status
    from mlxpy_core._runs._status import ENDED

    asked = time.monotonic()

    def ended() -> bool:
        nonlocal asked
        # One whose process was killed would be followed for ever.
        if time.monotonic() - asked > _ASK_S:
            reconcile_runs([directory])
            asked = time.monotonic()
        return read_status(directory) in ENDED

    if read_status(directory) is None and os.path.lexists(info_path(directory.path)):
        raise MlxpyError(
            f"the info.yaml of run {directory.log_id} cannot be read, which would tell its end: "
            "leave out --follow"
        )
    if not path.exists():
        missing = _no_file(directory, path)
        if read_status(directory) in ENDED:
            raise missing
        click.echo(f"mlxpy: {missing}: waiting for it", err=True)
    start = 0
    if path.exists():
        with os.fdopen(open_regular(path, directory.logs), "rb") as file:
            start = _beginning(file, lines)
    yield from follow(path, directory.logs, start, ended)


def _no_file(directory: RunDirectory, path: Path) -> MlxpyError:
    return MlxpyError(
        f"run {directory.log_id} has no {path.name}, which it has from the start of a scheduler's job, "
        "or with log_streams_to_file"
    )


def _beginning(file: BinaryIO, lines: int | None) -> int:
    """Returns where the last lines of a file begin, in bytes; 0 for all of it."""
    if lines is None:
        return 0
    position = file.seek(0, 2)
    end, found = position, 0
    while position:
        size = min(2**16, position)
        position -= size
        file.seek(position)
        block = file.read(size)
        # The end of the last line is no line's beginning.
        place = size - 1 if position + size == end and block.endswith(b"\n") else size
        while found < lines and (place := block.rfind(b"\n", 0, place)) >= 0:
            found += 1
        if found == lines:
            return position + place + 1 if lines else end
    return 0
