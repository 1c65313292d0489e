"""A script of jobs, read line by line and never run: what its directives, set-up and jobs are."""

import itertools
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from mlxpy_core._errors import MlxpyError

_PYTHON = re.compile(r"(?:.*/)?python[0-9.]*")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=.*", flags=re.DOTALL)
# What starts another program, whose name comes after options; those of the second kind with `run`.
_STARTERS = {"env", "exec", "mpiexec", "mpirun", "nice", "nohup", "srun", "time"}
_RUNNERS = {"conda", "mamba", "micromamba", "poetry", "uv"}
_OPENING = {"case", "for", "if", "select", "until", "while", "{"}
_CLOSING = {"done", "esac", "fi", "}"}
_KEYWORDS = {"!", "do", "else", "then", "{"}
_QUOTED = {
    "'": re.compile(r"'[^']*'"),
    '"': re.compile(r'"(?:[^"\\]|\\.)*"', flags=re.DOTALL),
    "`": re.compile(r"`(?:[^`\\]|\\.)*`", flags=re.DOTALL),
}

# Commands that change the shell for those that follow; the second kind may choose another Python, too.
_SET_UP = {"alias", "cd", "export", "pushd", "set", "shopt", "ulimit", "umask", "unset"}
_SET_ENVIRONMENT = {
    ".",
    "conda",
    "eval",
    "mamba",
    "micromamba",
    "ml",
    "module",
    "pyenv",
    "source",
    "spack",
}


class Word(str):
    """A word of a command as it was written, and where it stands in the text."""

    start: int
    end: int

    def __new__(cls, written: str, start: int, end: int) -> "Word":
        word = super().__new__(cls, written)
        word.start, word.end = start, end
        return word


Words = list[Word]


@dataclass(frozen=True)
class JobFile:
    """What a script holds.

    Attributes:
        shell: what its first line names.
        directives: the directives of each scheduler, without what a directive's line starts with.
        setup: the lines before the first job, as they were written.
        jobs: the lines that start a Python program, as they were written.
        cleanup: the other lines after the first job.
    """

    shell: str = "/bin/bash"
    directives: dict[str, list[str]] = field(default_factory=dict)
    setup: list[str] = field(default_factory=list)
    jobs: list[str] = field(default_factory=list)
    cleanup: list[str] = field(default_factory=list)


def parse_job_file(text: str, directives: Collection[str]) -> JobFile:
    """Reads a script.

    Args:
        text: the script.
        directives: how lines for schedulers start.

    Raises:
        MlxpyError: there is no job, a quote is never closed, or something is no line of a job file.
    """
    if "\r" in text or "\0" in text:
        raise MlxpyError("it has line ends of Windows or is no text: save it with those of Unix")
    shell = text.partition("\n")[0][2:].strip() if text.startswith("#!") else JobFile.shell
    found = JobFile(shell)
    blocks = 0  # that are open
    for number, line, commands in _logical_lines(text):
        inside = blocks or any(words[0] in _OPENING - {"{"} for words in commands if words)
        blocks += sum(map(_opened_blocks, commands))
        option = _directive(line, directives)
        if option:
            found.directives.setdefault(option[0], []).append(option[1])
        elif not any(commands):
            continue
        elif any(map(python_word, commands)):
            if inside:
                raise MlxpyError(f"line {number} is in a loop or a choice: write a line for each job")
            found.jobs.append(line)
        elif found.jobs and any(map(_changes_shell, commands)):
            raise MlxpyError(
                f"line {number} ({line.splitlines()[0][:40]!r}) comes after the first job but sets up "
                "what follows: put it before all jobs, or what needs it into a script of its own"
            )
        elif found.jobs:
            found.cleanup.append(line)
        else:
            found.setup.append(line)
    if not found.jobs:
        raise MlxpyError("no line starts a Python program: write one such as python main.py")
    return found


def _directive(line: str, directives: Collection[str]) -> tuple[str, str] | None:
    for directive in directives:
        option = line.removeprefix(directive)
        if option != line and re.match(r"[\s-]|$", option):
            return directive, option.strip()
    return None


