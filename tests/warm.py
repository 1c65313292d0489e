"""Programs that start faster: forked from a process that has imported what they import.

What they are is what a start makes: processes of their own, whose program, directory, variables,
streams, limits, signals and end are real. What differs: the parent, the command that ``/proc`` shows,
and that Hydra, mlxpy and what they import are there already. So are the programs that these start by
``sys.executable``, such as jobs of schedulers, and those of shells that have `executables` on their
``PATH``: there an interpreter of ours passes signals on, and ends as the program does. Tests of just
how programs start are marked `cold`; `--long` starts all programs by themselves.
"""

import atexit
import functools
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Any

import warm_process
import warm_python

# As `Project` starts apps; commands are started with the variables of this process.
OF_APPS = {"PYTHONWARNINGS": "ignore"}
# Others are left to the real Popen.
_OPTIONS = {"cwd", "stdin", "stdout", "stderr", "text", "start_new_session"}
_POSSIBLE = hasattr(os, "pidfd_open")
# The process shows the variables of programs in the place of its own.
_ROOM = {"WARM_ROOM": "." * 100_000}


class Warm:
    """Says whether programs may be forked; `conftest` sets it for each test."""

    allowed = False


class Starter:
    """A process that forks programs, and the socket at which it is asked for them."""

    def __init__(self, path: Path, variables: dict[str, str], executable: Path) -> None:
        self.path = str(path)
        self.of_start = warm_python.of_start(variables)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.path)
            listener.listen(100)
            life, self._life = os.pipe()  # it ends when this process does
            self.process = subprocess.Popen(
                [sys.executable, warm_process.__file__, str(listener.fileno()), str(life), executable],
                env={**variables, **_ROOM},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[listener.fileno(), life],
            )
            os.close(life)


class Program(subprocess.Popen):  # type: ignore[type-arg]  # not at run time
    """A program that a `Starter` forks; otherwise what ``Popen`` is, whose private steps these are."""

    def __init__(
        self, starter: Starter, arguments: list[str], environment: dict[str, str], **options: Any
    ) -> None:
        self._starter = starter
        self._environment = environment
        super().__init__(arguments, **options)

    def _execute_child(self, args: Any, *rest: Any) -> None:
        # As Popen of Python 3.10 to 3.13 calls it.
        cwd, pipes, new_session = rest[4], rest[9:15], rest[20]
        stdin, _, _, stdout, _, stderr = pipes
        streams = [
            given if given != -1 else number for number, given in enumerate((stdin, stdout, stderr))
        ]
        changes = {"cwd": os.fspath(cwd or os.getcwd()), "new_session": new_session}
        request = warm_python.request(args, self._environment, **changes)
        try:
            self._answers, self.pid = warm_python.send(self._starter.path, request, streams)
            self._child_created = True
        finally:
            self._close_pipe_fds(*pipes)

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if wait_flags & os.WNOHANG and not select.select([self._answers], [], [], 0)[0]:
            return 0, 0
        status = warm_python.receive(self._answers)
        self._answers.close()
        return self.pid, status

    def _internal_poll(self, *arguments: Any, **options: Any) -> int | None:
        if self.returncode is None and self._waitpid_lock.acquire(False):
            try:
                if self.returncode is None:
                    process_id, status = self._try_wait(os.WNOHANG)
                    if process_id:
                        self._handle_exitstatus(status)
            finally:
                self._waitpid_lock.release()
        return self.returncode


# Of this process, before any test changes it.
ENVIRONMENT = dict(os.environ)
PYTHON = Path(sys.executable)
MLXPY = PYTHON.with_name("mlxpy")


@functools.cache
def executables() -> Path:
    """Makes a directory with ``python`` and ``mlxpy`` whose programs are forked, and what forks them."""
    place = Path(tempfile.mkdtemp(prefix="warm"), "bin")
    place.mkdir()
    atexit.register(shutil.rmtree, place.parent, ignore_errors=True)
    starters = [(one.of_start, one.path) for one in _starters(place)]
    for name, program in (("python", []), ("mlxpy", [str(MLXPY)])):
        arguments = (str(PYTHON), program, warm_python.place(), starters)
        text = f"""
            #!{PYTHON} -IS
            import sys
            sys.path.append({str(Path(warm_python.__file__).parent)!r})
            import warm_python
            warm_python.main{arguments}
        """
        (place / name).write_text(textwrap.dedent(text).lstrip())
        (place / name).chmod(0o755)
    return place


@functools.cache
def _starters(place: Path) -> list[Starter]:
    variables = ({}, OF_APPS)
    return [
        Starter(place / str(number), {**ENVIRONMENT, **more}, place / "python")
        for number, more in enumerate(variables)
    ]


def directories() -> list[str]:
    """Lists what a ``PATH`` begins with, for commands of shells."""
    return [*([str(executables())] if Warm.allowed and _POSSIBLE else []), str(PYTHON.parent)]


def start(arguments: list[str], environment: dict[str, str], options: dict[str, Any]) -> Program | None:
    """Starts a program, ``arguments`` from the interpreter on; None if it is to be started cold."""
    if not (
        Warm.allowed
        and _POSSIBLE
        and set(options) <= _OPTIONS
        and warm_python.is_forkable(arguments[1:])
    ):
        return None
    streams = enumerate(("stdin", "stdout", "stderr"))
    if any(_is_terminal(options.get(name), number) for number, name in streams):
        return None
    for starter in _starters(executables()):
        if warm_python.of_start(environment) == starter.of_start:
            return Program(starter, arguments, environment, **options)
    return None


def _is_terminal(stream: Any, number: int) -> bool:
    if stream is None:
        stream = number
    if hasattr(stream, "fileno"):
        stream = stream.fileno()
    return bool(stream >= 0 and os.isatty(stream))
