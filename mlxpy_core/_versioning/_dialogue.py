"""Asks somebody at a terminal what to do with code that is not committed."""

import os
import sys
from collections.abc import Sequence

from mlxpy_core._errors import MlxpyError

_SHOWN = 20


def has_terminal() -> bool:
    """Returns whether somebody can be asked: input and error are a terminal's, in the foreground."""
    try:
        # A background job that reads from its terminal is stopped by it.
        return sys.stderr.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError, AttributeError):  # no terminal, closed, None
        return False


def print_line(text: str = "") -> None:
    """Prints a line on standard error; standard output is the program's."""
    print(text, file=sys.stderr, flush=True)


def shown(path: str) -> str:
    """Returns a path as a terminal can show it: what is no UTF-8 or would move its cursor is escaped."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in path)


def ask_about_untracked(files: Sequence[str]) -> str:
    """Asks what to do with files that git does not track: ``a``, ``b`` or ``c``."""
    return _ask_about(
        "Untracked files",
        files,
        {
            "a": "Add them to git.",
            "b": "Check again (after adding or ignoring them from elsewhere).",
            "c": "Ignore them: they will not be in the copy of the code.",
        },
    )


def ask_about_changes(files: Sequence[str]) -> str:
    """Asks what to do with changes that are not committed: ``a``, ``b`` or ``c``."""
    return _ask_about(
        "Uncommitted changes",
        files,
        {
            "a": "Commit them now, in an automatic commit.",
            "b": "Check again (after committing them from elsewhere).",
            "c": "Ignore them: they will not be in the copy of the code.",
        },
    )


def ask_about_copy(commit: str) -> bool:
    """Asks whether the code is to run from a copy of the commit."""
    print_line(f"Run the code from a copy of the last commit ({commit[:12]})?")
    answer = _choose(
        "Safe copy",
        {
            "y": "Yes (recommended): what changes here meanwhile does not change the run.",
            "n": "No: the code runs from the current directory, as it is.",
        },
    )
    return answer == "y"


def _ask_about(what: str, files: Sequence[str], answers: dict[str, str]) -> str:
    print_line(f"{what} in the repository ({len(files)}):")
    for file in files[:_SHOWN]:
        print_line(f"    {shown(file)}")
    if len(files) > _SHOWN:
        print_line(f"    … and {len(files) - _SHOWN} more")
    return _choose(what, answers)


def _choose(question: str, answers: dict[str, str]) -> str:
    for key, meaning in answers.items():
        print_line(f"  {key}: {meaning}")
    prompt = f"[{question}] Please enter your choice ({'/'.join(answers)}): "
    while True:
        print(prompt, end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            print_line()
            raise MlxpyError("no answer, so nothing was run")
        answer = line.strip().lower()
        if answer in answers:
            return answer
        print_line(f"{line.strip()!r} is none of {', '.join(answers)}.")
