"""An interpreter, as jobs and shells of the tests call it, whose programs are forked; see `warm`.

What it cannot have forked it starts itself, in its own place. It imports little: its own start is what
a job costs.
"""

import marshal
import os
import resource
import signal
import socket
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # typing is a slow import
    from typing import Any, NoReturn

# Variables that the start of an interpreter reads, or packages when they are imported.
OF_START = ("PYTHON", "LD_", "LC_", "LANG", "TZ", "MPI_", "OMPI_", "PMI", "MASTER_", "TORCH")
OF_RANKS = ("RANK", "WORLD_SIZE")
# Modules whose processes are known by their id, or by their parent.
KNOWN_BY_ID = ("submitit.",)
# Where a program runs: what is forked elsewhere is somewhere else.
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
LIMITS = sorted(
    value for name, value in vars(resource).items() if name.startswith("RLIMIT_") and value >= 0
)


def of_start(environment: "dict[str, str]") -> "dict[str, str]":
    """Returns what a start depends on."""
    given = {
        name: value
        for name, value in environment.items()
        if name.startswith(OF_START) or name.endswith(OF_RANKS)
    }
    encoding = given.pop("LC_ALL", "") or given.pop("LC_CTYPE", "") or given.pop("LANG", "")
    return {**given, "LC_CTYPE": encoding or "C.UTF-8"}  # PEP 538


def place() -> "list[object]":
    """Describes where a program would be forked, and by whom."""
    with open("/proc/self/cgroup") as groups:
        namespaces = [os.readlink(f"/proc/self/ns/{name}") for name in NAMESPACES]
        return [
            namespaces,
            groups.read(),
            [*os.getresuid(), *os.getresgid()],
            sorted({os.getgid(), *os.getgroups()}),
        ]


def is_forkable(words: "list[str]") -> bool:
    """Tells whether ``python words...`` is a program, without options of the interpreter but ``-u``."""
    if words[:1] == ["-u"]:
        words = words[1:]
    if words[:1] in (["-m"], ["-c"]):
        return len(words) > 1 and not words[1].startswith(KNOWN_BY_ID)
    return bool(words) and words[0].endswith((".py", "/mlxpy"))


def request(command: "list[str]", environment: "dict[str, str]", **changes: object) -> "dict[str, Any]":
    """Describes the start of a program as by this process."""
    umask = os.umask(0)
    os.umask(umask)
    return {
        "arguments": command,
        "environment": environment,
        "cwd": os.getcwd(),
        "umask": umask,
        "limits": {limit: resource.getrlimit(limit) for limit in LIMITS},
        "processors": sorted(os.sched_getaffinity(0)),
        "niceness": os.getpriority(os.PRIO_PROCESS, 0),
        "ignored_signals": [],
        "blocked_signals": [],
        "new_session": False,
        "dies_with_caller": False,
        **changes,
    }


def send(path: str, asked: "dict[str, Any]", streams: "list[int]") -> "tuple[socket.socket, int | None]":
    """Asks a process for a program; returns the connection, and the program's id."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    text = marshal.dumps(asked)
    socket.send_fds(connection, [struct.pack("I", len(text))], streams)
    connection.sendall(text)
    return connection, receive(connection)


def receive(connection: socket.socket) -> "int | None":
    """Waits for the program's id, then for its status, as ``waitpid`` gives it; None if nobody answers."""
    answer = connection.recv(4)
    return struct.unpack("i", answer)[0] if answer else None


def has_other_streams() -> bool:
    """Tells whether a program would inherit other than three streams, or a terminal."""
    return len(os.listdir("/proc/self/fd")) != 4 or any(map(os.isatty, range(3)))  # it lists its own


def main(
    python: str,
    program: "list[str]",
    place_of_starters: "list[object]",
    starters: "list[tuple[dict[str, str], str]]",
) -> "NoReturn":
    """Starts what the arguments say.

    Args:
        python: the interpreter.
        program: the script of which this is the command, if it is one's.
        place_of_starters: where forked programs run, see `place`.
        starters: for each process that forks, what its start depended on, and its socket.
    """
    command = [python, *program, *sys.argv[1:]]
    environment = dict(os.environ)
    paths = [path for variables, path in starters if variables == of_start(environment)]
    if paths and is_forkable(command[1:]) and place() == place_of_starters and not has_other_streams():
        have_forked(paths[0], command, environment)
    os.execv(command[0], command)


def have_forked(path: str, command: "list[str]", environment: "dict[str, str]") -> None:
    """Has the program forked, passes signals on to it, and ends as it ends; returns if it cannot be forked."""
    possible = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGPIPE}
    ignored = [one for one in possible if signal.getsignal(one) == signal.SIG_IGN]
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, possible)
    asked = request(
        command,
        environment,
        ignored_signals=list(map(int, ignored)),
        blocked_signals=list(map(int, blocked)),
        dies_with_caller=True,
    )
    try:
        connection, process_id = send(path, asked, [0, 1, 2])
    except OSError:
        process_id = None
    if process_id:
        for one in possible.difference(ignored):
            signal.signal(one, lambda number, _: os.kill(process_id, number))
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    if process_id:
        end_as(receive(connection))


def end_as(status: "int | None") -> "NoReturn":
    if status is None:
        os._exit(70)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
        os.kill(os.getpid(), number)
    os._exit(os.WEXITSTATUS(status))
