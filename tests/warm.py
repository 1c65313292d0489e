"""Programs that start faster: forked from a process that has imported what they import.

What they are is what a start makes: processes of their own, whose program, directory, environment,
streams, limits, signals and end are real. What differs: the parent, the command that ``/proc`` shows,
and that Hydra, mlxpy and what they import are there already. Tests of just that are marked `cold`;
`--long` starts all programs by themselves.

Run as a script, this is the process that forks.
"""

import contextlib
import functools
import gc
import importlib
import importlib.machinery
import json
import os
import pkgutil
import re
import resource
import select
import selectors
import socket
import struct
import subprocess
import sys
import threading
import types
import warnings
from pathlib import Path
from typing import Any

# Packages all of whose modules are imported before, but for those that need an extra.
WHOLE = ("mlxpy_core", "hydra_plugins.mlxpy")
NEED_EXTRAS = ("mlxpy_core._top", "mlxpy_core._search", "hydra_plugins.mlxpy._searching")
# What these import when it is needed. A session of noxfile.py names more in WARM_IMPORTS.
MORE = ("csv", "ctypes", "hydra.main", "logging.config", "mlxpy", "pyarrow.compute", "pydoc", "zipfile")
# Composed before: the parsers of Hydra and OmegaConf are slow at the first expression of a kind.
COMPOSED = [
    "hydra/callbacks=mlxp_logger", "+a.b='c d'", "++e=[1,{f: 1e-3}]", "+g=${a.b}-${now:%Y}/x", "~a.b",
]  # fmt: skip
# Variables that the start of an interpreter reads, or that mlxpy asks for as they were at the start.
OF_START = re.compile(
    r"PYTHON|LD_|LC_|LANG|TZ$|MLXPY_RUN$|SLURM_|OAR_|O?MPI_|PMI|.*RANK|.*WORLD_SIZE|MASTER_|TORCH"
)
# As `Project` starts apps; commands are started with the variables of this process.
OF_APPS = {"PYTHONWARNINGS": "ignore"}
# Others are left to the real Popen.
_OPTIONS = {"cwd", "stdin", "stdout", "stderr", "text", "start_new_session"}
_POSSIBLE = hasattr(os, "pidfd_open")
_LIMITS = sorted(
    value for name, value in vars(resource).items() if name.startswith("RLIMIT_") and value >= 0
)


class Warm:
    """Says whether programs may be forked; `conftest` sets it for each test."""

    allowed = False


