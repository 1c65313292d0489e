"""A program that is asked to stop by a signal: it ends as without mlxpy, and its status says why."""

import signal

import pytest
from conftest import Project

HYDRA = """
import asyncio, os, signal, sys, threading, time
import hydra

{module}

@hydra.main(version_base=None, config_path=None)
def main(cfg):
{task}

if __name__ == "__main__":
    main()
"""

SCRIPT = """
import asyncio, os, signal, sys, threading, time
import mlxpy

{module}

def main():
    logger = mlxpy.Logger("logs")
{task}

main()
"""

FLAG = "stop = []\ndef on_signal(*_): stop.append(1)\n"
STOPS = """
os.kill(os.getpid(), signal.{name})
while not stop:
    pass
"""
EVENT = """
stop = threading.Event()
signal.signal(signal.{name}, lambda *_: stop.set())
threading.Timer(0.1, os.kill, (os.getpid(), signal.{name})).start()
stop.wait()
"""
ASYNCIO = """
async def work():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.{name}, stop.set)
    os.kill(os.getpid(), signal.{name})
    await stop.wait()
asyncio.run(work())
"""
RAISES = """
class Preempted(Exception):
    pass
def on_signal(*_):
    raise Preempted
signal.signal(signal.{name}, on_signal)
os.kill(os.getpid(), signal.{name})
time.sleep(60)
"""
EXITS = """
signal.signal(signal.{name}, lambda *_: sys.exit({code}))
os.kill(os.getpid(), signal.{name})
time.sleep(60)
"""
CHAINED = """
before = signal.getsignal(signal.{name})
def on_signal(*arguments):
    stop.append(1)
    if before not in (None, signal.SIG_DFL, signal.default_int_handler) and callable(before):
        before(*arguments)
assert signal.signal(signal.{name}, on_signal) is before
assert signal.getsignal(signal.{name}) is on_signal
"""
CAUGHT = """
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)
except KeyboardInterrupt:
    {then}
"""


def indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.strip().splitlines())


def write(project: Project, face: str, task: str, module: str = "") -> list[str]:
    """Writes a program and returns the arguments that start it."""
    program = HYDRA if face == "hydra" else SCRIPT
    project.path.joinpath("program.py").write_text(program.format(module=module, task=indented(task)))
    return ["program.py", *(["hydra/callbacks=mlxp_logger"] if face == "hydra" else [])]


def outcome(project: Project) -> tuple[str, str | None]:
    info = project.info()
    assert info["attempts"][-1]["signal"] == info["signal"]
    return info["status"], info["signal"]


