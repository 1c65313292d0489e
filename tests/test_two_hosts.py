"""A network file system that two hosts mount: GlusterFS on this machine; skipped by name where it is not.

The hosts have mounts with caches of their own, host names, machine ids and boot ids.
`MLXPY_OUTAGE_S=20 pytest tests/test_two_hosts.py` has the server and the mount away for as long in each test.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import MLXPY, REPOSITORY, GitProject

from mlxpy_core import MlxpyError, Reader, load_yaml

TWO_HOSTS = str(REPOSITORY / ".ci" / "clusters" / "two_hosts")

pytestmark = pytest.mark.skipif(
    subprocess.run([TWO_HOSTS, "answers"], check=False).returncode != 0,
    reason="there is no GlusterFS here: .ci/clusters/two_hosts up",
)

OUTAGE_S = float(os.environ.get("MLXPY_OUTAGE_S", "4"))

# Logs numbers until it is told to end; prints how many have been logged.
COUNTING = """
import mlxpy, os, sys, threading
logger = mlxpy.Logger(sys.argv[1])
print("started", flush=True)
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
count = 0
while not ended.wait(0.005):
    logger.log_metrics({"count": count}, "train")
    count += 1
logger.log_checkpoint(count)
print(count, flush=True)
"""


class Lab:
    """The file system, and the two hosts that mount it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._do("mount")

    def start(self, host: str, directory: str, *arguments: str) -> "subprocess.Popen[str]":
        """Starts ``python arguments...`` on a host, in a directory of the file system."""
        place = str(self.path / "shared" / directory)
        python = ["env", "-C", place, "PYTHONWARNINGS=error::UserWarning", sys.executable, *arguments]
        return start([TWO_HOSTS, "host", str(self.path), host, *python])

    def directory(self, name: str) -> Path:
        """Makes a directory of the file system; returns it as host A sees it from here."""
        (self.path / "A" / name).mkdir()
        return self.path / "A" / name

    # Faults.

    def process(self, name: str) -> int:
        return int((self.path / f"{name}.pid").read_text())

    def stop_server(self, seconds: float) -> None:
        """Has the server answer nothing for a while."""
        os.kill(self.process("server"), signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            os.kill(self.process("server"), signal.SIGCONT)

    def restart_server(self, seconds: float) -> None:
        """Kills the server, and starts it again after a while."""
        os.kill(self.process("server"), signal.SIGKILL)
        time.sleep(seconds)
        self._do("serve")

    def serve_again(self, *options: str) -> None:
        """Kills the server, and starts it again, ``read-only`` or as it was."""
        os.kill(self.process("server"), signal.SIGKILL)
        self._do("serve", *options)

    def remount(self, seconds: float) -> None:
        """Kills the mount of host A, removes it, and mounts it again after a while."""
        os.kill(self.process("A"), signal.SIGKILL)
        time.sleep(seconds / 2)
        self.mount_again(seconds / 2)

    def mount_again(self, seconds: float = 0) -> None:
        subprocess.run(["umount", "-l", str(self.path / "A")], check=True)
        time.sleep(seconds)
        self._do("remount", "A")

    def end(self) -> None:
        self._do("unmount")
        shutil.rmtree(self.path)

    def _do(self, action: str, *arguments: str) -> None:
        subprocess.run([TWO_HOSTS, action, str(self.path), *arguments], check=True, timeout=100)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    # Not below pytest's own directory: the paths of Unix sockets are short.
    lab = Lab(Path(tempfile.mkdtemp(prefix="mlxpy-lab-", dir="/tmp")))
    yield lab
    lab.end()


def start(command: list[str]) -> "subprocess.Popen[str]":
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, text=True, **pipes)


def counts(logs: Path, log_id: int = 1) -> list[int]:
    text = (logs / str(log_id) / "metrics" / "train.json").read_text()
    return [json.loads(line)["count"] for line in text.splitlines()]


def info(logs: Path, log_id: int = 1) -> Any:
    return load_yaml((logs / str(log_id) / "metadata" / "info.yaml").read_text())