class Starter:
    """A process that forks programs, all with its environment."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._own, others = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(others.fileno())],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[others.fileno()],
        )
        others.close()
        self._alone = threading.Lock()

    def start(self, request: dict[str, Any], streams: list[int]) -> tuple[int, int]:
        """Starts a program; returns its id, and the pipe that its status comes through."""
        status, told = os.pipe()
        text = json.dumps(request).encode()
        try:
            with self._alone:
                socket.send_fds(self._own, [struct.pack("I", len(text))], [*streams, told])
                self._own.sendall(text)
        finally:
            os.close(told)
        (process_id,) = struct.unpack("i", os.read(status, 4))
        return process_id, status


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
        umask = os.umask(0)
        os.umask(umask)
        request = {
            "arguments": args,
            "cwd": os.fspath(cwd or os.getcwd()),
            "environment": self._environment,
            "umask": umask,
            "limits": [resource.getrlimit(limit) for limit in _LIMITS],
            "new_session": new_session,
        }
        try:
            self.pid, self._status = self._starter.start(request, streams)
            self._child_created = True
        finally:
            self._close_pipe_fds(*pipes)

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if wait_flags & os.WNOHANG and not select.select([self._status], [], [], 0)[0]:
            return 0, 0
        (status,) = struct.unpack("i", os.read(self._status, 4))
        os.close(self._status)
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


@functools.cache
def starter(**more: str) -> Starter:
    return Starter({**ENVIRONMENT, **more})


def start(arguments: list[str], environment: dict[str, str], options: dict[str, Any]) -> Program | None:
    """Starts a program, ``arguments`` from the interpreter on; None if it is to be started cold."""
    if not Warm.allowed or not _POSSIBLE or not set(options) <= _OPTIONS:
        return None
    streams = enumerate(("stdin", "stdout", "stderr"))
    if any(_is_terminal(options.get(name), number) for number, name in streams):
        return None
    for more in ({}, OF_APPS):
        if _of_start(environment) == _of_start({**ENVIRONMENT, **more}):
            return Program(starter(**more), arguments, environment, **options)
    return None


def _of_start(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if OF_START.match(name)}


def _is_terminal(stream: Any, number: int) -> bool:
    if stream is None:
        stream = number
    if hasattr(stream, "fileno"):
        stream = stream.fileno()
    return bool(stream >= 0 and os.isatty(stream))


# The process that forks.


def serve(requests: socket.socket) -> dict[str, Any]:
    """Forks for each request; returns it in the child. The process ends with the one that asks."""
    ended: dict[int, tuple[int, int]] = {}  # by the descriptor of a child: its id, and where to tell
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is requests:
                    request, streams, told = _receive(requests)
                    with warnings.catch_warnings():
                        warnings.simplefilter(
                            "ignore"
                        )  # arrow has threads of its own, and sees to forks
                        child = os.fork()
                    if child == 0:
                        for number, stream in enumerate(streams):
                            os.dup2(stream, number)
                        for descriptor in {*streams, told, *ended, *(one for _, one in ended.values())}:
                            os.close(descriptor)
                        return request
                    os.write(told, struct.pack("i", child))
                    for stream in streams:
                        os.close(stream)
                    watched = os.pidfd_open(child)
                    ended[watched] = child, told
                    selector.register(watched, selectors.EVENT_READ)
                else:
                    child, told = ended.pop(key.fd)
                    selector.unregister(key.fd)
                    os.close(key.fd)
                    _, status = os.waitpid(child, 0)
                    with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
                        os.write(told, struct.pack("i", status))
                    os.close(told)


def _receive(requests: socket.socket) -> tuple[dict[str, Any], list[int], int]:
    head, descriptors, _, _ = socket.recv_fds(requests, 4, 4)
    if not head:
        sys.exit()
    (length,) = struct.unpack("I", head)
    text = b""
    while len(text) < length:
        text += requests.recv(length - len(text))
    *streams, told = descriptors
    return json.loads(text), streams, told


def become(request: dict[str, Any]) -> str:
    """Makes this process what a start by the request's command makes; returns the path of its program."""
    if request["new_session"]:
        os.setsid()
    os.umask(request["umask"])
    for limit, values in zip(_LIMITS, request["limits"], strict=True):
        if resource.getrlimit(limit) != tuple(values):
            resource.setrlimit(limit, values)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.orig_argv[:] = request["arguments"]
    sys.argv[:] = request["arguments"][1:]
    path = os.path.abspath(sys.argv[0])
    for name, module in sys.modules.items():  # asked for when they are imported
        if name.startswith("mlxpy_core._runs.") and hasattr(module, "ARGUMENTS"):
            module.ARGUMENTS, module.PROGRAM = tuple(sys.argv[1:]), os.path.realpath(path)
    sys.path[0] = os.path.dirname(os.path.realpath(path))
    importlib.invalidate_caches()
    return path


def run(path: str) -> None:
    """Runs a program as ``python path`` does."""
    main = types.ModuleType("__main__")
    main.__file__ = path
    main.__loader__ = importlib.machinery.SourceFileLoader("__main__", path)
    main.__dict__["__builtins__"] = __builtins__
    main.__dict__["__cached__"] = None
    sys.modules["__main__"] = main
    code = compile(Path(path).read_bytes(), path, "exec", dont_inherit=True)
    try:
        exec(code, main.__dict__)
    except SystemExit:
        raise
    except BaseException:
        hook = sys.excepthook

        def without_this_file(kind: Any, error: BaseException, trace: Any) -> None:
            shown = trace
            while shown and shown.tb_frame.f_code.co_filename == __file__:
                shown = shown.tb_next
            hook(kind, error.with_traceback(shown), shown)
            error.__traceback__ = trace  # a run asks at the exit where it came from

        sys.excepthook = without_this_file
        raise


def prepare() -> None:
    """Imports what programs import, and composes a config."""
    for name in [*MORE, *os.environ.get("WARM_IMPORTS", "").split()]:
        importlib.import_module(name)
    for name in WHOLE:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}.", onerror=lambda name: None):
            if not module.name.startswith(NEED_EXTRAS):
                importlib.import_module(module.name)
    import hydra
    from hydra.core.plugins import Plugins
    from hydra.core.singleton import Singleton

    with hydra.initialize(version_base=None, config_path=None):
        hydra.compose(overrides=COMPOSED)
    del Singleton._instances[Plugins]  # a program may have plugins of its own
    gc.collect()
    gc.freeze()  # or each program would copy all that was imported, by counting it


def main() -> None:
    requests = socket.socket(fileno=int(sys.argv[1]))
    prepare()
    request = serve(requests)
    requests.close()
    run(become(request))


if __name__ == "__main__":
    main()
