"""Has a run refused by the file system in every way and at every moment, and checks what is left of it.

    python run.py FAULT DISK STEP

Each case is a run in a process of its own, whose calls are refused from some moment on; then the fault is
mended, and what was logged, the run's status, its continuation and the next run are looked at.
"""

import ctypes
import errno
import itertools
import json
import os
import re
import resource
import shutil
import stat
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

from fillers import FILLERS

import mlxpy
from mlxpy_core import RunDirectory, Status
from mlxpy_core._operations._reconciling import reconcile_runs

FAULT, DISK, STEP = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
LOGS = DISK / "logs"
AGAIN = re.compile(r"mlxpy: .*: Input/output error: trying again for \d+ s\n")


class Fault:
    """Refuses nothing."""

    is_bounded = (
        False  # whether all cases are listed, or those up to the first in which nothing is refused
    )
    can_note = True  # whether how a run ended can be noted all the same
    can_remove = True  # whether what a start has made can be removed

    def cases(self) -> Iterator[int]:
        """Lists the cases, as long as something is refused."""
        yield from itertools.count()

    def before_stage(self, number: int, case: int) -> None:
        """Begins to refuse, in the process of the run, before one of its stages."""

    def mend(self) -> None:
        """Refuses nothing any more."""


class Full(Fault):
    """Leaves so many pages or inodes of a small disk."""

    def __init__(self, resource: str) -> None:
        self._filler = FILLERS[resource]

    def cases(self) -> Iterator[int]:
        yield from itertools.count(step=STEP)

    def before_stage(self, number: int, case: int) -> None:
        if number == 0:
            self._filler.fill(DISK, case)

    def mend(self) -> None:
        self._filler.empty(DISK)


class NoFiles(Fault):
    """Lets the process open so many files more from the start on, or none from a later stage on."""

    is_bounded = True
    can_remove = False  # to list a directory is to open it

    def cases(self) -> Iterator[int]:
        yield from range(-len(Life().stages()), 5)

    def before_stage(self, number: int, case: int) -> None:
        case, stage = max(case, 0), max(-case, 0)
        if number == stage:
            used = set(map(int, os.listdir("/proc/self/fd")))
            os.close(listing := os.dup(0))  # has the number that the listing had
            used.remove(listing)
            free = (number for number in itertools.count() if number not in used)
            limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(
                resource.RLIMIT_NOFILE, (next(itertools.islice(free, case, None)), limits[1])
            )


class NoPermission(Fault):
    """Forbids all directories to be written, before each of the stages."""

    is_bounded = True
    can_remove = False

    def cases(self) -> Iterator[int]:
        yield from range(len(Life().stages()))

    def before_stage(self, number: int, case: int) -> None:
        if number == case:
            self._allow(0)

    def mend(self) -> None:
        self._allow(stat.S_IWUSR)

    def _allow(self, write: int) -> None:
        for folder, _, _ in os.walk(LOGS):
            os.chmod(folder, os.stat(folder).st_mode & ~stat.S_IWUSR | write)


class ReadOnly(NoPermission):
    """Mounts the disk read-only over itself, before each of the stages."""

    can_note = True  # by the file that is open
    can_remove = False

    def before_stage(self, number: int, case: int) -> None:
        if number == case:
            subprocess.run(["mount", "--bind", LOGS, LOGS], check=True)
            subprocess.run(["mount", "-o", "remount,bind,ro", LOGS], check=True)

    def mend(self) -> None:
        subprocess.run(["umount", LOGS], check=True)


