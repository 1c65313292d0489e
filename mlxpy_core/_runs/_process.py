"""Which process runs a job, and whether it still lives."""

import hashlib
import os
import socket
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from mlxpy_core._io._files import write_whole
from mlxpy_core._io._yaml import dump_yaml, read_fields

from ._directory import RunDirectory

_PROC = Path("/proc")
_NOTE = "process.yaml"
# What tells a process from all others of all times.
_IDENTITY = ("host", "machine_id", "process_id", "process_namespace", "boot_id", "process_start")
# The one of a machine itself, not of a container; its number is a constant of Linux.
_FIRST_NAMESPACE = "pid:[4026531836]"


def describe_process(pid: int | None = None) -> dict[str, Any]:
    """Describes a process of this machine, or this one, so that nobody takes another for it later.

    A process id comes round again; the boot and the start time (in clock ticks after it) do not. Names
    of hosts are not unique either, and a container has process ids of its own. What the system does not
    tell is None.
    """
    pid = pid or os.getpid()
    return {
        "host": socket.gethostname(),
        "machine_id": _machine_id(),
        "process_id": pid,
        "process_namespace": _process_namespace(),
        "boot_id": _boot_id(),
        "process_start": _start_ticks(pid),
        "network_cards": _network_cards(),
    }


def process_name(pid: int | None = None) -> str:
    """Returns a name that no other process of this machine has, of any time: its id and a digest."""
    pid = pid or os.getpid()
    known = describe_process(pid)
    text = " ".join(str(known[name]) for name in _IDENTITY)
    return f"{pid}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def describe_living_process(pid: int | None = None) -> dict[str, Any]:
    """Describes a process as `describe_process` does, and when it was seen alive.

    A machine that was started later has been started again since, and the process is gone.
    """
    return {**describe_process(pid), "alive_at": round(time.time(), 3)}


def note_process(directory: RunDirectory, pid: int) -> None:
    """Notes which process a run's script is."""
    write_whole(noted_process_path(directory), dump_yaml(describe_living_process(pid)), directory.logs)


def noted_process_path(directory: RunDirectory) -> Path:
    """Returns where `note_process` writes."""
    return directory.state / _NOTE


def noted_process(directory: RunDirectory) -> dict[str, Any] | None:
    """Returns the description that `note_process` wrote; None if there is none."""
    return read_fields(noted_process_path(directory))


def lives_here(process: dict[str, Any]) -> bool:
    """Returns whether a described process is known to be alive on this machine.

    False also where that cannot be known: another host, another container, a system without ``/proc``.
    """
    return _is_alive(process) is True


def died_here(process: dict[str, Any]) -> bool:
    """Returns whether a described process ran on this machine and is known to have ended."""
    return _is_alive(process) is False or _was_ended_by_a_reboot(process)


def is_of_this_boot(process: Mapping[str, Any]) -> bool:
    """Returns whether a described process is known to have run here since this machine was started."""
    own = {
        "host": socket.gethostname(),  # machines that were copied while they ran share the rest
        "boot_id": _boot_id(),
        "process_namespace": _process_namespace(),
    }
    return _same(process, **own)


def _is_alive(process: dict[str, Any]) -> bool | None:
    """Returns whether a process of this boot and this process namespace is alive; None if unknown.

    Boot and namespace tell machines and containers apart: names and machine ids alone need not.
    """
    pid, start = process.get("process_id"), process.get("process_start")
    if not _is_process_id(pid) or start is None or not is_of_this_boot(process):
        return None
    state, *fields = _stat(pid)
    # In a process namespace that did not mount its own, /proc shows the one outside, and its numbers.
    if fields and _target(_PROC / "self") == str(os.getpid()):
        return state not in "ZX" and int(fields[18]) == start
    try:  # mounted with hidepid, /proc shows no process of another user
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return None  # its number is in use, by it or by a later process


def _was_ended_by_a_reboot(process: dict[str, Any]) -> bool:
    """Returns whether this very machine has been started again since a process was described.

    Two machines may have one name and one machine id: clones, and containers of one image. Containers
    are never believed, and machines only where their network cards are the same and this one was
    started when the process had been seen alive.
    """
    own = {"host": socket.gethostname(), "machine_id": _machine_id()}
    namespaces = {process.get("process_namespace"), _process_namespace()}
    if namespaces != {_FIRST_NAMESPACE} or not _same(process, **own):
        return False
    if "network_cards" in process and not _same(process, network_cards=_network_cards()):
        return False  # descriptions of earlier versions do not have them
    alive_at = process.get("alive_at")  # nor this
    if isinstance(alive_at, (int, float)) and _boot_time() <= alive_at:
        return False
    boots = (process.get("boot_id"), _boot_id())
    return None not in boots and boots[0] != boots[1]


