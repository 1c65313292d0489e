"""Every way to end, on this machine and on real clusters, and the word that the run has afterwards.

Besides the cases of the table, other tests hold: a program that `sys.exit`\\s or raises in a script
(test_run), a job that Grid Engine ends (test_clusters), jobs whose launcher is stopped (test_waiting).
"""

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from conftest import CLUSTERS, Cluster, Project, need_cluster, one_at_a_time, reconciled, wait_until

from mlxpy_core import JobOutlook, Reader, RunDirectory, Status
from mlxpy_core._operations._reconciling import reconcile_runs
from mlxpy_core._runs._info_file import read_info
from mlxpy_core._runs._job_note import noted_job_id
from mlxpy_core._runs._status import is_final
from mlxpy_core._scheduling._slurm import SLURMScheduler

APP = """
import os, resource, signal, sys, time
import hydra
import mlxpy

def fill_the_memory(more):
    if more:
        pages = int(open("/proc/self/statm").read().split()[0])
        limit = pages * resource.getpagesize() + more
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    held = []
    while True:
        held.append(bytearray(10 * 2**20))
        time.sleep(0.02)

@hydra.main(version_base="1.3", config_path=None)
def main(cfg):
    mlxpy.get_logger().log_metrics({"a": 1}, "train")
    ends = {
        "return": lambda: None,
        "raise": lambda: 1 / 0,
        "exit": lambda: sys.exit(3),
        "Ctrl-C": lambda: os.kill(os.getpid(), signal.SIGINT),
        "SIGTERM": lambda: os.kill(os.getpid(), signal.SIGTERM),
        "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "memory": lambda: fill_the_memory(cfg.get("more")),
        "wait": lambda: time.sleep(600),
        "wait once": lambda: len(mlxpy.current_run().info["attempts"]) > 1 or time.sleep(600),
    }
    ends[cfg.end]()
    time.sleep(0 if cfg.end in ("return", "wait once") else 10)

main()
"""


@dataclass(frozen=True)
class Case:
    """A way to end.

    Attributes:
        engine: where: local, or a cluster's name.
        name: what happens.
        end: what the program does.
        word: what the run says afterwards.
        options: more words of the command.
        event: what happens to the job from outside, given its id, once the run says `during`.
        during: the word at which it happens.
        before: what happens first.
        attempts: the words of the run's attempts.
        reason: why it ended, as far as that is known.
    """

    engine: str
    name: str
    word: str
    end: str = "wait"
    options: tuple[str, ...] = ()
    event: Callable[[str], None] | None = None
    during: str = "RUNNING"
    before: Callable[[], None] | None = None
    attempts: tuple[str, ...] | None = None
    reason: str | None = None

    def __str__(self) -> str:
        return f"{self.engine}-{self.name}"


def call(command: str) -> None:
    subprocess.run(shlex.split(command), check=True, capture_output=True)


def directives(*words: str) -> tuple[str, ...]:
    return (f"hydra.launcher.option_cmd=[{','.join(map(repr, words))}]",)


def close_the_node(job_id: str) -> None:
    call("scontrol update NodeName=n2 State=DOWN Reason=test")
    # It may have come back by itself.
    subprocess.run(["scontrol", "update", "NodeName=n2", "State=RESUME"], capture_output=True)


def lose_the_node(job_id: str) -> None:
    daemon = "slurmd -N n2"
    raw_id = subprocess.run(
        ["squeue", "-h", "-j", job_id, "-o", "%A"], check=True, capture_output=True, text=True
    ).stdout.strip()
    step = subprocess.run(
        ["pgrep", "-f", rf"^slurmstepd: \[{raw_id}\."], check=True, capture_output=True, text=True
    ).stdout.split()[0]
    shell = subprocess.run(["pgrep", "-P", step], check=True, capture_output=True, text=True).stdout
    call(f"pkill -KILL -f '^{daemon}$'")
    try:
        call(f"kill -KILL {step}")
        call(f"pkill -KILL -P {shell.strip()}")  # the program; its shell ends with it
    finally:
        call(daemon)  # it comes back, and knows nothing of the job


def bury_the_node(job_id: str) -> None:
    call("oarnodesetting -h 127.0.0.2 -s Dead")
    call("oarnodesetting -h 127.0.0.2 -s Alive")


def take_the_nodes_place(job_id: str) -> None:
    call("sbatch --partition=urgent --exclusive --wait --output=/dev/null --wrap=true")


def take_the_core(job_id: str) -> None:
    call("oarsub -l core=1,walltime=0:1:0 -p core=7 -O /dev/null -E /dev/null true")


