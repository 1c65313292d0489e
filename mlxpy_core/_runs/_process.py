"""Which process runs a job, and whether it still lives."""

import os
import socket
import time
from pathlib import Path
from typing import Any

import yaml

from mlxpy_core._io._files import write_whole
from mlxpy_core._io._yaml import dump_yaml, load_yaml

from ._directory import RunDirectory

_PROC = Path("/proc")
_NOTE = "process.yaml"


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
    }


def note_process(directory: RunDirectory, pid: int) -> None:
    """Notes which process a run's script is."""
    write_whole(noted_process_path(directory), dump_yaml(describe_process(pid)))


def noted_process_path(directory: RunDirectory) -> Path:
    """Returns where `note_process` writes."""
    return directory.state / _NOTE


def noted_process(directory: RunDirectory) -> dict[str, Any] | None:
    """Gives the description that `note_process` wrote; None if there is none."""
    try:
        noted = load_yaml(noted_process_path(directory).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return noted if isinstance(noted, dict) else None


def lives_here(process: dict[str, Any]) -> bool:
    """Tells whether a described process is known to be alive on this machine.

    False also where that cannot be known: another host, another container, a system without ``/proc``.
    """
    return _can_be_looked_up(process) and _is_there(process)


def died_here(process: dict[str, Any]) -> bool:
    """Tells whether a described process ran on this machine and is known to have ended."""
    if not (
        _is_described(process) and _same(process, host=socket.gethostname(), machine_id=_machine_id())
    ):
        return False
    if not _same(process, boot_id=_boot_id()):
        return True
    return _can_be_looked_up(process) and not _is_there(process)


def _is_described(process: dict[str, Any]) -> bool:
    return all(process.get(key) is not None for key in ("process_id", "process_start", "boot_id"))


def _can_be_looked_up(process: dict[str, Any]) -> bool:
    own = {"boot_id": _boot_id(), "process_namespace": _process_namespace()}
    return _is_described(process) and _same(process, **own)


def _same(process: dict[str, Any], **own: str | None) -> bool:
    return all(process.get(key) == value for key, value in own.items())


def _is_there(process: dict[str, Any]) -> bool:
    return bool(_start_ticks(process["process_id"]) == process["process_start"])


def _machine_id() -> str | None:
    try:
        return Path("/etc/machine-id").read_text().strip() or None
    except OSError:
        return None


def _process_namespace() -> str | None:
    try:
        return os.readlink(_PROC / "self/ns/pid")
    except OSError:
        return None


def start_of_parent() -> float:
    """Gives the time at which this process's parent started, in seconds since 1970; 0 if unknown."""
    ticks = _start_ticks(os.getppid())
    if ticks is None:
        return 0
    # The kernel's own btime is in whole seconds, and two launches may be closer together.
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return boot + ticks / os.sysconf("SC_CLK_TCK")


def _boot_id() -> str | None:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def _start_ticks(pid: int) -> int | None:
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # Field 22 of proc(5); the command in field 2 may hold spaces and parentheses itself.
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else int(fields[18])
