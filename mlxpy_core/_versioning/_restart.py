"""Starts a program again in the copy of its code, and tells it there how it was started."""

import json
import os
import sys
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from mlxpy_core._errors import MlxpyError
from mlxpy_core._process import describe_process
from mlxpy_core._ranks import without_own_ranks

from ._import_paths import import_paths
from ._startup.sitecustomize import VARIABLE, SafeCopy, hint, moved
from ._version_manager import Version

# What this process reads after its restart.
_LAUNCH_VARIABLE = "MLXPY_LAUNCH"
_STARTUP = str(Path(__file__).parent / "_startup")


@dataclass(frozen=True)
class RecordedLaunch:
    """How this process was started before its restart.

    Attributes:
        cmd: the words of the command as it was typed.
        directory: the directory in which it was typed.
        version_manager: what info.yaml says of the code.
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
    repository, names = str(version.repository), _names(version.repository, spellings)
    safe_copy = SafeCopy(repository, str(version.copy), names)
    _check(safe_copy, main_file)
    new_directory = moved(directory, safe_copy) or directory
    paths = import_paths((entry or directory for entry in sys.path), safe_copy)
    described = {"repository": repository, "copy": safe_copy.copy, "names": names, "paths": paths}
    environment = {
        **without_own_ranks(os.environ),  # the program sets them again
        **environment_of(json.dumps(described), safe_copy),
        "PWD": new_directory,
    }
    record_launch(version, environment)
    words = move_words(sys.orig_argv[1:], directory, safe_copy)
    os.makedirs(new_directory, exist_ok=True)  # git keeps no empty ones
    os.chdir(new_directory)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, *words], environment)


def environment_of(text: str, safe_copy: SafeCopy) -> dict[str, str]:
    """Gives the variables that have a program of this environment run from a copy.

    Args:
        text: the description of the copy.
        safe_copy: what it describes.
    """
    python_path = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    entries = [_STARTUP, *(moved(entry, safe_copy) or entry for entry in python_path)]
    return {VARIABLE: text, "PYTHONPATH": os.pathsep.join(entries)}


def move_words(words: Sequence[str], directory: str, safe_copy: SafeCopy) -> list[str]:
    """Moves the words of a command that are paths into the copy: the program's file, a config directory.

    Args:
        words: the words.
        directory: where the command was typed.
        safe_copy: the copy.
    """
    return [_moved_word(word, directory, safe_copy) for word in words]


def record_launch(version: Version, environment: MutableMapping[str, str]) -> None:
    """Writes into an environment how this process was started, and which code it runs."""
    launch = RecordedLaunch(list(sys.orig_argv), os.getcwd(), version.description)
    environment[_LAUNCH_VARIABLE] = json.dumps({"process": describe_process(), **vars(launch)})


def recorded_launch() -> RecordedLaunch | None:
    """Gives what `record_launch` wrote for this process; None if it wrote nothing, or for another."""
    values = json.loads(os.environ.get(_LAUNCH_VARIABLE, "{}"))
    return RecordedLaunch(**values) if values.pop("process", None) == describe_process() else None


def original_place(path: str) -> str:
    """Gives the place in the development tree of a path in the copy; any other path as it is."""
    safe_copy = current_copy()
    if safe_copy and Path(path).is_relative_to(safe_copy.copy):
        return os.path.normpath(
            os.path.join(safe_copy.repository, os.path.relpath(path, safe_copy.copy))
        )
    return path


def current_copy() -> SafeCopy | None:
    """Gives the copy that this process was told to run from; None if it was told of none."""
    text = os.environ.get(VARIABLE)
    try:
        return SafeCopy.read(text) if text else None
    except ValueError:  # which this interpreter's start has told
        return None


def runs_from_copy(main_file: str | None) -> bool:
    """Tells whether a program is in the copy that this process was told to run from."""
    safe_copy = current_copy()
    return bool(safe_copy and main_file and Path(main_file).is_relative_to(safe_copy.copy))


def missing_in_copy(error: BaseException) -> str | None:
    """Says that what an error, or one that led to it, did not find is in the development tree only."""
    safe_copy = current_copy()
    looked_at: BaseException | None = error
    while safe_copy and looked_at:
        if sentence := hint(looked_at, safe_copy):
            return sentence
        looked_at = looked_at.__cause__ or looked_at.__context__
    return None


def requirements_of(version: Mapping[str, Any]) -> list[str]:
    """Lists the distributions that this process has imported; see `imported_requirements`.

    Args:
        version: what info.yaml says of the code.
    """
    from ._requirements import imported_requirements  # only programs with a version manager need it

    safe_copy, repository = current_copy(), version.get("repo_path")
    return imported_requirements(
        Path(safe_copy.copy) if safe_copy else None,
        Path(repository) if repository else None,
        version.get("commit_hash"),
    )


def job_environment() -> dict[str, str]:
    """Gives the variables that have a job run from the copy that this process runs from."""
    if VARIABLE not in os.environ:
        return {}
    return {VARIABLE: os.environ[VARIABLE], "PYTHONPATH": _STARTUP}


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


def _moved_word(word: str, directory: str, safe_copy: SafeCopy) -> str:
    option, equals, value = word.rpartition("=") if word.startswith("--") else ("", "", word)
    if os.path.isabs(value):
        place = moved(value, safe_copy)
        return f"{option}{equals}{place}" if place and os.path.exists(place) else word
    # Out of the repository a relative path leads somewhere else from the copy.
    target = os.path.normpath(os.path.join(directory, value))
    if value.startswith("..") and os.path.exists(target) and not moved(target, safe_copy):
        return f"{option}{equals}{target}"
    return word
