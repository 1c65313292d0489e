"""The GPUs and processors of this machine that a job has for itself.

Each has a file that whoever uses it has locked, this command or another one, also another user's. The
job's processes have the file open; its lock goes with the last of them, however they end, and whether or
not the process that started them still lives.
"""

import contextlib
import errno
import fcntl
import itertools
import os
import re
import stat
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from mlxpy_core._errors import MlxpyError, StorageError
from mlxpy_core._runs._devices import JOB_CPUS_VARIABLE, JOB_GPUS_VARIABLE
from mlxpy_core._runs._process import group_lives

from ._visible_gpus import VisibleGpus, find_visible_gpus

LOCKS_VARIABLE = "MLXPY_LOCKS"
# Not TMPDIR, which each user and each job of a cluster may have to itself.
_LOCKS = "/tmp"  # noqa: S108  # nothing is written there, and links of others are not followed
# Whoever may read a file may lock it. The sticky bit of a file keeps systemd-tmpfiles from removing it.
_MODE = stat.S_ISVTX | 0o444
LOOK_S = 0.5
"""How often is looked whether others have freed some."""

_THREADS_VARIABLE = "OMP_NUM_THREADS"


@dataclass(frozen=True)
class DeviceRequest:
    """How many GPUs and processors a job asks for; none is no bound."""

    gpus: int = 0
    cpus: int = 0

    def __post_init__(self) -> None:
        for name, number in (("gpus_per_job", self.gpus), ("cpus_per_job", self.cpus)):
            if number < 0:
                raise MlxpyError(
                    f"{name}={number} is no number of them: give 1 or more, or 0 for no bound"
                )

    def __bool__(self) -> bool:
        return bool(self.gpus or self.cpus)

    @classmethod
    def of_directives(cls, directives: Sequence[str]) -> "DeviceRequest":
        """Reads what directives of a script ask for; the last of a kind counts."""
        matches = (re.fullmatch(r"(gpus|cpus)_per_job=(\d+)", one.strip()) for one in directives)
        return cls(**{match[1]: int(match[2]) for match in matches if match})

    @classmethod
    def of_script(cls, script: Path) -> "DeviceRequest":
        """Reads what the head of a script asks for; nothing if it cannot be read."""
        try:
            lines = script.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        except OSError:
            return cls()
        head = itertools.takewhile(lambda line: line.startswith("#"), lines)
        return cls.of_directives([line.removeprefix("#").strip() for line in head])

    def __str__(self) -> str:
        kinds = {"GPU": self.gpus, "processor": self.cpus}
        return " and ".join(f"{n} {kind}{'s' * (n != 1)}" for kind, n in kinds.items() if n)

    def directives(self) -> list[str]:
        """Returns the directives that ask for it."""
        wanted = {"gpus_per_job": self.gpus, "cpus_per_job": self.cpus}
        return [f"{name}={number}" for name, number in wanted.items() if number]