NO_DIRECTORY = ("hydra.launcher.shell_config_cmd='rm -r \"$OLD\"'",)
NO_SHELL = ("hydra.launcher.shell_path=/no/such/shell",)
EVERYWHERE = [
    ("it returns", "return", "COMPLETE", None),
    ("exception", "raise", "FAILED", "EXCEPTION"),
    ("sys.exit(3)", "exit", "FAILED", "EXIT_CODE"),
    ("Ctrl-C", "Ctrl-C", "INTERRUPTED", "CANCELLED"),
    ("SIGTERM", "SIGTERM", "INTERRUPTED", "CANCELLED"),
    ("SIGKILL", "SIGKILL", "KILLED", None),
]
BESTEFFORT = ("-t besteffort", "-l core=1,walltime=0:5:0", "-p core=7")
TABLE = [
    *(
        Case(engine, name, word, end, reason=reason)
        for engine in ("local", "slurm", "oar")
        for name, end, word, reason in EVERYWHERE
    ),
    Case("local", "no memory left", "FAILED", "memory", ("+more=100000000",), reason="EXCEPTION"),
    Case("slurm", "out of memory", "KILLED", "memory", directives("--mem=300"), reason="OUT_OF_MEMORY"),
    Case("slurm", "time limit", "INTERRUPTED", options=directives("--time=1"), reason="TIMEOUT"),
    Case("slurm", "cancelled while it runs", "INTERRUPTED", event=lambda i: call(f"scancel {i}"), reason="CANCELLED"),
    Case(
        "slurm", "cancelled while it waits", "INTERRUPTED", options=directives("--hold"),
        event=lambda i: call(f"scancel {i}"), during="SUBMITTED", attempts=(), reason="CANCELLED",
    ),
    Case(
        "slurm", "its node is closed", "INTERRUPTED", event=close_the_node,
        options=directives("--partition=fragile", "--no-requeue"), reason="NODE_FAIL",
    ),
    Case(
        "slurm", "its node is closed, and it comes back", "COMPLETE", "wait once", event=close_the_node,
        options=directives("--partition=fragile", "--requeue"), attempts=("INTERRUPTED", "COMPLETE"),
    ),
    Case(
        "slurm", "its node is lost, and it comes back", "COMPLETE", "wait once", event=lose_the_node,
        options=directives("--partition=fragile", "--requeue"), attempts=("KILLED", "COMPLETE"),
    ),
    Case(
        "slurm", "it is preempted and comes back", "COMPLETE", "wait once", event=take_the_nodes_place,
        options=directives("--partition=fragile", "--requeue"), attempts=("INTERRUPTED", "COMPLETE"),
    ),
    Case("oar", "time limit", "KILLED", options=directives("-l core=1,walltime=0:0:20"), reason="TIMEOUT"),
    Case("oar", "cancelled while it runs", "KILLED", event=lambda i: call(f"oardel {i}")),
    Case(
        "oar", "cancelled while it waits", "INTERRUPTED", options=directives("-p core=6"),
        before=lambda: call("oarsub -l walltime=0:1:0 -p core=6 -O /dev/null -E /dev/null 'sleep 40'"),
        event=lambda i: call(f"oardel {i}"), during="SUBMITTED", attempts=(), reason="CANCELLED",
    ),
    Case(
        "oar", "its node is dead", "KILLED", event=bury_the_node,
        options=directives("-l core=1,walltime=0:5:0", "-p core=8"),
    ),
    Case(
        "oar", "it is preempted", "KILLED", event=take_the_core, options=directives(*BESTEFFORT),
        reason="PREEMPTED",
    ),
    Case(
        "oar", "it is preempted and comes back", "COMPLETE", "wait once", event=take_the_core,
        options=directives(*BESTEFFORT, "-t idempotent"), attempts=("KILLED", "COMPLETE"),
    ),
    *(
        Case(engine, name, "FAILED", options=options, attempts=(), reason="EXIT_CODE")
        for engine in ("slurm", "oar")
        for name, options in (("no such directory", NO_DIRECTORY), ("no such interpreter", NO_SHELL))
    ),
]  # fmt: skip


