"""The process that forks programs: it has imported what they import. See `warm`."""

import contextlib
import ctypes
import dataclasses
import gc
import importlib
import importlib.machinery
import marshal
import os
import pkgutil
import resource
import runpy
import selectors
import signal
import socket
import struct
import sys
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


@dataclasses.dataclass
class Child:
    """A program that runs, and the connection of who has asked for it."""

    process_id: int
    caller: socket.socket


def serve(listener: socket.socket, life: int) -> dict[str, Any]:
    """Forks for each request; returns it in the child. The process ends with the one that started it."""
    children: dict[int, Child] = {}  # by the descriptor that tells of their end
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        selector.register(life, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd == life:
                    sys.exit()
                elif key.fileobj is listener:
                    caller, _ = listener.accept()
                    request, streams = _receive(caller)
                    process_id = _fork()
                    if process_id == 0:
                        for number, stream in enumerate(streams):
                            os.dup2(stream, number)
                        for child in children.values():
                            child.caller.close()
                        caller.close()
                        _close(*streams, *children, life)
                        return request
                    _close(*streams)
                    child = Child(process_id, caller)
                    _tell(child, process_id)
                    ended = os.pidfd_open(process_id)
                    children[ended] = child
                    selector.register(ended, selectors.EVENT_READ, child)
                    if request["dies_with_caller"]:
                        selector.register(caller, selectors.EVENT_READ, child)
                elif key.fd in children:
                    child = children.pop(key.fd)
                    selector.unregister(key.fd)
                    _close(key.fd)
                    _tell(child, os.waitpid(child.process_id, 0)[1])
                    with contextlib.suppress(KeyError):
                        selector.unregister(child.caller)
                    child.caller.close()
                else:  # the caller has been killed
                    selector.unregister(key.fileobj)
                    if key.data in children.values():
                        os.kill(key.data.process_id, signal.SIGKILL)


def _receive(caller: socket.socket) -> tuple[dict[str, Any], list[int]]:
    head, streams, _, _ = socket.recv_fds(caller, 4, 3)
    (length,) = struct.unpack("I", head)
    text = b""
    while len(text) < length:
        text += caller.recv(length - len(text))
    return marshal.loads(text), streams


def _fork() -> int:
    with warnings.catch_warnings():  # arrow has threads of its own, and sees to forks
        warnings.simplefilter("ignore")
        return os.fork()


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _tell(child: Child, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
        child.caller.sendall(struct.pack("i", number))


def become(request: dict[str, Any], executable: str) -> list[str]:
    """Makes this process what a start by the request's command makes.

    Args:
        request: as `warm_python.request` makes it.
        executable: the interpreter of programs that this one starts.

    Returns:
        The command's words from the program on.
    """
    _take_over(request)
    command, environment = request["arguments"], request["environment"]
    os.environ.clear()
    os.environ.update(environment)
    words = command[1:]
    if words[0] == "-u":
        sys.stdout.reconfigure(write_through=True)  # type: ignore[union-attr]  # as it is made at a start
        words = words[1:]
    is_there = words[0] in ("-c", "-m") or os.path.isfile(words[0])
    if not (is_there and _show(environment)):
        os.execv(command[0], command)
    sys.executable = executable
    sys.orig_argv[:] = command
    sys.argv[:] = words[:1] + words[2:] if words[0] in ("-c", "-m") else words
    for name, module in sys.modules.items():  # asked for when they are imported
        if name.startswith("mlxpy_core._runs.") and hasattr(module, "ARGUMENTS"):
            module.ARGUMENTS, module.PROGRAM = tuple(sys.argv[1:]), os.path.realpath(sys.argv[0])
    importlib.invalidate_caches()
    return words


def _take_over(request: dict[str, Any]) -> None:
    """Takes over what a program inherits."""
    if request["new_session"]:
        os.setsid()
    elif request["dies_with_caller"]:
        os.setpgid(0, 0)  # who kills its group means that of the caller
    os.umask(request["umask"])
    os.chdir(request["cwd"])
    for limit, values in request["limits"].items():
        if resource.getrlimit(int(limit)) != tuple(values):
            resource.setrlimit(int(limit), values)
    if os.sched_getaffinity(0) != set(request["processors"]):
        os.sched_setaffinity(0, request["processors"])
    if os.getpriority(os.PRIO_PROCESS, 0) < request["niceness"]:
        os.setpriority(os.PRIO_PROCESS, 0, request["niceness"])
    for number in request["ignored_signals"]:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, request["blocked_signals"])


def _show(environment: dict[str, str]) -> bool:
    """Writes the variables where the system shows those of the start; returns whether there is room.

    Source: proc(5), ``/proc/PID/stat``, env_start and env_end.
    """
    start, end = map(int, Path("/proc/self/stat").read_text().rpartition(")")[2].split()[47:49])
    text = b"".join(os.fsencode(f"{name}={value}\0") for name, value in environment.items())
    if len(text) > end - start:
        return False
    ctypes.memmove(start, text.ljust(end - start, b"\0"), end - start)
    return True


def run(words: list[str]) -> None:
    """Runs a program as ``python words...`` does."""
    if words[0] == "-m":
        sys.path[0] = os.getcwd()
        runpy._run_module_as_main(words[1])  # type: ignore[attr-defined]  # what the interpreter itself calls
        return
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = main
    if words[0] == "-c":
        sys.path[0] = ""
        code = compile(words[1], "<string>", "exec", dont_inherit=True)
    else:
        path = os.path.abspath(words[0])
        sys.path[0] = os.path.dirname(os.path.realpath(path))
        main.__file__ = path
        main.__loader__ = importlib.machinery.SourceFileLoader("__main__", path)
        main.__dict__["__cached__"] = None
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


def main() -> None:
    descriptor, life, executable = sys.argv[1:]
    prepare()
    with socket.socket(fileno=int(descriptor)) as listener:
        request = serve(listener, int(life))
    run(become(request, executable))


if __name__ == "__main__":
    main()
