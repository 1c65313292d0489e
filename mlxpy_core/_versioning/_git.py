"""Runs git, which is called as the program that it is."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from mlxpy_core._errors import MlxpyError

# Where hooks and scripts of git have set them they speak of another repository (git rev-parse
# --local-env-vars).
_OF_ANOTHER_REPOSITORY = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
)
_SHOWN_LINES = 5


class GitError(MlxpyError):
    """Git refused; the message quotes it."""


class RunningGit:
    """A git that runs meanwhile.

    Args:
        directory: where it runs.
        arguments: its arguments.
        environment: variables that it gets besides this process's.

    Raises:
        MlxpyError: there is no git.
    """

    def __init__(
        self, directory: Path, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self._directory = directory
        self._arguments = arguments
        variables = {
            name: value for name, value in os.environ.items() if name not in _OF_ANOTHER_REPOSITORY
        }
        # Its messages are looked at, and the user's index is not even refreshed.
        variables |= {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", **(environment or {})}
        try:
            self._process = subprocess.Popen(
                ["git", *arguments],
                cwd=directory,
                env=variables,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except FileNotFoundError as error:
            if error.filename != "git":
                raise
            raise MlxpyError(
                "git is not on the PATH, and the version manager needs it: install git, "
                "or run without the version manager"
            ) from None

    def finish(self, stdin: str = "") -> str:
        """Waits for its end and returns what it prints.

        Bytes of paths that are no text are kept as surrogates, as everywhere in Python.

        Args:
            stdin: what it reads.

        Raises:
            GitError: it ended with another exit code than 0.
        """
        # As bytes: a text would have its line ends changed.
        with self._process as process:
            stdout, stderr = map(os.fsdecode, process.communicate(os.fsencode(stdin)))
        if process.returncode:
            lines = [line.strip() for line in (stderr.strip() or stdout).splitlines() if line.strip()]
            if len(lines) > 2 * _SHOWN_LINES:
                lines = [*lines[:_SHOWN_LINES], "...", *lines[-_SHOWN_LINES:]]
            raise GitError(f"git {_verb(self._arguments)} in {self._directory}: {' '.join(lines)}")
        return stdout


def git(
    directory: Path,
    *arguments: str,
    stdin: str = "",
    environment: Mapping[str, str] | None = None,
) -> str:
    """Runs git in a directory and returns what it prints; see `RunningGit`."""
    return RunningGit(directory, *arguments, environment=environment).finish(stdin)


def _verb(arguments: tuple[str, ...]) -> str:
    plain = (one for one, before in zip(arguments, ("", *arguments), strict=False) if before != "-c")
    return next((one for one in plain if not one.startswith("-")), "")