@pytest.mark.parametrize(
    ("face", "name"),
    [
        ("hydra", "SIGTERM"),
        ("script", "SIGINT"),
        pytest.param("hydra", "SIGINT", marks=pytest.mark.long),
        pytest.param("script", "SIGTERM", marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize(
    ("module", "task", "exit_code"),
    [
        (FLAG + "signal.signal(signal.{name}, on_signal)", STOPS, 0),
        pytest.param(
            FLAG, "signal.signal(signal.{name}, on_signal)\n" + STOPS, 0, marks=pytest.mark.long
        ),
        (FLAG + "from signal import signal as install", "install(signal.{name}, on_signal)" + STOPS, 0),
        ("stop = []", CHAINED + STOPS, 0),
        ("", EVENT, 0),
        ("", ASYNCIO, 0),
        ("", RAISES, 1),
        ("", EXITS.replace("{code}", "0"), 0),
        ("", EXITS.replace("{code}", "130"), 130),
        (FLAG, "signal.signal(signal.{name}, on_signal)\n" + STOPS + "sys.exit(143)", 143),
    ],
    ids=[
        "module",
        "task",
        "alias",
        "chained",
        "event",
        "asyncio",
        "raises",
        "exit0",
        "exit130",
        "flag143",
    ],
)
def test_a_program_that_stops_by_a_handler_of_its_own_is_interrupted(
    project: Project, face: str, name: str, module: str, task: str, exit_code: int
) -> None:
    arguments = write(project, face, task.replace("{name}", name), module.replace("{name}", name))
    project.run(*arguments, exit_code=exit_code)
    assert outcome(project) == ("INTERRUPTED", name)


@pytest.mark.long("script")
@pytest.mark.parametrize("face", ["hydra", "script"])
@pytest.mark.parametrize(
    ("then", "exit_code"),
    [("pass", 0), ("sys.exit(1)", 1), ("sys.exit(130)", 130), ("raise RuntimeError('stopped')", 1)],
)
def test_ctrl_c_that_is_caught_is_what_interrupted_it(
    project: Project, face: str, then: str, exit_code: int
) -> None:
    project.run(*write(project, face, CAUGHT.format(then=then)), exit_code=exit_code)
    assert outcome(project) == ("INTERRUPTED", "SIGINT")


# The rule is about time: what is long is made so by an earlier start of the signal's.
LONG_AGO = """
import dataclasses
from mlxpy_core import current_run
stopping = current_run().stopping
stopping._handled = dataclasses.replace(stopping._handled, time=stopping._handled.time - {ago})
stopping._started -= {ago} + {before}
"""


@pytest.mark.parametrize(
    ("before", "ago", "status"),
    [
        (0, 1, "INTERRUPTED"),
        (0, 60, "COMPLETE"),
        (300, 60, "INTERRUPTED"),
        (300, 400, "COMPLETE"),
        (9000, 400, "INTERRUPTED"),
        (9000, 700, "COMPLETE"),
    ],
)
def test_a_program_that_goes_on_after_its_handler_has_ignored_the_signal(
    project: Project, before: int, ago: int, status: str
) -> None:
    task = "signal.signal(signal.SIGTERM, lambda *_: None)\nos.kill(os.getpid(), signal.SIGTERM)"
    project.run(*write(project, "script", task + LONG_AGO.format(ago=ago, before=before)))
    assert outcome(project)[0] == status


@pytest.mark.parametrize(
    ("task", "exit_code", "status"),
    [
        ("signal.signal(signal.SIGTERM, signal.SIG_IGN)\nos.kill(os.getpid(), 15)", 0, "COMPLETE"),
        ("signal.signal(signal.SIGTERM, lambda *_: None)\nos.kill(os.getpid(), 15)\n1 / 0", 1, "FAILED"),
        ("signal.signal(signal.SIGTERM, lambda *_: None)", 0, "COMPLETE"),
        ("sys.exit(130)", 130, "FAILED"),
    ],
    ids=["ignored", "error", "no signal", "exit"],
)
def test_what_no_signal_has_stopped_is_not_interrupted(
    project: Project, task: str, exit_code: int, status: str
) -> None:
    project.run(*write(project, "script", task), exit_code=exit_code)
    assert outcome(project) == (status, None)


def test_a_signal_kills_where_the_program_has_put_the_default_back(project: Project) -> None:
    task = "signal.signal(signal.SIGINT, signal.SIG_DFL)\nos.kill(os.getpid(), signal.SIGINT)"
    project.run(*write(project, "script", task), exit_code=-signal.SIGINT)
    assert outcome(project) == ("INTERRUPTED", "SIGINT")


def test_a_program_sees_its_own_handlers_during_the_run_and_after(project: Project) -> None:
    task = """
functions = signal.getsignal, signal.signal
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
for wrong in (lambda: signal.signal(signal.SIGTERM, "x"), lambda: signal.getsignal(10000)):
    try:
        wrong()
    except (TypeError, ValueError):
        continue
    raise AssertionError
handler = lambda *_: None
assert signal.signal(signal.SIGTERM, handler) is signal.SIG_DFL
if os.fork() == 0:
    os._exit(signal.getsignal(signal.SIGTERM) is not handler)
assert os.wait()[1] == 0
logger.close()
assert signal.getsignal(signal.SIGTERM) is handler
assert sys.modules["_signal"].signal.__self__ is sys.modules["_signal"]
"""
    project.run(*write(project, "script", task))
    assert outcome(project) == ("COMPLETE", None)


def test_a_cancelled_program_that_stops_by_itself_is_interrupted(project: Project) -> None:
    task = "signal.signal(signal.SIGTERM, on_signal)\nprint(1, flush=True)\nwhile not stop: time.sleep(0.01)"
    process = project.start(*write(project, "hydra", task, FLAG))
    assert process.stdout is not None
    process.stdout.readline()
    project.mlxpy("cancel", "1", "--yes")
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert outcome(project) == ("INTERRUPTED", "SIGTERM")