def python_word(words: Words) -> Word | None:
    """Returns the word of a command that starts a Python program; None if it starts none."""
    left = _without_assignments(words)
    starts_other = left and (left[0] in _STARTERS or (left[0] in _RUNNERS and left[1:2] == ["run"]))
    candidates = left[1:] if starts_other else left[:1]
    return next((word for word in candidates if _PYTHON.fullmatch(_unquoted(word))), None)


def sets_environment(lines: Iterable[str]) -> bool:
    """Returns whether lines may choose another Python than that of the shell in which they are run."""
    commands = [command for line in lines for command in read_line(line, 0, 1)[1]]
    return any(
        {*_without_assignments(command)[:1]} & (_SET_ENVIRONMENT | _RUNNERS)
        or any(word.startswith(("PATH=", "PATH+=")) for word in command)
        for command in commands
    )


def _opened_blocks(words: Words) -> int:
    """Returns how many blocks a command opens, fewer than none where it closes one."""
    leading = itertools.takewhile((_OPENING | _CLOSING | _KEYWORDS).__contains__, words)
    return sum((word in _OPENING) - (word in _CLOSING) for word in leading)


def _changes_shell(words: Words) -> bool:
    left = _without_assignments(words)
    return bool(words) and (not left or left[0] in _SET_UP | _SET_ENVIRONMENT)


def _without_assignments(words: Words) -> Words:
    left = list(words)
    while left and (left[0] in _KEYWORDS or _ASSIGNMENT.fullmatch(left[0])):
        left.pop(0)
    return left


def _unquoted(word: str) -> str:
    return re.sub(r"['\"]", "", word)


def _logical_lines(text: str) -> Iterator[tuple[int, str, list[Words]]]:
    """Yields each line, with its number and the words of its commands; quotes and backslashes join."""
    start, number = 0, 1
    while start < len(text):
        end, commands = read_line(text, start, number)
        yield number, text[start:end], commands
        number += text.count("\n", start, end + 1)
        start = end + 1


def read_line(text: str, start: int, number: int) -> tuple[int, list[Words]]:
    """Finds the end of the line that starts at `start`, and the words of its commands.

    Raises:
        MlxpyError: a quote is never closed, or something is no line of a job file.
    """
    commands: list[Words] = [[]]
    word, begin, depth, at = "", start, 0, start
    while at < len(text) and (text[at] != "\n" or depth):
        here, size = text[at], 1
        begin = begin if word else at
        if here == "\\":
            size = 2
            word += "" if text[at + 1 : at + 2] == "\n" else text[at : at + 2]
        elif here in _QUOTED:
            quoted = _QUOTED[here].match(text, at)
            if not quoted:
                raise MlxpyError(
                    f"line {number}: the quote {here} is never closed: close it, or leave it out"
                )
            size = len(quoted[0])
            word += quoted[0]
        elif text.startswith("$(", at):
            size, depth = 2, depth + 1
            word += "$("
        elif depth:
            depth += {"(": 1, ")": -1}.get(here, 0)
            word += here
        elif here == "#" and not word:  # a comment, whose quotes are none
            size = (text.find("\n", at) if "\n" in text[at:] else len(text)) - at
        elif text.startswith("<<", at):
            if not text.startswith("<<<", at):
                raise MlxpyError(
                    f"line {number}: a here-document (<<) cannot be in a script of jobs: "
                    "put it into another"
                )
            size = 3
            word += "<<<"
        elif here.isspace() or here in ";&|()":
            commands[-1].extend([Word(word, begin, at)] if word else [])
            word = ""
            commands.extend([[]] if here in ";&|()" else [])
        else:
            word += here
        at += size
    if depth:
        raise MlxpyError(f"line {number}: the parenthesis of $( is never closed: close it")
    commands[-1].extend([Word(word, begin, at)] if word else [])
    return min(at, len(text)), commands
