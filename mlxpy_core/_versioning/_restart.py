"""Starts a program again in the copy of its code, and records for it how it was started."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from mlxpy_core._errors import MlxpyError
from mlxpy_core._runs._process import describe_process
from mlxpy_core._runs._ranks import without_own_ranks
from mlxpy_core._versioning._startup.sitecustomize import VARIABLE, SafeCopy, moved

from ._current_copy import STARTUP
from ._version_manager import Version

# What this process reads after its restart.
_LAUNCH_VARIABLE = "MLXPY_LAUNCH"


@dataclass(frozen=True)
class RecordedLaunch:
    """How this process was started before its restart.

    Attributes:
        cmd: the arguments of the command as it was typed, the program first.
        directory: the directory in which it was typed.
        version_manager: what info.yaml records of the code.
    """

    cmd: list[str]
    directory: str
    version_manager: dict[str, Any]


def restart(version: Version, main_file: str | None) -> NoReturn:
    """Replaces this process by the same command in the copy.

    Args:
        version: the code that is to run, from a copy.
        main_file: the program's main file; None if it has none.

    Raises:
        MlxpyError: the program cannot run there.
    """
    assert version.copy
    directory = os.getcwd()
    spellings = [os.environ.get("PWD", ""), main_file or "", *sys.path]
    names = _names(version.repository, spellings)
    safe_copy = SafeCopy(str(version.repository), str(version.copy), names)
    _check(safe_copy, main_file)
    new_directory = moved(directory, safe_copy) or directory
    safe_copy.paths = import_paths((entry or directory for entry in sys.path), safe_copy)
    environment = {
        **without_own_ranks(os.environ),  # the program sets them again
        **environment_of(safe_copy),
        "PWD": new_directory,
    }
    record_launch(version, environment)
    arguments = move_arguments(sys.orig_argv[1:], directory, safe_copy)
    os.makedirs(new_directory, exist_ok=True)  # git keeps no empty ones
    os.chdir(new_directory)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, *arguments], environment)


def environment_of(safe_copy: SafeCopy) -> dict[str, str]:
    """Returns the variables that have a program of this environment run from a copy."""
    fields = ("repository", "copy", "names", "paths")
    text = json.dumps({name: getattr(safe_copy, name) for name in fields})
    python_path = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    entries = [STARTUP, *(moved(entry, safe_copy) or entry for entry in python_path)]
    return {VARIABLE: text, "PYTHONPATH": os.pathsep.join(entries)}


def move_arguments(arguments: Sequence[str], directory: str, safe_copy: SafeCopy) -> list[str]:
    """Moves arguments that are paths into the copy: the program's file, a config directory.

    Args:
        arguments: those of a command.
        directory: where it was typed.
        safe_copy: the copy.
    """
    return [_moved_argument(argument, directory, safe_copy) for argument in arguments]


def record_launch(version: Version, environment: MutableMapping[str, str]) -> None:
    """Writes into an environment how this process was started, and which code it runs."""
    launch = RecordedLaunch(list(sys.orig_argv), os.getcwd(), version.description)
    environment[_LAUNCH_VARIABLE] = json.dumps({"process": describe_process(), **vars(launch)})


def recorded_launch() -> RecordedLaunch | None:
    """Returns what `record_launch` wrote for this process; None if it wrote nothing, or for another."""
    values = json.loads(os.environ.get(_LAUNCH_VARIABLE, "{}"))
    return RecordedLaunch(**values) if values.pop("process", None) == describe_process() else None


def _names(repository: Path, paths: Iterable[str]) -> list[str]:
    """Finds the other names of a repository, by symbolic links, among the folders above paths."""
    status = repository.stat()
    names: dict[str, None] = {}
    for path in paths:
        for folder in (Path(path), *Path(path).parents) if os.path.isabs(path) else ():
            try:
                is_same = os.path.samestat(folder.stat(), status)
            except OSError:
                continue
            if is_same and folder != repository:
                names[str(folder)] = None
    return list(names)


def _check(safe_copy: SafeCopy, main_file: str | None) -> None:
    if sys.flags.ignore_environment or sys.flags.no_site:
        raise MlxpyError(
            "python -E, -I and -S keep imports from being moved into the copy: leave the option out"
        )
    place = moved(os.path.abspath(main_file), safe_copy) if main_file else None
    if place and not os.path.exists(place):
        raise MlxpyError(
            f"{main_file} is not in the commit that is to run, {os.path.basename(safe_copy.copy)[:12]}: "
            "commit it (git add, git commit)"
        )


def _moved_argument(argument: str, directory: str, safe_copy: SafeCopy) -> str:
    is_option = argument.startswith("--")
    option, equals, value = argument.rpartition("=") if is_option else ("", "", argument)
    if os.path.isabs(value):
        place = moved(value, safe_copy)
        return f"{option}{equals}{place}" if place and os.path.exists(place) else argument
    # Out of the repository a relative path leads somewhere else from the copy.
    target = os.path.normpath(os.path.join(directory, value))
    if value.startswith("..") and os.path.exists(target) and not moved(target, safe_copy):
        return f"{option}{equals}{target}"
    return argument


def import_paths(entries: Iterable[str], copy: SafeCopy) -> list[str]:
    """Lists the folders of a copy that stand for entries of ``sys.path``, to be its ``paths``.

    Path files (``.pth``) are read without their folders that do not exist any more, so a program whose
    development tree was deleted must be given them.
    """
    found = dict.fromkeys(place for entry in entries for place in _linked(entry) if moved(place, copy))
    return [str(moved(place, copy)) for place in found]


def _linked(entry: str) -> Iterator[str]:
    """Yields an entry; of a folder of links (setuptools, ``editable_mode=strict``) where these lead."""
    if not os.path.basename(entry).startswith("__editable__."):
        yield entry
        return
    for folder, _, files in os.walk(entry):
        for name in files:
            path = os.path.join(folder, name)
            inside, real = os.sep + os.path.relpath(path, entry), os.path.realpath(path)
            if os.path.islink(path) and real.endswith(inside):
                yield real.removesuffix(inside)