# What another case or another test shows, too, on this scheduler or of all of them.
IN_FULL_ONLY = {
    "slurm-it returns",
    "slurm-exception",
    "slurm-sys.exit(3)",
    "slurm-Ctrl-C",
    "slurm-SIGTERM",
    "slurm-its node is closed",
    "slurm-its node is closed, and it comes back",
    "slurm-no such interpreter",
    "oar-it returns",
    "oar-exception",
    "oar-sys.exit(3)",
    "oar-Ctrl-C",
    "oar-SIGTERM",
    "oar-SIGKILL",
    "oar-it is preempted",
    "oar-no such interpreter",
}
assert {str(case) for case in TABLE} >= IN_FULL_ONLY
CASES = [
    pytest.param(case, marks=pytest.mark.long) if str(case) in IN_FULL_ONLY else case for case in TABLE
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_word_is_true(project: Project, case: Case) -> None:
    # What takes a node or a core from others does it to one test at a time.
    shared = {"fragile": "n2", "core=7": "core7", "core=8": "core8"}
    places = [place for word, place in shared.items() if word in str(case.options)]
    with ExitStack() as alone:
        for place in places:
            alone.enter_context(one_at_a_time(place))
        check(project, case)


def check(project: Project, case: Case) -> None:
    work = Project(project.path / "work")
    work.write("main.py", APP)
    logs = f"parent_log_dir={project.path}/logs"
    ending = [f"+end={case.end!r}", *(word.replace("$OLD", str(work.path)) for word in case.options)]
    if case.engine == "local":
        callback = ["hydra/callbacks=mlxp_logger", f"hydra.callbacks.mlxp_logger.{logs}"]
        work.run("main.py", *callback, *ending, exit_code=None)
    else:
        need_cluster(case.engine)
        if case.before:
            case.before()
        launcher = f"hydra/launcher={CLUSTERS[case.engine].launcher}"
        work.run("main.py", "-m", launcher, f"hydra.launcher.{logs}", *ending)
    run = RunDirectory(project.path / "logs" / "1")
    if case.event:
        wait_until(lambda: project.statuses() == [case.during])
        job_id = noted_job_id(run, project.info())
        assert job_id
        case.event(job_id)

    info: dict[str, Any] = {}
    asked = 0.0

    def is_final_now() -> bool:
        nonlocal asked
        if time.monotonic() > asked + 1:  # asking a scheduler takes it a while, too
            reconcile_runs([run])
            info.update(read_info(run) or {})
            asked = time.monotonic()
        return bool(info) and is_final(info)

    wait_until(is_final_now, 150)
    assert info["status"] == case.word
    words = (case.word,) if case.attempts is None else case.attempts
    assert tuple(attempt["status"] for attempt in info["attempts"]) == words
    assert info["end_reason"] == case.reason
    assert list(Reader(project.path / "logs").search()["info.status"]) == [case.word]


@pytest.mark.long("oar")
def test_those_that_share_a_job_do_not_wait_for_each_other(project: Project, cluster: Cluster) -> None:
    project.write("main.py", APP)
    never_starts = "hydra.launcher.env_cmd='case $0 in */3/*) exit 1;; esac'"
    launcher = [f"hydra/launcher={cluster.launcher}", "hydra.launcher.runs_per_job=3", never_starts]
    project.run("main.py", "-m", *launcher, "+end=wait,SIGKILL,return")
    runs = [RunDirectory(project.path / "logs" / str(log_id)) for log_id in (1, 2, 3)]
    ended = [run.state / "script_ended" for run in runs[1:]]
    wait_until(lambda: all(path.exists() for path in ended) and project.statuses()[0] == "RUNNING")
    # Their words might still be on the way.
    assert reconciled(project) == ["RUNNING", "RUNNING", "SUBMITTED"]
    for path in ended:
        os.utime(path, (0, time.time() - 61))
    assert reconciled(project) == ["RUNNING", "KILLED", "FAILED"]
    (job_id,) = {noted_job_id(run, project.info(run.log_id)) for run in runs}
    assert job_id
    assert cluster.scheduler().states([job_id]) == {job_id: Status.RUNNING}
    project.mlxpy("cancel", "1", "--yes")
    wait_until(lambda: reconciled(project)[0] in ("INTERRUPTED", "KILLED"))
    assert reconciled(project)[1:] == ["KILLED", "FAILED"]
    project.mlxpy("resubmit", "2")
    assert reconciled(project)[1] in ("SUBMITTED", "RUNNING")
    wait_until(lambda: reconciled(project)[1] == "KILLED")
    assert [attempt["status"] for attempt in project.info(2)["attempts"]] == ["KILLED"] * 2


def test_slurm_tells_in_the_same_query_what_it_expects_of_jobs() -> None:
    asked = []

    class Squeue(SLURMScheduler):
        def call(self, command: Sequence[str], *where: Any, **how: Any) -> str:
            asked.append(command[0])
            start = datetime.now() + timedelta(hours=2)
            return (
                "7_0|7|RUNNING|1-02:03:04|2026-01-01T00:00:00|90|None\n"
                "7_1|8|RUNNING|UNLIMITED|2026-01-01T00:00:00|90|None\n"
                "9|9|PENDING|10:00|N/A|50|Priority\n"
                f"10|10|PENDING|10:00|{start:%Y-%m-%dT%H:%M:%S}|80|Resources\n"
                "11|11|COMPLETED|10:00|2026-01-01T00:00:00|80|None\n"
            )

    slurm = Squeue()
    slurm.states(["7_0", "7_1", "9", "10", "11"])
    assert asked == ["squeue"]
    outlooks = dict(slurm.outlooks)
    first = outlooks.pop("10")
    assert (first.place, first.reason) == (1, "Resources")
    assert first.starts_in_s is not None
    assert round(first.starts_in_s / 60) == 120
    assert outlooks == {
        "7_0": JobOutlook(left_s=93784),
        "7_1": JobOutlook(),
        "9": JobOutlook(place=2, reason="Priority"),
    }
