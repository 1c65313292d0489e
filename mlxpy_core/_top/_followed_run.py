"""One run as its screen shows it: what it is, its curves, the settings that differ, its output."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from mlxpy_core._io._terminal_text import TerminalText
from mlxpy_core._io._text import clean, duration_text
from mlxpy_core._reading._moments import moment
from mlxpy_core._reading._tables._metric_lines import rows_of_lines
from mlxpy_core._runs._metrics_files import file_of_log
from mlxpy_core._runs._status import Status

from ._growing_file import GrowingFile
from ._live_run import Metric, is_finite
from ._runs import Runs
from ._texts import outlook_text

OUTPUTS = ("log.stdout", "log.stderr")

_TAIL = 2**16  # bytes of the output
_LINES = 500
_POINTS = 4000

Curve = tuple[Sequence[float], Sequence[float]]


@dataclass(frozen=True)
class Detail:
    """What the screen of a run shows.

    Attributes:
        log_id: the run's number.
        status: its status; empty: it is gone.
        facts: what else there is to say, a line each.
        settings: the settings in which it differs from others, as texts.
        curves: row numbers and values of metrics by their names.
        output: the name of the file of its output.
        text: the end of that, in its colours.
    """

    log_id: int
    status: str = ""
    facts: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)
    output: str = OUTPUTS[0]
    text: str = ""


class FollowedRun:
    """Reads what is new of a run; used by one thread.

    Args:
        runs: the runs.
        log_id: the run's number.

    Attributes:
        output: the name of the file of output that is followed.
    """

    def __init__(self, runs: Runs, log_id: int) -> None:
        self._runs = runs
        self._log_id = log_id
        self._run = runs.logs / str(log_id)
        self._curves: dict[str, _Curve] = {}
        self._names: list[str] = []
        self.show_output(OUTPUTS[0])

    def show_metrics(self, names: Sequence[str]) -> None:
        """Has these metrics be the curves."""
        self._names = list(names)

    def show_output(self, name: str) -> None:
        """Has the other file of output be followed."""
        self.output = name
        self._text = _Output(self._run / name, self._runs)

    def look(self) -> Detail:
        """Reads what is new."""
        run = self._runs.run(self._log_id)
        if not run or not self._run.exists():
            return Detail(self._log_id)
        curves = {name: self._curve(name) for name in self._names}
        return Detail(
            self._log_id,
            clean(run.get("info.status")),
            self._facts(run),
            self._runs.differing(self._log_id),
            {name: curve for name, curve in curves.items() if curve[0]},
            self.output,
            self._text.end(),
        )

    def _facts(self, run: Mapping[str, Any]) -> list[str]:
        start = moment(run.get("info.start_date"), run.get("info.start_time"))
        end = moment(run.get("info.end_date"), run.get("info.end_time"))
        if end is None and run.get("info.status") == Status.RUNNING.value:
            end = datetime.now().astimezone()
        took = duration_text((end - start).total_seconds()) if start and end else None
        outlook = self._runs.reader.outlooks.get(self._log_id)
        facts = [took, run.get("info.hostname"), outlook and outlook_text(outlook)]
        facts += [", ".join(map(str, run.get("info.tags") or [])), run.get("info.note")]
        lines = ["  ".join(clean(fact) for fact in facts if fact)]
        if kind := run.get("info.exception.type"):
            lines.append(clean(f"{kind}: {run.get('info.exception.message', '')}"))
        return lines

    def _curve(self, name: str) -> Curve:
        source = self._runs.source_of(name)
        if source is None:  # of files that only the reader reads
            series = self._runs.curves(self._log_id, [name]).get(name)
            values = [] if series is None else [float(one) for one in series.values if is_finite(one)]
            return range(len(values)), values
        if name not in self._curves:
            self._curves[name] = _Curve(self._runs, self._log_id, source)
        return self._curves[name].points()


class _Curve:
    """A metric of a run, thinned where it has more rows than a screen has columns many times."""

    def __init__(self, runs: Runs, log_id: int, metric: Metric) -> None:
        path = file_of_log(runs.logs / str(log_id) / "metrics", metric.log)
        self._file = GrowingFile(path, runs.logs)
        self._key = metric.key
        self._rows = 0
        self._step = 1
        self._xs: list[float] = []
        self._ys: list[float] = []

    def points(self) -> Curve:
        while True:
            part = self._file.new_lines()
            if part.anew:
                self._rows, self._step, self._xs, self._ys = 0, 1, [], []
            for row in rows_of_lines(part.content, "", []):
                if self._rows % self._step == 0 and is_finite(value := row.get(self._key)):
                    self._xs.append(self._rows)
                    self._ys.append(value)
                self._rows += 1
            while len(self._xs) > _POINTS:
                self._step *= 2
                kept = [place for place, x in enumerate(self._xs) if x % self._step == 0]
                self._xs, self._ys = [self._xs[i] for i in kept], [self._ys[i] for i in kept]
            if not part.content:
                return self._xs, self._ys


class _Output:
    """The end of what a run printed, as a terminal may show it."""

    def __init__(self, path: Path, runs: Runs) -> None:
        self._file = GrowingFile(path, runs.logs, _TAIL)
        self._terminal = TerminalText()
        self._lines: list[str] = []

    def end(self) -> str:
        part = self._file.new_lines()
        if part.anew:
            self._lines = []
            self._terminal = TerminalText()
        if part.content:
            text = self._terminal.feed(part.content).decode()
            # What a progress bar wrote over is not seen in a terminal, either.
            self._lines += [line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n")[:-1]]
            del self._lines[:-_LINES]
        rest = TerminalText()
        last = (rest.feed(self._file.rest) + rest.finish()).decode().rsplit("\r", 1)[-1]
        return "\n".join([*self._lines, *([last] if last else [])])