def _is_process_id(pid: object) -> TypeGuard[int]:
    return isinstance(pid, int) and 0 < pid < 2**31  # others mean groups, or all processes


def _same(process: Mapping[str, Any], **own: str | None) -> bool:
    return all(value is not None and process.get(key) == value for key, value in own.items())


def _machine_id() -> str | None:
    return _content(Path("/etc/machine-id")) or None


def _process_namespace() -> str | None:
    return _target(_PROC / "self/ns/pid")


def is_same_process(process: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Returns whether two descriptions are of one process."""
    return all(process.get(key) == other.get(key) for key in _IDENTITY)


def ancestors() -> Iterator[int]:
    """Lists the ids of this process's parent, its parent, and so on, as far as the system shows them."""
    pid: int | None = os.getppid()
    while pid:
        yield pid
        pid = _parent_of(pid)


def processes_here() -> list[int]:
    """Lists the ids of all processes that the system shows."""
    try:
        return [int(name) for name in os.listdir(_PROC) if name.isdecimal()]
    except OSError:
        return []


def detached_processes() -> list[int]:
    """Lists the ids of the processes that lead a session without a terminal.

    So are the commands of schedulers that a process has called, and the scripts that it has started.
    """
    found = []
    for pid in processes_here():
        state, *fields = _stat(pid)
        if state not in "ZX" and fields[2] == str(pid) and fields[3] == "0":
            found.append(pid)
    return found


def working_directory(pid: int) -> str:
    """Returns the working directory of a process; empty if it cannot be read."""
    return _target(_PROC / str(pid) / "cwd") or ""


def group_lives(groups: Collection[int]) -> bool:
    """Returns whether a process of one of these groups is seen that has not ended."""
    if not groups:
        return False
    stats = (_stat(pid) for pid in processes_here())
    return any(state not in "ZX" and int(fields[1]) in groups for state, *fields in stats)


def arguments_of(pid: int) -> list[str]:
    """Returns a process's command, its relative paths made absolute; empty if it cannot be read."""
    try:
        written = os.fsdecode((_PROC / str(pid) / "cmdline").read_bytes())
        directory = os.readlink(_PROC / str(pid) / "cwd")
    except OSError:
        return []
    arguments = written.split("\0")[:-1]
    paths = (os.path.realpath(os.path.join(directory, one)) for one in arguments)
    return [path if os.path.exists(path) else one for one, path in zip(arguments, paths, strict=True)]


def start_environment(pid: int) -> dict[str, str] | None:
    """Returns the variables that a process was started with, whatever it has set since.

    None where that cannot be read: another user's process, a system without ``/proc``.
    """
    try:
        text = os.fsdecode((_PROC / str(pid) / "environ").read_bytes())
    except OSError:
        return None
    return dict(entry.partition("=")[::2] for entry in text.split("\0") if "=" in entry)


def start_time(pid: int) -> float:
    """Returns the time by which a process had started, in seconds since 1970; 0 if unknown."""
    ticks = _start_ticks(pid)
    if ticks is None:
        return 0
    return _boot_time() + (ticks + 1) / os.sysconf("SC_CLK_TCK")  # they are rounded down


def _boot_time() -> float:
    # The kernel's own btime is in whole seconds, and two launches may be closer together.
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def _boot_id() -> str | None:
    return _content(_PROC / "sys/kernel/random/boot_id")


def _network_cards() -> str | None:
    """Returns a digest of the addresses of this machine's network cards; None if it has none.

    Containers have no card of their own, and a clone's differ.
    """
    cards = (device.parent for device in Path("/sys/class/net").glob("*/device"))
    addresses = [address for card in cards if (address := _content(card / "address")) is not None]
    if not addresses:
        return None
    return hashlib.sha256(" ".join(sorted(addresses)).encode()).hexdigest()[:16]


def _start_ticks(pid: int) -> int | None:
    state, *fields = _stat(pid)
    return None if state in "ZX" else int(fields[18])  # field 22 of proc(5)


def _parent_of(pid: int) -> int | None:
    state, *fields = _stat(pid)
    return None if state in "ZX" else int(fields[0])


def _stat(pid: int) -> list[str]:
    """Returns the fields of a process's state from the third on; that of a process that is gone is X."""
    # The command in field 2 may hold spaces and parentheses itself.
    stat = _content(_PROC / str(pid) / "stat")
    return ["X"] if stat is None else stat.rpartition(")")[2].split()


def _content(path: Path) -> str | None:
    """Returns what a file of the system holds; None if it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def _target(path: Path) -> str | None:
    """Returns where a link of the system leads; None if it cannot be read."""
    try:
        return os.readlink(path)
    except OSError:
        return None
