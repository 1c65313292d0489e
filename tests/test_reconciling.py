"""What is concluded from what a scheduler answers or does not; real ones are asked in test_states."""

import os
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from conftest import BECOME_NOBODY, Project

from mlxpy_core import Reader, RunDirectory, Status, dump_yaml
from mlxpy_core._operations._reconciling import reconcile_runs
from mlxpy_core._plugins._scheduler import Scheduler, SubmissionError
from mlxpy_core._runs._cancellation import note_cancelled
from mlxpy_core._runs._info_file import info_path, read_info
from mlxpy_core._scheduling._lsf import LSFScheduler
from mlxpy_core._scheduling._pbs import PBSScheduler
from mlxpy_core._scheduling._sge import SGEScheduler


class Stub(Scheduler):
    """Answers what a test chooses; a real one cannot be silent, of another cluster and forgetful at will."""

    here: ClassVar[str] = "c"
    answers: ClassVar[dict[str, Status] | None] = {}
    asked: ClassVar[list[Sequence[str]]] = []

    @property
    def cluster(self) -> str:
        return self.here

    def submit(self, script: Path) -> str:
        raise NotImplementedError

    def cancel_command(self, job_ids: Sequence[str]) -> list[str]:
        raise NotImplementedError

    def states(self, job_ids: Sequence[str]) -> dict[str, Status]:
        self.asked.append(job_ids)
        if self.answers is None:
            raise SubmissionError("it is silent")
        return self.answers


class Remembering(Stub):
    forgets_ended_jobs = False


def make_run(
    logs: Path, status: str, *, age_s: float = 3600, cluster: str = "c", scheduler: type = Stub
) -> RunDirectory:
    """Makes a run whose job was started on another machine."""
    run = RunDirectory(logs / str(len(list(logs.glob("[0-9]*"))) + 1))
    start = datetime.now().astimezone() - timedelta(seconds=age_s)
    attempt = {"job_id": "7", "host": "elsewhere", "start": start.isoformat(), "status": status}
    info: dict[str, Any] = {
        "status": status,
        "attempts": [attempt],
        "scheduler": {
            "name": f"{__name__}.{scheduler.__name__}",
            "cluster": cluster,
            "scheduler_job_id": "7",
            "may_come_back": True,
        },
    }
    run.metadata.mkdir(parents=True)
    info_path(run.path).write_text(dump_yaml(info))
    run.config.write_text("{}\n")
    return run


@pytest.fixture(autouse=True)
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("here", "c"), ("answers", {}), ("asked", [])):
        monkeypatch.setattr(Stub, name, value)


SUBMITTED, RUNNING, KILLED = Status.SUBMITTED, Status.RUNNING, Status.KILLED


@pytest.mark.parametrize(
    ("status", "job", "reconciled"),
    [
        ("RUNNING", Status.RUNNING, "RUNNING"),
        ("RUNNING", Status.COMPLETE, "KILLED"),
        ("RUNNING", Status.KILLED, "KILLED"),
        ("RUNNING", Status.SUBMITTED, "SUBMITTED"),  # it was put back
        ("INTERRUPTED", Status.SUBMITTED, "SUBMITTED"),
        ("INTERRUPTED", Status.RUNNING, "INTERRUPTED"),
        ("INTERRUPTED", Status.FAILED, "INTERRUPTED"),
        ("KILLED", Status.RUNNING, "KILLED"),
        ("COMPLETE", Status.SUBMITTED, "COMPLETE"),
    ],
)
def test_what_a_scheduler_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str, job: Status, reconciled: str
) -> None:
    run = make_run(tmp_path, status)
    monkeypatch.setattr(Stub, "answers", {"7": job})
    assert reconcile_runs([run]).statuses == {run: Status(reconciled)}
    assert (read_info(run) or {})["status"] == reconciled


def test_one_that_is_interrupted_is_asked_about_until_its_job_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path, "INTERRUPTED")
    for job, asked in ((Status.RUNNING, 1), (Status.FAILED, 2), (Status.FAILED, 2)):
        monkeypatch.setattr(Stub, "answers", {"7": job})
        assert list(Reader(tmp_path).search()["info.status"]) == ["INTERRUPTED"]
        assert len(Stub.asked) == asked


@pytest.mark.parametrize(
    ("run", "here", "answers", "trouble"),
    [
        ({"age_s": 5}, "c", {}, ""),  # accounting is late
        ({}, "other", {}, "the cluster 'c' of test_reconciling.Stub does not answer on this machine"),
        ({}, "c", None, "it is silent"),
        ({"cluster": ""}, "", {}, ""),  # it may be another cluster
        ({"scheduler": Remembering}, "c", {}, ""),
    ],
)
def test_nobody_is_called_dead_because_nothing_is_known(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run: dict[str, Any],
    here: str,
    answers: dict[str, Status] | None,
    trouble: str,
) -> None:
    made = make_run(tmp_path, "RUNNING", **run)
    monkeypatch.setattr(Stub, "here", here)
    monkeypatch.setattr(Stub, "answers", answers)
    reader = Reader(tmp_path)
    assert list(reader.search()["info.status"]) == ["RUNNING"]
    assert reader.troubles == ([trouble] if trouble else [])
    assert (read_info(made) or {})["status"] == "RUNNING"


