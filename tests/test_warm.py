"""A program that is forked is what one that is started is."""

import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest
import warm
from conftest import Project

PROGRAM = """
    import atexit, json, os, resource, signal, sys
    from mlxpy_core._runs._start_of_process import ARGUMENTS, environment_at_start
    atexit.register(print, "at exit")
    print(json.dumps({
        "argv": sys.argv, "command": sys.orig_argv, "path": sys.path, "name": __name__, "file": __file__,
        "directory": os.getcwd(), "doc": __doc__, "session": os.getsid(0) == os.getpid(),
        "descriptors": len(os.listdir("/proc/self/fd")), "environment": dict(os.environ),
        "files": resource.getrlimit(resource.RLIMIT_NOFILE), "arguments": ARGUMENTS,
        "interrupts": str(signal.getsignal(signal.SIGINT)), "main": sys.modules["__main__"].PROGRAM,
    }))
    sys.stdout.flush()
    print(input(), file=sys.stderr)
    how = sys.argv[1]
    if how == "raise":
        raise ValueError("as asked")
    if how.startswith("SIG"):
        os.kill(os.getpid(), getattr(signal, how))
    sys.exit(int(how))
"""


@pytest.mark.parametrize(
    ("how", "exit_code"),
    [("0", 0), ("3", 3), ("raise", 1), *((one.name, -one) for one in (signal.SIGINT, signal.SIGKILL))],
)
def test_forked_and_started_programs_are_alike(
    project: Project, monkeypatch: pytest.MonkeyPatch, how: str, exit_code: int
) -> None:
    project.write("program.py", "PROGRAM = 1\n" + PROGRAM.replace("\n    ", "\n"))
    ends: list[Any] = []
    for forked in (False, True):
        monkeypatch.setattr(warm.Warm, "allowed", forked)
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "start_new_session": True}
        with project.start("program.py", how, "a b", **pipes) as process:
            assert isinstance(process, warm.Program) is (forked and hasattr(os, "pidfd_open"))
            assert process.poll() is None
            output = process.communicate("said\n", timeout=60)
        first, _, rest = output[0].partition("\n")
        ends.append((process.returncode, json.loads(first), rest, output[1]))
    assert ends[0] == ends[1]
    assert ends[0][0] == exit_code
    assert ends[0][3].startswith("said\n")


@pytest.mark.parametrize(("name", "forked"), [("SET", True), ("PYTHONHASHSEED", False), ("RANK", False)])
def test_variables_that_are_read_at_the_start_are_no_forks(
    project: Project, monkeypatch: pytest.MonkeyPatch, name: str, forked: bool
) -> None:
    monkeypatch.setattr(warm.Warm, "allowed", True)
    project.write("program.py", f"import os; print(os.environ[{name!r}])")
    with project.start("program.py", env={name: "1"}) as process:
        assert isinstance(process, warm.Program) is (forked and hasattr(os, "pidfd_open"))
        assert process.communicate(timeout=60) == ("1\n", "")


need_forks = pytest.mark.skipif(
    not hasattr(os, "pidfd_open"), reason="this system does not tell of ends"
)
OF_A_SHELL = """
import os, signal, sys
from mlxpy_core._runs._start_of_process import environment_at_start
started = {name: value for name, value in environment_at_start().items() if name not in ("_", "LC_CTYPE")}
interrupts = str(signal.getsignal(signal.SIGINT))
print(sys.argv, sys.path[0], interrupts, os.sched_getaffinity(0), os.nice(0), started, flush=True)
if sys.argv[1] == "wait":
    signal.signal(signal.SIGUSR1, lambda *_: sys.exit(7))
    print("waiting", os.getpid(), flush=True)
    signal.pause()
if sys.argv[1].startswith("SIG"):
    os.kill(os.getpid(), getattr(signal, sys.argv[1]))
sys.exit(int(sys.argv[1]))
"""


@need_forks
@pytest.mark.parametrize(
    "command",
    [
        "{python} program.py 3 'a  b'",
        "A=1 {python} -m program SIGTERM",
        "{python} -u -c 'import program' 4 & wait $!",  # where SIGINT is ignored
        "taskset -c 0 nice -n 3 {python} program.py SIGKILL",
        "{python} -W error program.py 0",
        "{python} missing.py",
    ],
)
def test_programs_of_shells_are_alike(project: Project, command: str) -> None:
    project.write("program.py", OF_A_SHELL)
    cold, forked = (
        subprocess.run(
            ["bash", "-c", command.format(python=python)],
            cwd=project.path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        for python in (sys.executable, str(warm.executables() / "python"))
    )
    assert cold.stdout or cold.stderr
    assert (cold.returncode, cold.stdout) == (forked.returncode, forked.stdout)


@need_forks
@pytest.mark.parametrize(
    ("number", "exit_code"), [(signal.SIGUSR1, 7), (signal.SIGHUP, -1), (signal.SIGKILL, -9)]
)
def test_signals_to_a_caller_end_its_program(project: Project, number: int, exit_code: int) -> None:
    project.write("program.py", OF_A_SHELL)
    command = [str(warm.executables() / "python"), "program.py", "wait"]
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=project.path, **pipes) as caller:
        assert caller.stdout is not None
        _, waiting = (caller.stdout.readline() for _ in range(2))
        assert waiting.split()[1] != str(caller.pid)
        caller.send_signal(number)
        assert caller.wait(60) == exit_code
        assert caller.stdout.read() == ""  # so the program has ended, too
