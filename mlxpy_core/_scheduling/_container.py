"""Programs that run in a container: what a script writes before the program's words.

The program finds what it needs under the paths that it has outside: the directory of runs, its working
directory, the copy of its code, and what its command names.
"""

import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mlxpy_core._errors import MlxpyError

CONTAINER_COMMAND = "apptainer exec"
"""How a container is started where the user has not said so."""

# These give a program none of the script's variables, and it would not hear signals as process 1.
# https://docs.docker.com/reference/cli/docker/container/run/
_OF_DOCKER = ("docker", "podman", "nerdctl")
# What mlxpy, schedulers and starters of several processes set, as options --env with a name each.
_PREFIXES = "MLXPY|SUBMITIT|SLURM|OAR|SGE|PBS|LSB|OMPI|PMI|PMIX|MASTER|CUDA|HIP|ROCR|OMP"
_NAMES = "PYTHONPATH|JOB_ID|RANK|LOCAL_RANK|WORLD_SIZE"
_VARIABLES = f"$(env | sed -nE 's/^(({_PREFIXES})_[A-Z0-9_]*|{_NAMES})=.*/--env \\1/p')"


def container_lines(
    image: str,
    starter: str,
    arguments: Sequence[str],
    *,
    run: Path,
    work_dir: str,
    command: Sequence[str],
    environment: Mapping[str, str],
) -> list[str]:
    """Returns the words that start a program in a container, quoted for a shell, a line each.

    Args:
        image: the image.
        starter: the command that starts a container, ``apptainer exec`` or one like it.
        arguments: more arguments of it.
        run: the run's directory.
        work_dir: where the program runs.
        command: the arguments of its command, the program first.
        environment: the variables that the script sets.

    Raises:
        MlxpyError: a directory cannot be bound.
    """
    words = shlex.split(starter)
    places = _places(run, work_dir, command, environment)
    if os.path.basename(words[0]) in _OF_DOCKER:
        binds = [f"--volume {_quoted_place(place, f'{place}:{place}')}" for place in places]
        # Podman without root makes who started it the root of the container.
        user = [] if os.path.basename(words[0]) == "podman" else ['--user "$(id -u):$(id -g)"']
        more = ["--init", *user, *binds, f"--workdir {shlex.quote(work_dir)}", _VARIABLES]
    else:
        binds = [f"--bind {_quoted_place(place, place)}" for place in places]
        more = [*binds, f"--pwd {shlex.quote(work_dir)}"]
    own = [shlex.join(arguments)] if arguments else []
    return [shlex.join(words), *more, *own, shlex.quote(image)]


def check_starter(starter: str) -> None:
    """Refuses what is no command.

    Raises:
        MlxpyError: it is empty, or its quotes do not match.
    """
    try:
        words = shlex.split(starter)
    except ValueError:
        words = []
    if not words:
        raise MlxpyError(
            f"container_command={starter!r} is no command: give one such as {CONTAINER_COMMAND}"
        )


def _quoted_place(place: str, bind: str) -> str:
    if "," in place or ":" in place:
        raise MlxpyError(
            f"{place} cannot be bound into a container: rename it, its path has a colon or a comma"
        )
    return shlex.quote(bind)


def _places(
    run: Path, work_dir: str, command: Sequence[str], environment: Mapping[str, str]
) -> list[str]:
    """Returns the directories that a program needs, none of which lies in another."""
    found = [str(run.parent), work_dir, *_of_copy(environment), *_named(command, work_dir)]
    kept: list[str] = []
    for place in sorted(set(map(os.path.normpath, found))):
        if not any(place.startswith(f"{one.rstrip('/')}/") for one in kept):
            kept.append(place)
    return kept


def _of_copy(environment: Mapping[str, str]) -> Iterator[str]:
    """Yields the directories that variables name: where Python imports from, the copy of the code."""
    yield from filter(os.path.isabs, environment.get("PYTHONPATH", "").split(os.pathsep))
    described = environment.get("MLXPY_SAFE_COPY")
    if described:
        # The repository, too: links in the copy lead there.
        yield from (str(json.loads(described)[name]) for name in ("copy", "repository"))


def _named(command: Sequence[str], work_dir: str) -> Iterator[str]:
    """Yields the directories of the program's file and of what its options name, where they are here."""
    for word in command[1:]:
        path = os.path.join(work_dir, word)
        if "=" not in word and os.path.exists(path):
            yield path if os.path.isdir(path) else os.path.dirname(path)
