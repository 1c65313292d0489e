"""The lines of a job file as single jobs: lists of values taken apart, Python named by its path."""

import contextlib
import itertools
import re
import shlex

from mlxpy_core._errors import MlxpyError
from mlxpy_core._runs._command import first_argument

from ._job_file import Word, Words, python_word, read_line, sets_environment

_OVERRIDE = re.compile(r"[+~]*[\w@.][\w@./:$-]*=")
_MULTIRUN = ("-m", "--multirun")
# A comma, or what keeps one from separating values: quotes, escapes.
_PART = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\\.|.""", flags=re.DOTALL)


def single_jobs(line: str) -> list[str]:
    """Returns a line once for each combination of the values in its lists, as ``lr=0.1,0.2 seed=1,2``.

    A list is what Hydra takes for one: commas between values, outside of quotes and brackets.

    Raises:
        MlxpyError: it cannot be told what is a list before the shell has read the line.
    """
    arguments = _arguments(line)
    values = list(map(_values, arguments))
    if all(len(one) == 1 for one in values):
        return [line]
    # Each job is a single run now.
    values = [[""] if one[0] in _MULTIRUN else one for one in values]
    return [_replaced(line, arguments, chosen) for chosen in itertools.product(*values)]


def with_interpreter(line: str, interpreter: str) -> str:
    """Returns a line in which ``python`` and ``python3`` are an interpreter, by its path.

    A job has another environment than the shell in which it is submitted.
    """
    if sets_environment([line]):
        return line
    found = [word for words in read_line(line, 0, 1)[1] if (word := python_word(words))]
    bare = [word for word in found if word in ("python", "python3")]
    return _replaced(line, bare, [shlex.quote(interpreter)] * len(bare))


def _arguments(line: str) -> Words:
    """Returns the arguments of the line's Python program."""
    for words in read_line(line, 0, 1)[1]:
        if python := python_word(words):
            command = words[words.index(python) :]
            with contextlib.suppress(MlxpyError):  # no program whose arguments are known
                return command[first_argument(command) :]
    return []


def _values(word: Word) -> list[str]:
    """Returns the words to write for each value of an override's list; another word as it is."""
    if "," not in word:
        return [word]
    by_shell = "$" in word or "`" in word
    if by_shell and re.search(r"[\\'\"]", word):
        if _OVERRIDE.match(word.lstrip("'\"")):
            raise MlxpyError(
                f"{word[:60]!r} holds commas, quotes and what the shell puts in: write a line for each "
                "value"
            )
        return [word]
    try:
        text = word if by_shell else shlex.split(word)[0]
    except ValueError:  # a backslash at its end
        return [word]
    key = _OVERRIDE.match(text)
    if not key:
        return [word]
    values = _split(text[key.end() :])
    if len(values) < 2 or "" in values:
        return [word]
    written = [key[0] + value for value in values]
    return written if by_shell else list(map(shlex.quote, written))


def _split(text: str) -> list[str]:
    values, depth = [""], 0
    for part in _PART.findall(text):
        depth += {"[": 1, "{": 1, "(": 1, "]": -1, "}": -1, ")": -1}.get(part, 0)
        if part == "," and not depth:
            values.append("")
        else:
            values[-1] += part
    return [value.strip() for value in values]


def _replaced(line: str, words: Words, texts: "list[str] | tuple[str, ...]") -> str:
    for word, text in reversed(list(zip(words, texts, strict=True))):
        line = line[: word.start] + text + line[word.end :]
    return line
