"""The command that started a Python program: which arguments are Python's, which the program's."""

import re
from collections.abc import Sequence
from pathlib import PurePath

from mlxpy_core._errors import MlxpyError

# Set in the jobs of a sweep: which one of which program a job is, as JSON.
SWEEP_JOB_VARIABLE = "MLXPY_SWEEP_JOB"
# https://docs.python.org/3/using/cmdline.html
_WITH_VALUE = frozenset({"-X", "-W", "--check-hash-based-pycs"})
# Letters of options that may stand together with -c or -m.
_CODE_OR_MODULE = re.compile(r"-[bBdEhiIOPqRsSuvVx]*([cm])(.*)", re.DOTALL)
_NOTEBOOKS = ("ipykernel_launcher", "ipykernel", "IPython", "ipython", "ipython3", "jupyter")
_TESTS = ("pytest", "py.test", "unittest")


def first_argument(command: Sequence[str]) -> int:
    """Returns the index of the first argument of the program that a command has Python run.

    Raises:
        MlxpyError: the command cannot be started again, for the reason that the message gives.
    """
    index = 1
    while index < len(command):
        argument = command[index]
        found = _CODE_OR_MODULE.fullmatch(argument)
        if found and not argument.startswith("--"):
            kind, rest = found.groups()
            index += 1 if rest else 2
            if kind == "m":
                _check(rest or command[index - 1])
            return index
        if argument == "-":
            raise MlxpyError(
                "the program was read from standard input, which a job does not have: write it to a "
                "file, and start python main.py"
            )
        if not argument.startswith("-"):
            _check(PurePath(argument).name)
            return index + 1
        index += 2 if argument in _WITH_VALUE else 1
    raise MlxpyError(
        "cannot tell which program this is, as at Python's prompt: write it to a file, and start "
        "python main.py"
    )


def _check(program: str) -> None:
    if program.split(".")[0] in _NOTEBOOKS:
        raise MlxpyError(
            "a program that runs in IPython or a notebook cannot be started again as a job: type the "
            "command in a shell, as python main.py"
        )
    if program in _TESTS or program.split(".")[0] in _TESTS:
        raise MlxpyError(
            f"{program} would run all its tests again in each job: start the program itself, "
            "as python main.py"
        )
