"""Files of metrics that a run's program wrote by itself: where they lie, and the names of their logs.

They are looked for in the run's directory, and in Hydra's output directories of its attempts.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from mlxpy_core._io._files import Stamp, open_regular
from mlxpy_core._io._owners import foreign_owner, owner_name
from mlxpy_core._io._text import is_unicode

from ._info_file import INFO_FILE
from ._metrics_files import OF_APP
from ._status import Status

DEFAULT_PATTERNS = ("*tfevents*", "*.csv", "*.jsonl", "metrics.json")
"""Which files are looked at where nobody says otherwise; what they hold decides then."""

EVENTS, CSV, LINES = "tensorboard", "csv", "jsonl"
"""The formats, as the names of logs begin."""

_SUFFIXES = {".csv": CSV, ".jsonl": LINES, ".ndjson": LINES, ".json": LINES}
# A look at a run's directory ends here, lest one of a million pictures keeps the reader.
_MOST_ENTRIES, _DEEPEST = 10_000, 8
# Files of one run that are opened: one that writes a file for each episode has too many for columns.
_MOST_FILES = 200
_OURS = frozenset(("metadata", "metrics", "artifacts"))
_PASSED_OVER = frozenset(("checkpoint", "checkpoints", "wandb", "mlruns", "__pycache__", "node_modules"))
# Directories that say nothing besides the format.
_CONTAINERS = frozenset(
    ("tensorboard", "lightning_logs", "tb_logs", "tb", "runs", "logs", "csv", "csv_logs")
)
# One such directory continues another.
_VERSION = re.compile(r"version_\d+|.*(?:\d{6}|\d\d[-_:.]\d\d[-_:.]\d\d).*", flags=re.ASCII)
_EVENTS_SINCE = re.compile(r"tfevents\.(\d{1,12})\.", flags=re.ASCII)
_METRICS = "metrics"  # a file of this name, whatever its suffix, holds some
_CLOCKS_S = 60.0  # by which the clocks of two hosts may differ, and what a program writes after its end


@dataclass(frozen=True)
class AppFile:
    """A file that may hold metrics.

    Attributes:
        log: the name of its log.
        kind: its format.
        path: where it lies.
        within: the directory below which no links of others are followed.
        stamp: its stamp.
        owner: whose it must be: the other user whose info.yaml says where it lies; None for anybody's.
        named: whether its name or a pattern of the user's says that it holds metrics.
    """

    log: str
    kind: str
    path: str
    within: str
    stamp: Stamp
    owner: int | None
    named: bool

    @property
    def grows(self) -> bool:
        """Whether what has been read of it stays: Lightning writes a CSV file anew with a new column."""
        return self.kind == EVENTS or self.path.lower().endswith((".jsonl", ".ndjson"))

    def open(self) -> int:
        """Opens it to read.

        Raises:
            OSError: as `open_regular`; or it is not its owner's.
        """
        descriptor = open_regular(self.path, self.within)
        if self.owner is not None and os.fstat(descriptor).st_uid != self.owner:
            os.close(descriptor)
            raise PermissionError(
                1, f"it is not of {owner_name(self.owner)}, whose run names it", self.path
            )
        return descriptor


@dataclass(frozen=True)
class OutputPlace:
    """A directory where a run's program wrote.

    Attributes:
        path: where it is.
        within: the directory below which no links of others are followed.
        owner: as `AppFile.owner`.
        since: files that were last written earlier are not the run's.
        until: nor are those that were written later.
    """

    path: str
    within: str
    owner: int | None = None
    since: float = 0
    until: float = float("inf")


@dataclass(frozen=True)
class Listing:
    """What `list_app_files` found.

    Attributes:
        files: the files; those of one log in the order in which they were written.
        whole: whether these are all; the files of a run are looked at up to some number.
    """

    files: list[AppFile]
    whole: bool


def output_places(run: str, attempts: Any) -> list[OutputPlace]:
    """Returns where a run's program wrote: its own directory, and those of Hydra's that lie elsewhere.

    Args:
        run: the run's directory.
        attempts: what its info.yaml, which may be another user's, says of its attempts.
    """
    elsewhere: dict[str, tuple[float, float]] = {}
    for attempt in attempts if isinstance(attempts, list) else []:
        if not isinstance(attempt, Mapping):
            continue
        path = attempt.get("output_dir")
        if not isinstance(path, str) or not os.path.isabs(path) or "\0" in path:
            continue
        path = os.path.normpath(path)
        # One that holds the runs (the project's directory) holds what is not this run's, too.
        if os.path.commonpath([path, run]) in (path, run):
            continue
        since, until = _time_of(attempt)
        earlier = elsewhere.get(path, (since, until))
        elsewhere[path] = min(since, earlier[0]), max(until, earlier[1])
    places = []
    if elsewhere:
        owner = foreign_owner(f"{run}/{INFO_FILE}")
        places = [OutputPlace(path, path, owner, *times) for path, times in elsewhere.items()]
    return [*places, OutputPlace(run, os.path.dirname(run))]


def _time_of(attempt: Mapping[str, Any]) -> tuple[float, float]:
    """Returns from when to when an attempt can have written; nobody saw how long a killed one did."""
    since, until = 0.0, float("inf")
    with contextlib.suppress(KeyError, TypeError, ValueError, OverflowError):
        since = datetime.fromisoformat(attempt["start"]).timestamp() - _CLOCKS_S
    if attempt.get("status") in (Status.COMPLETE.value, Status.FAILED.value, Status.INTERRUPTED.value):
        with contextlib.suppress(KeyError, TypeError, ValueError, OverflowError):
            until = datetime.fromisoformat(attempt["end"]).timestamp() + _CLOCKS_S
    return since, until


def list_app_files(places: Sequence[OutputPlace], patterns: Sequence[str] | None) -> Listing:
    """Lists the files that may hold metrics of the app.

    Args:
        places: what `output_places` returned.
        patterns: which names, or paths below the directory if they have a slash; None for
            `DEFAULT_PATTERNS`.
    """
    found: list[tuple[tuple[Any, ...], AppFile]] = []
    left = [_MOST_ENTRIES]
    for number, place in enumerate(places):
        for path in _paths_below(place.path, left):
            relative = path[len(place.path) + 1 :]
            kind = _kind_of(os.path.basename(path))
            if kind is None or not _matches(relative, patterns) or not is_unicode(relative):
                continue
            try:
                status = os.lstat(path)
            except OSError:  # gone
                continue
            if not place.since <= status.st_mtime <= place.until:
                continue
            named = patterns is not None or kind == EVENTS or _stem(path) == _METRICS
            stamp = (status.st_mtime_ns, status.st_size)
            log = _log_of(relative, kind)
            file = AppFile(log, kind, path, place.within, stamp, place.owner, named)
            found.append(((_written_since(path), number, *_natural(relative)), file))
    found.sort(key=lambda one: one[0])
    files = [file for _, file in found]
    whole = left[0] > 0 and len(files) <= _MOST_FILES
    # Those that hold metrics for certain come first.
    kept = sorted(range(len(files)), key=lambda place: not files[place].named)[:_MOST_FILES]
    return Listing([files[place] for place in sorted(kept)], whole)


def _paths_below(top: str, left: list[int]) -> Iterator[str]:
    """Yields the regular files below a directory, those nearer to it first; links are none of ours."""
    folders = [(top, 0)]
    for folder, depth in folders:
        try:
            entries = os.scandir(folder)
        except OSError:
            continue
        with entries:
            for entry in entries:
                left[0] -= 1
                if left[0] <= 0:
                    return
                name = entry.name
                if name.startswith(".") or name in _PASSED_OVER or (depth == 0 and name in _OURS):
                    continue
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        if depth < _DEEPEST:
                            folders.append((entry.path, depth + 1))  # grows as it is walked
                    elif entry.is_file(follow_symlinks=False):
                        yield entry.path


def _matches(relative: str, patterns: Sequence[str] | None) -> bool:
    name = os.path.basename(relative)
    return any(
        fnmatchcase(relative if "/" in pattern else name, pattern.removeprefix("./"))
        for pattern in (DEFAULT_PATTERNS if patterns is None else patterns)
    )


def _kind_of(name: str) -> str | None:
    if "tfevents" in name:  # as TensorBoard itself tells
        return None if name.endswith(".profile-empty") else EVENTS
    return _SUFFIXES.get(os.path.splitext(name)[1].lower())


def _log_of(relative: str, kind: str) -> str:
    *folders, name = relative.split("/")
    parts = [
        part for part in folders if part.lower() not in _CONTAINERS and not _VERSION.fullmatch(part)
    ]
    return OF_APP + "/".join([kind, *parts, *([] if kind == EVENTS else [_stem(name)])])


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def _written_since(path: str) -> int:
    since = _EVENTS_SINCE.search(os.path.basename(path))
    return int(since[1]) if since else 0


def _natural(path: str) -> list[Any]:
    """Returns what sorts version_10 after version_9."""
    return [(int(p), p) if p.isdigit() else (-1, p) for p in re.split(r"(\d+)", path, flags=re.ASCII)]