@dataclass(frozen=True)
class MachineShare:
    """What a job has of this machine for itself.

    Attributes:
        cpus: the processors that its processes may use; empty for all.
        environment: the variables that tell the job so.
        locks: the descriptors of the locked files, which the job is to inherit.
    """

    cpus: list[int] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    locks: list[int] = field(default_factory=list)

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Has a process that this thread starts in the block use no other processors."""
        if not self.cpus:
            yield
            return
        own = os.sched_getaffinity(0)  # of this thread: the process that it starts has the same
        os.sched_setaffinity(0, self.cpus)
        try:
            yield
        finally:
            os.sched_setaffinity(0, own)

    def leave(self, group: int | None = None) -> None:
        """Leaves it to the job, or frees it if no process of the job's group is left.

        Args:
            group: the process group of a job that has ended.
        """
        # A daemon that the job's set-up has started has left the group, and keeps its files open.
        over = group is not None and not group_lives([group])
        for lock in self.locks:
            if over:
                fcntl.flock(lock, fcntl.LOCK_UN)
            os.close(lock)
        self.locks.clear()


class SharedMachine:
    """The GPUs and processors that a command with some variables may use, and shares with others."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._directory = Path(environment.get(LOCKS_VARIABLE) or _LOCKS)

    @cached_property
    def _gpus(self) -> dict[str, Path]:
        """The file of each GPU, by the word for it."""
        names = {
            word: re.sub(r"[^\w.-]", "_", identity, flags=re.ASCII)
            for word, identity in self._visible.identities.items()
        }
        return {word: self._directory / f"mlxpy-gpu-{name}.lock" for word, name in names.items()}

    @cached_property
    def _cpus(self) -> dict[str, Path]:
        if not hasattr(os, "sched_setaffinity"):
            return {}
        processors = sorted(os.sched_getaffinity(0))
        return {str(number): self._directory / f"mlxpy-cpu-{number}.lock" for number in processors}

    @cached_property
    def _visible(self) -> VisibleGpus:
        return find_visible_gpus(self._environment)

    def check(self, request: DeviceRequest) -> None:
        """Refuses what this command can never have.

        Raises:
            MlxpyError: there are not so many, or they cannot be shared with others.
        """
        if request.gpus > len(self._gpus):
            seen = f"sees {len(self._gpus)}: {', '.join(self._gpus)}"
            none = f"sees no GPU ({self._visible.why_none})"
            raise MlxpyError(
                f"gpus_per_job={request.gpus}, but this command {seen if self._gpus else none}; ask for "
                "fewer, or start it where there are more"
            )
        if request.cpus > len(self._cpus):
            raise MlxpyError(
                f"cpus_per_job={request.cpus}, but this command may use {len(self._cpus)} processors: "
                "ask for fewer"
            )
        for paths, wanted in ((self._gpus, request.gpus), (self._cpus, request.cpus)):
            if wanted:
                _check_locks(paths.values())

    def take(self, request: DeviceRequest) -> MachineShare | None:
        """Takes what a job asks for, or nothing if others have too much of it.

        Returns:
            What it has for itself; None if it has to wait.
        """
        gpus = _locked(self._gpus, request.gpus)
        cpus = _locked(self._cpus, request.cpus)
        told: dict[str, str] = {}
        if gpus:
            named, visible = ",".join(gpus), self._visible
            told = {JOB_GPUS_VARIABLE: named, visible.variable: named, **visible.environment}
        if cpus:
            # What the user has set stays.
            threads = self._environment.get(_THREADS_VARIABLE) or str(len(cpus))
            told |= {JOB_CPUS_VARIABLE: ",".join(cpus), _THREADS_VARIABLE: threads}
        share = MachineShare([int(number) for number in cpus], told, [*gpus.values(), *cpus.values()])
        # All or nothing: two commands that each hold a part would wait for each other.
        if len(gpus) < request.gpus or len(cpus) < request.cpus:
            share.leave()
            return None
        return share

    @contextmanager
    def share(self, request: DeviceRequest) -> Iterator[MachineShare]:
        """Waits for what a job asks for, and frees it in the end as far as the job has ended.

        Raises:
            MlxpyError: this command can never have it.
        """
        self.check(request)
        share = self.take(request)
        if share is None:
            tell_of_wait(request)
        while share is None:
            time.sleep(LOOK_S)
            share = self.take(request)
        try:
            yield share
        finally:
            share.leave()


def tell_of_wait(request: DeviceRequest) -> None:
    """Tells the user that a job waits for what others have."""
    print(f"mlxpy: waiting for {request}: other processes have them", file=sys.stderr)


def _locked(paths: Mapping[str, Path], count: int) -> dict[str, int]:
    """Locks so many of some files, or as many as others leave; returns their descriptors."""
    free = ((name, lock) for name, path in paths.items() if (lock := _try_to_lock(path)) is not None)
    return dict(itertools.islice(free, count))


def _try_to_lock(path: Path) -> int | None:
    try:
        descriptor = _open(path)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # One that was removed meanwhile keeps nobody away.
        if os.path.samestat(os.fstat(descriptor), os.lstat(path)):
            return descriptor
    except OSError:  # EWOULDBLOCK
        pass
    os.close(descriptor)
    return None


def _check_locks(paths: Iterable[Path]) -> None:
    path = None
    try:
        for path in paths:
            os.close(_open(path))
    except OSError as error:
        raise StorageError(
            f"cannot open {path}, by whose lock commands share this machine's GPUs and processors: "
            f"remove it, or set {LOCKS_VARIABLE} to another directory of this machine for all of them",
            error,
        ) from error


def _open(path: Path) -> int:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o444)
        os.fchmod(descriptor, _MODE)  # other users lock it, too, whatever this one's umask is
        return descriptor
    # Nothing is read or written there, so whose file it is does not matter.
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no file", str(path))
    return descriptor