class MadeReadOnly(NoPermission):
    """Has the kernel make the disk read-only, an ext4 with an error, until it is checked and mounted again."""

    can_note = False

    def before_stage(self, number: int, case: int) -> None:
        if number == case:
            subprocess.run(
                ["sync", "--file-system", DISK], check=True
            )  # what it had not written is lost
            device = os.stat(DISK).st_dev
            name = os.path.basename(
                os.path.realpath(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
            )
            Path(f"/sys/fs/ext4/{name}/trigger_fs_error").write_text("as asked")

    def mend(self) -> None:
        image = f"{DISK}.img"
        subprocess.run(["umount", DISK], check=True)
        subprocess.run(["e2fsck", "-fy", image], capture_output=True)
        subprocess.run(["mount", "-o", "loop,errors=remount-ro", image, DISK], check=True)


class Failing(Fault):
    """Has all calls fail from one on: from each STEPth, as there are many."""

    can_note = can_remove = False
    alone = 0

    def cases(self) -> Iterator[int]:
        yield from itertools.count(step=STEP)

    def before_stage(self, number: int, case: int) -> None:
        if number == 0:
            library = ctypes.CDLL(os.environ["LD_PRELOAD"])
            library.disk_fails_at(os.fsencode(LOGS), ctypes.c_long(case + 1), self.alone)


class FailingOnce(Failing):
    """Has one call fail, each STEPth."""

    alone = 1


class Life:
    """A program with a run: stages that are refused or not."""

    def __init__(self) -> None:
        self.logger: mlxpy.Logger | None = None

    def stages(self) -> "list[tuple[str, Callable[[], object]]]":
        return [
            ("start", self._start),
            ("row 0", lambda: self._log({"row": 0})),
            ("row 1", lambda: self._log({"row": 1})),
            ("checkpoint", lambda: self._logger().log_checkpoint({"row": 1})),
            ("row 2", lambda: self._log({"row": 2, "new": "x" * 5000})),
            ("artifact", lambda: self._logger().log_artifact("x" * 5000, "notes", "text")),
            ("row 3", lambda: self._log({"row": 3})),
            ("end", lambda: self._logger().close()),
        ]

    def _start(self) -> None:
        self.logger = mlxpy.Logger(LOGS, config={"lr": 0.1})

    def _log(self, row: "dict[str, object]") -> None:
        self._logger().log_metrics(row, "train")

    def _logger(self) -> mlxpy.Logger:
        assert self.logger
        return self.logger


def live(fault: Fault, case: int) -> "dict[str, object]":
    """Lives and tells what was done and what was refused."""
    life, done, refused = Life(), [], {}
    for number, (name, act) in enumerate(life.stages()):
        fault.before_stage(number, case)
        try:
            with redirect_stderr(StringIO()) as printed:
                act()
        except mlxpy.MlxpyError as error:
            refused[name] = f"{error}\n"
            if name == "start":
                break
        else:
            done.append(name)
        # What is tried again is announced.
        lines = printed.getvalue().splitlines(keepends=True)
        if told := "".join(line for line in lines if not AGAIN.fullmatch(line)):
            refused[name] = told
    calls = ctypes.CDLL(os.environ["LD_PRELOAD"]).disk_calls() if FAULT.startswith("failing") else 0
    return {"done": done, "refused": refused, "was_reached": bool(refused) or calls > case}


def go_on(log_id: int, done: "list[str]") -> "dict[str, object]":
    """Continues a run and starts another one."""
    with mlxpy.Logger(LOGS, forced_log_id=log_id) as logger:
        if "checkpoint" in done:
            assert logger.load_checkpoint() == {"row": 1}
        if "artifact" in done:
            assert logger.load_artifact("notes") == "x" * 5000
        logger.log_metrics({"row": "last"}, "train")
    return {"next": start_another()}


def start_another() -> int:
    with mlxpy.Logger(LOGS) as logger:
        logger.log_metrics({"row": 0}, "train")
    return logger.log_id


def in_a_process(act: "Callable[[], dict[str, object]]") -> "dict[str, object]":
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            told = act()
        except BaseException:
            told = {"crash": traceback.format_exc()}
        os.write(writing, json.dumps(told).encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as file:
        told = json.loads(file.read())
    os.waitpid(child, 0)
    assert "crash" not in told, told["crash"]
    return told


def rows(log_id: int) -> "list[object]":
    path = LOGS / str(log_id) / "metrics" / "train.json"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    if FAULT.startswith("failing") and lines and not lines[-1].endswith("\n"):
        lines.pop()  # torn, and cut when the file is opened again
    return [json.loads(line)["row"] for line in lines]


def run_ids() -> "set[int]":
    return {int(path.name) for path in LOGS.glob("[0-9]*")} if LOGS.exists() else set()


def check(fault: Fault, case: int) -> bool:
    """Makes a case and checks what is left; returns whether anything was to be refused."""
    shutil.rmtree(LOGS, ignore_errors=True)
    if isinstance(fault, (NoPermission, Failing)):
        LOGS.mkdir()
    try:
        told = in_a_process(lambda: live(fault, case))
    finally:
        fault.mend()
    done, refused = told["done"], told["refused"]
    counts["refused"] += len(refused)
    for sentence in refused.values():
        assert sentence.count("\n") == 1, sentence
        assert sentence.removeprefix("mlxpy: ").startswith("cannot "), sentence
        assert os.strerror(ERRORS[FAULT]) in sentence, sentence
    left = run_ids()
    if "start" in refused:
        for log_id in left:
            assert not fault.can_remove, (case, refused)
            assert not (LOGS / str(log_id) / "metadata" / "info.yaml").exists(), (case, refused)
            shutil.rmtree(LOGS / str(log_id))
        in_a_process(lambda: {"next": start_another()})
        return True
    (log_id,) = left
    logged = [int(name.removeprefix("row ")) for name in done if name.startswith("row ")]
    assert rows(log_id) == logged, (case, told)
    run = RunDirectory(LOGS / str(log_id))
    status = reconcile_runs([run]).statuses[run]
    if "end" in refused and not fault.can_note:
        assert status in (Status.COMPLETE, Status.KILLED), (case, told)
    else:
        assert status is Status.COMPLETE, (case, told, status)
    if "end" in refused and fault.can_note:
        assert "COMPLETE is noted beside it" in refused["end"], (case, told)
        counts["noted"] += 1
    next_id = in_a_process(lambda: go_on(log_id, done))["next"]
    assert next_id != log_id
    kept = [row for row in logged if row < 2] if "checkpoint" in done else logged
    assert rows(log_id) == [*kept, "last"], (case, told)
    leftovers = [*LOGS.rglob(".mlxpy-tmp-*"), *LOGS.rglob(".keys/end-*")]
    assert FAULT == "failing-once" or not leftovers, (case, leftovers)
    counts["kept"] += len(logged)
    for one in (log_id, next_id):
        assert reconcile_runs([RunDirectory(LOGS / str(one))]).statuses.popitem()[1] is Status.COMPLETE
    assert len(mlxpy.Reader(LOGS)) == 2
    counts["runs"] += 1
    return bool(told["was_reached"]) or fault.is_bounded


FAULTS = {
    "no-space": Full("space"),
    "no-inodes": Full("inodes"),
    "no-files": NoFiles(),
    "no-permission": NoPermission(),
    "read-only": ReadOnly(),
    "made-read-only": MadeReadOnly(),
    "failing": Failing(),
    "failing-once": FailingOnce(),
}
ERRORS = {
    "no-space": errno.ENOSPC,
    "no-inodes": errno.ENOSPC,
    "no-files": errno.EMFILE,
    "no-permission": errno.EACCES,
    "read-only": errno.EROFS,
    "made-read-only": errno.EROFS,
    "failing": errno.EIO,
    "failing-once": errno.EIO,
}
counts = {"cases": 0, "refused": 0, "runs": 0, "noted": 0, "kept": 0}
# What is imported late is imported before there is nobody who may, and nothing that can.
LOGS.mkdir(exist_ok=True)
go_on(1, live(Fault(), 0)["done"])
reconcile_runs([RunDirectory(LOGS / "1")])
len(mlxpy.Reader(LOGS))
shutil.rmtree(LOGS)
if FAULT == "no-permission" and os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
the_fault = FAULTS[FAULT]
for number in the_fault.cases():
    counts["cases"] += 1
    if not check(the_fault, number):
        break
print(json.dumps(counts))