def test_a_job_that_its_cluster_has_forgotten_has_ended(tmp_path: Path) -> None:
    run = make_run(tmp_path, "RUNNING")
    assert reconcile_runs([run]).statuses == {run: KILLED}


@pytest.mark.parametrize(
    ("name", "age_s", "minutes"),
    [
        ("metrics/train.json", 1800, 30),
        ("metrics/.ranks/1/train.json", 1800, 30),
        ("artifacts/pickle/a/b.pkl", 1800, 30),
        ("log.stderr", 1800, 30),
        ("main.log", 1800, 30),
        (".keys/of_a_reader", 1800, 0),
        ("log.stdout", 7200, 0),  # a file server's clock
        ("log.stdout", -7200, 60),
    ],
)
def test_one_that_died_ended_when_it_last_wrote(
    tmp_path: Path, name: str, age_s: float, minutes: int
) -> None:
    run = make_run(tmp_path, "RUNNING", age_s=3600)
    file = run.path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    now = time.time()
    os.utime(info_path(run.path), (now - 3600,) * 2)
    os.utime(file, (now - age_s,) * 2)
    reconcile_runs([run])
    info = read_info(run) or {}
    (attempt,) = info["attempts"]
    lived = datetime.fromisoformat(attempt["end"]) - datetime.fromisoformat(attempt["start"])
    assert round(lived.total_seconds() / 60) == minutes
    assert f"{info['end_date']}T{info['end_time']}" == attempt["end"]


def test_each_scheduler_is_asked_once(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, "RUNNING") for _ in range(3)]
    reconcile_runs(runs)
    assert Stub.asked == [["7"]]


def test_statuses_that_cannot_be_written_are_reported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlxpy_core import StorageError
    from mlxpy_core._operations import _reconciling

    def refuse(*_: Any, **__: Any) -> None:  # root may write everywhere
        raise StorageError("cannot write info.yaml", PermissionError(13, "Permission denied"))

    runs = [make_run(tmp_path, "RUNNING") for _ in range(3)]
    monkeypatch.setattr(_reconciling, "_write", refuse)
    findings = reconcile_runs(runs)
    assert findings.troubles == [
        "the status of runs 1 to 3 cannot be written: cannot write info.yaml: Permission denied"
    ]
    assert set(findings.statuses.values()) == {KILLED}


def test_the_statuses_of_another_users_runs_are_shown(project: Project) -> None:
    project.write("die.py", "import mlxpy, os; mlxpy.Logger('logs'); os.kill(os.getpid(), 9)")
    project.run("die.py", exit_code=-9)
    project.open_to_all()
    project.write(
        "read.py",
        BECOME_NOBODY
        + """
for _ in range(2):  # no cache keeps what the run does not say
    reader = mlxpy.Reader("logs")
    print(reader.search("info.status == 'KILLED'")["info.log_id"], *reader.troubles)
""",
    )
    printed = project.run("read.py").stdout
    assert printed.count("[1] the status of run 1 cannot be written: ") == 2
    assert project.statuses() == ["RUNNING"]
    assert list(Reader(project.path / "logs").search()["info.status"]) == ["KILLED"]
    assert project.statuses() == ["KILLED"]


def test_clusters_have_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = Project(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    answers = {
        "lsid": "IBM Spectrum LSF 10.1\\n\\nMy cluster name is cluster1\\nMy master name is hosta",
        "qconf": "node-0.example.org",
        "qstat": "Server: pbs-1.example.org\\n    server_state = Active\\n    total_jobs = 0",
    }
    for name, answer in answers.items():
        commands.write(name, f"#!/bin/sh\nprintf '{answer}\\n'").chmod(0o755)
    assert LSFScheduler().cluster == "cluster1"
    assert SGEScheduler().cluster == "node-0.example.org"
    assert PBSScheduler().cluster == "pbs-1.example.org"
    (tmp_path / "lsid").unlink()
    assert LSFScheduler().cluster == ""


def test_one_that_was_cancelled_while_it_waited(tmp_path: Path) -> None:
    """Grid Engine keeps no record of such a job."""
    run = make_run(tmp_path, "SUBMITTED", age_s=1)
    reconcile_runs([run])
    assert (read_info(run) or {})["status"] == "SUBMITTED"
    note_cancelled(run)
    assert reconcile_runs([run]).statuses == {run: Status.INTERRUPTED}