def end_counting(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Tells it to end; returns how many rows it was told are logged, and standard error."""
    stdout, stderr = process.communicate("", timeout=100)
    assert process.returncode == 0, stderr
    return int(stdout.split()[-1]), stderr


def started(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n", process.communicate()[1]


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        ("stop_server", OUTAGE_S),
        ("restart_server", OUTAGE_S),
        pytest.param("restart_server", max(OUTAGE_S, 20), marks=pytest.mark.long),
        ("remount", OUTAGE_S),
    ],
)
def test_rows_that_were_logged_are_there_after_an_outage(lab: Lab, fault: str, seconds: float) -> None:
    logs = lab.directory(f"{fault}-{seconds}") / "logs"
    process = start([sys.executable, "-c", COUNTING, str(logs)])
    started(process)
    time.sleep(0.5)
    getattr(lab, fault)(seconds)
    time.sleep(0.5)
    count, stderr = end_counting(process)
    assert counts(logs) == list(range(count))
    assert info(logs)["status"] == "COMPLETE"
    assert "Traceback" not in stderr


@pytest.mark.parametrize("fault", ["restart_server", "remount"])
def test_a_run_that_ends_in_an_outage_gets_its_status_after_it(lab: Lab, fault: str) -> None:
    logs = lab.directory(f"end-{fault}") / "logs"
    process = start([sys.executable, "-c", COUNTING, str(logs)])
    started(process)
    time.sleep(0.5)
    with ThreadPoolExecutor(1) as pool:
        outage = pool.submit(getattr(lab, fault), seconds=OUTAGE_S)
        time.sleep(1)
        count, stderr = end_counting(process)
        outage.result()
    assert counts(logs) == list(range(count))
    assert info(logs)["status"] == "COMPLETE"
    assert "Traceback" not in stderr
    assert ": trying again for " in stderr


# Logs until its input has ended, whatever is refused, which it tells; prints what was logged in the end.
REFUSED = """
import json, mlxpy, os, sys, threading
logger = mlxpy.Logger(sys.argv[1])
print("started", flush=True)
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
count, logged, refused = 0, [], ""
while not ended.wait(0.002):
    try:
        logger.log_metrics({"count": count}, "train")
    except mlxpy.StorageError as error:
        if refused != str(error):
            print("refused:", error, flush=True)
        refused = str(error)
    else:
        if refused:
            print("logged again", flush=True)
        logged.append(count)
        refused = ""
    count += 1
logger.close()
print(json.dumps(logged), flush=True)
"""


def test_rows_of_a_file_system_that_is_read_only_for_a_while(lab: Lab) -> None:
    logs = lab.directory("read-only") / "logs"
    process = start([sys.executable, "-c", REFUSED, str(logs)])
    started(process)
    assert process.stdout is not None
    time.sleep(0.5)
    lab.serve_again("read-only")
    assert process.stdout.readline() == "refused: cannot log metrics 'train': Read-only file system\n"
    lab.serve_again()
    assert process.stdout.readline() == "logged again\n"
    stdout, stderr = process.communicate("", timeout=100)
    assert counts(logs) == json.loads(stdout)
    assert info(logs)["status"] == "COMPLETE"
    assert "Traceback" not in stderr


def test_a_reader_says_that_the_file_system_is_away(lab: Lab) -> None:
    logs = lab.directory("away")
    os.kill(lab.process("A"), signal.SIGKILL)
    try:
        with pytest.raises(MlxpyError, match=f"cannot read the runs in '{logs}': Transport endpoint"):
            Reader(logs)
    finally:
        lab.mount_again()


READING = """
import mlxpy, sys, threading, time
print("started", flush=True)
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()

def short(reader):
    complete = reader.search("info.status == 'COMPLETE'")
    if not len(complete):
        return set()
    numbers = complete["info.log_id"]
    found = {number for number, counts in zip(numbers, complete["train.count"]) if len(counts) != 50}
    return found | {row["info.log_id"] for row in complete[-3:] if len(row["train.count"]) != 50}

seen = 0
while not ended.is_set():
    reader = mlxpy.Reader("logs")
    results = reader.search()
    assert len(results) >= seen, f"{seen - len(results)} of {seen} runs have vanished"
    seen = len(results)
    if first := short(reader):
        time.sleep(3)  # this host may have had an old length of the file, for a second or two
        assert not first & short(mlxpy.Reader("logs")), first
print(seen)
"""
GROWING = """
import mlxpy, sys, threading
print("started", flush=True)
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
while not ended.is_set():
    with mlxpy.Logger("logs") as logger:
        for count in range(50):
            logger.log_metrics({"count": count}, "train")
"""


def test_two_readers_of_a_growing_directory(lab: Lab, times: Callable[[int, int], int]) -> None:
    lab.directory("growing")
    programs = [
        lab.start(host, "growing", "-c", program) for program in (GROWING, READING) for host in "AB"
    ]
    for program in programs:
        started(program)
    time.sleep(times(1, 10))
    for program in programs:
        _, stderr = program.communicate("", timeout=60)
        assert program.returncode == 0, stderr
        assert stderr == ""


# Gives this host the name and the machine id of host A.
AS_A = """
import os, subprocess, sys
lab, *command = sys.argv[1:]
subprocess.run(["hostname", "hostA"], check=True)
subprocess.run(["mount", "--bind", f"{lab}/hosts/machine-id-A", "/etc/machine-id"], check=True)
os.execv(command[0], command)
"""


def test_a_run_is_not_killed_by_a_host_of_the_same_name_and_machine_id(lab: Lab) -> None:
    lab.directory("clones")
    process = lab.start("A", "clones", "-c", COUNTING, "logs")
    started(process)
    clone = lab.start("B", "clones", "-c", AS_A, str(lab.path), MLXPY, "ls", "--json")
    stdout, stderr = clone.communicate(timeout=60)
    assert (clone.returncode, stderr) == (0, "")
    assert [run["info.status"] for run in json.loads(stdout)] == ["RUNNING"]
    end_counting(process)
    assert info(lab.path / "A" / "clones" / "logs")["status"] == "COMPLETE"


NUMBERS = """
import sys
from pathlib import Path
from mlxpy_core import take_run_directory
print("started", flush=True)
sys.stdin.readline()
print(*(take_run_directory(Path("logs")).log_id for _ in range(25)))
"""


def test_numbers_taken_on_two_hosts_at_once(lab: Lab) -> None:
    lab.directory("numbers")
    processes = [lab.start(host, "numbers", "-c", NUMBERS) for host in "AB" * 2]
    for process in processes:
        started(process)
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    taken: list[int] = []
    for process in processes:
        stdout, stderr = process.communicate(timeout=100)
        assert process.returncode == 0, stderr
        taken += map(int, stdout.split())
    assert sorted(taken) == list(range(1, 101))


STEPS = """
import mlxpy, os, signal, sys
logger = mlxpy.Logger("logs", forced_log_id=1)
try:
    step = logger.load_checkpoint()
except FileNotFoundError:
    step = 0
while step < 40:
    logger.log_metrics({"count": step}, "train")
    step += 1
    if step % 10 == 0:
        logger.log_checkpoint(step)
    if step == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_run_that_was_killed_is_continued_on_the_other_host(lab: Lab) -> None:
    logs = lab.directory("resumed") / "logs"
    for host, killed_at in [("A", 15), ("B", 27), ("A", 0)]:
        process = lab.start(host, "resumed", "-c", STEPS, str(killed_at))
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == (-signal.SIGKILL if killed_at else 0), stderr
    assert counts(logs) == list(range(40))
    assert [attempt["status"] for attempt in info(logs)["attempts"]] == ["KILLED", "KILLED", "COMPLETE"]


VERSIONED = """
import hydra, helper, mlxpy

@hydra.main(version_base="1.3", config_path=None)
def main(cfg):
    mlxpy.get_logger().log_metrics({"text": helper.TEXT}, "train")

main()
"""


def test_launches_at_once_share_a_snapshot_and_a_copy(
    lab: Lab, times: Callable[[int, int], int]
) -> None:
    lab.directory("project")
    # As host A sees it, since git keeps in its index where files are.
    project = GitProject(lab.path / "A" / "project")
    project.write("main.py", VERSIONED)
    project.write("helper.py", "TEXT = 'before'")
    project.write(".gitignore", "__pycache__\nlogs\n.workdir\n")
    project.commit()
    project.write("helper.py", "TEXT = 'changed'")
    callbacks = "hydra/callbacks=[mlxp_logger,mlxp_git]"
    launches = [lab.start(host, "project", "main.py", callbacks) for host in "AB" * times(2, 4)]
    for launch in launches:
        _, stderr = launch.communicate(timeout=100)
        assert (launch.returncode, stderr) == (0, "mlxpy: kept as a snapshot: helper.py\n")
    (snapshot,) = project.git("for-each-ref", "--format=%(objectname)", "refs/mlxpy/").split()
    assert [copy.name for copy in project.copies()] == [snapshot]
    assert project.statuses() == len(launches) * ["COMPLETE"]
    texts = [project.file(run, "metrics/train.json").read_text() for run in project.run_ids()]
    assert texts == len(launches) * ['{"text": "changed"}\n']
