"""Launchers that wait for their jobs: on a real Slurm, a real OAR, and this machine."""

import itertools
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import Cluster, Project, need_cluster, wait_until

from mlxpy_core import RunDirectory, Status, dump_yaml, load_yaml
from mlxpy_core._operations import _waiting
from mlxpy_core._operations._reconciling import reconcile
from mlxpy_core._operations._waiting import wait_for_runs
from mlxpy_core._plugins._scheduler import Scheduler, SubmissionError
from mlxpy_core._runs._info_file import info_path
from mlxpy_core._runs._process import describe_process
from mlxpy_core._scheduling._local import LocalScheduler

WAIT = ["hydra.launcher.wait=true", "hydra.launcher.poll_interval_s=1"]


@pytest.fixture(params=["slurm", "oar", "local"])
def launcher(request: pytest.FixtureRequest) -> list[str]:
    """The arguments that choose a launcher that waits."""
    if request.param == "local":
        return ["-m", "hydra/launcher=mlxp_local", "hydra.launcher.n_jobs=2"]
    need_cluster(request.param)
    return ["-m", f"hydra/launcher=mlxp_{request.param}", *WAIT]


@pytest.mark.long("slurm", "oar")  # test_submitit has a sweeper that gets results of these
def test_a_sweeper_gets_what_jobs_return(app: Project, launcher: list[str]) -> None:
    done = app.run(
        "main.py", *launcher, "hydra/sweeper=optuna", "lr=range(1,3)", "hydra.sweeper.n_trials=2",
        "hydra.sweeper.n_jobs=2", "hydra/sweeper/sampler=grid",
    )  # fmt: skip
    assert done.stderr == "" or "Error" not in done.stderr
    assert "Best parameters: {'lr': 2}" in done.stdout
    assert "Best value: 0.0" in done.stdout
    assert app.statuses() == ["COMPLETE"] * len(app.run_ids())
    [sweep] = app.path.glob("logs/.sweeps/*")
    assert (sweep / "optimization_results.yaml").exists()
    assert not (app.path / "multirun").exists()


@pytest.mark.long("oar")
def test_a_job_that_fails_fails_the_sweep(app: Project, launcher: list[str]) -> None:
    done = app.run("main.py", *launcher, "fail=false,true", exit_code=1)
    assert app.statuses() == ["COMPLETE", "FAILED"]
    assert "mlxpy: run 2 did not complete: see log.stderr there\n" in done.stderr
    assert "Error executing job with overrides: ['fail=True']" in done.stderr
    assert 'raise ValueError("as asked")' in done.stderr
    assert done.stderr.endswith("ValueError: as asked\n")


@pytest.mark.long("local", "oar")
def test_a_job_that_dies_without_writing_its_status(app: Project, launcher: list[str]) -> None:
    done = app.run("main.py", *launcher, "fail=kill", exit_code=1)
    assert app.statuses() == ["KILLED"]
    assert app.info()["attempts"][0]["status"] == "KILLED"
    assert f"run 1 ended as KILLED: see {app.path}/logs/1/log.stderr" in done.stderr


@pytest.mark.long("oar")
def test_a_job_that_never_starts(app: Project, launcher: list[str]) -> None:
    done = app.run("main.py", *launcher, "lr=1", "hydra.launcher.env_cmd='exit 3'", exit_code=1)
    assert app.statuses() == ["FAILED"]
    assert "before the program started" in app.info()["exception"]["message"]
    assert "run 1 ended as FAILED" in done.stderr


def test_what_cannot_be_pickled_is_reported_where_it_was_returned(app: Project) -> None:
    app.write(
        "main.py",
        (app.path / "main.py")
        .read_text()
        .replace("(cfg.lr - 2) ** 2", "__import__('threading').Lock()"),
    )
    app.run("main.py", "-m", "hydra/launcher=mlxp_local", "lr=1")
    assert app.statuses() == ["COMPLETE"]
    assert "mlxpy: cannot keep what the task returned: " in app.file(1, "log.stderr").read_text()


@pytest.mark.long("oar")
def test_ctrl_c_leaves_the_jobs_of_a_cluster_alone(app: Project, cluster: Cluster) -> None:
    with app.start(
        "main.py", "-m", f"hydra/launcher={cluster.launcher}", "lr=1,2", "seconds=60", *WAIT
    ) as waiting:
        wait_until(lambda: app.statuses() == ["RUNNING"] * 2)
        waiting.send_signal(signal.SIGINT)
        _, stderr = waiting.communicate(timeout=60)
    assert waiting.returncode == 130
    where = f"mlxpy: runs 1 to 2 are in {app.path}/logs: mlxpy status 1-2\n"
    said = "mlxpy: interrupted: 2 jobs stay in the queue (to cancel: mlxpy cancel 1-2)\n"
    assert stderr == where + said
    scheduler, job_ids = cluster.scheduler(), [app.job_id(log_id) for log_id in (1, 2)]
    assert set(scheduler.states(job_ids).values()) == {Status.RUNNING}
    app.mlxpy("cancel", "1-2", "--yes")
    # Grid Engine cannot tell a cancelled job from another that was killed.
    cancelled = Status.KILLED if cluster.launcher == "mlxp_sge" else Status.INTERRUPTED
    wait_until(lambda: set(scheduler.states(job_ids).values()) == {cancelled})


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_jobs_on_this_machine_end_with_their_launcher(
    app: Project, number: signal.Signals, exit_code: int
) -> None:
    with app.start("main.py", "-m", "hydra/launcher=mlxp_local", "lr=1,2", "seconds=60") as waiting:
        wait_until(lambda: app.statuses() == ["RUNNING", "SUBMITTED"])
        waiting.send_signal(number)
        _, stderr = waiting.communicate(timeout=60)
    assert waiting.returncode == exit_code
    assert stderr == "mlxpy: interrupted: stopped 2 jobs (to go on with them: mlxpy resubmit 1-2)\n"
    assert app.statuses() == ["INTERRUPTED", "INTERRUPTED"]
    assert app.info(2)["attempts"] == []


def test_another_ctrl_c_kills_jobs_that_do_not_end(app: Project) -> None:
    deaf = "hydra.launcher.env_cmd=\"trap '' TERM\""
    with app.start(
        "main.py", "-m", "hydra/launcher=mlxp_local", "lr=1,2", "seconds=60", deaf
    ) as waiting:
        wait_until(lambda: app.statuses() == ["RUNNING", "SUBMITTED"])
        waiting.send_signal(signal.SIGINT)
        assert waiting.stderr
        asked = "mlxpy: waiting for the jobs to end; Ctrl-C again kills them\n"
        assert waiting.stderr.readline() == asked
        waiting.send_signal(signal.SIGINT)
        _, stderr = waiting.communicate(timeout=60)
    assert waiting.returncode == 130
    assert stderr == "mlxpy: interrupted: stopped 2 jobs (to go on with them: mlxpy resubmit 1-2)\n"
    assert app.statuses() == ["KILLED", "INTERRUPTED"]


def test_scripts_of_this_machine_come_to_their_end_so_many_at_once(app: Project) -> None:
    local = ["main.py", "-m", "hydra/launcher=mlxp_local"]
    cleanup = "hydra.launcher.cleanup_cmd='sleep 1; echo cleaned'"
    app.run(*local, "lr=1,2", cleanup, "hydra.launcher.n_jobs=-1")
    assert app.statuses() == ["COMPLETE"] * 2
    for log_id in (1, 2):
        assert app.file(log_id, "log.stdout").read_text() == f"lr is {log_id}\ncleaned\n"
    scheduler = app.info(2)["scheduler"]
    assert scheduler["name"] == "LocalScheduler"
    assert scheduler["scheduler_job_id"].endswith(".2")
    done = app.run(*local, "hydra.launcher.n_jobs=0", exit_code=1)
    assert done.stderr == "mlxpy: n_jobs=0 is no number of jobs: give 1 or more, or -1\n"


class Clock(Scheduler):
    """A scheduler on whose clock a second lasts no time; it cannot be real, because it must be slow."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, states: Sequence[dict[str, Status] | None]
    ) -> None:
        self.now = 0.0
        self.asked: list[tuple[float, list[str]]] = []
        self._states = list(states)
        monkeypatch.setattr(_waiting.time, "monotonic", lambda: self.now)

    def submit(self, script: Path) -> str:
        raise NotImplementedError

    def cancel_command(self, job_ids: Sequence[str]) -> list[str]:
        raise NotImplementedError

    def states(self, job_ids: Sequence[str]) -> dict[str, Status]:
        self.asked.append((self.now, list(job_ids)))
        states = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        if states is None:
            raise SubmissionError("squeue does not answer")
        return states

    def pause(self, seconds: float) -> None:
        self.now += seconds


def waiting_runs(tmp_path: Path, *statuses: str) -> dict[RunDirectory, str]:
    runs = {}
    for log_id, status in enumerate(statuses, 1):
        directory = RunDirectory(tmp_path / str(log_id))
        directory.metadata.mkdir(parents=True)
        directory.config.write_text("{}\n")
        attempts = [{"status": status}] if status == "RUNNING" else []
        info_path(directory.path).write_text(
            dump_yaml({"status": status, "attempts": attempts, "exception": None})
        )
        runs[directory] = f"7_{log_id}"
    return runs


def test_the_scheduler_is_asked_ever_more_rarely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = waiting_runs(tmp_path, "SUBMITTED", "RUNNING")
    both = {"7_1": Status.SUBMITTED, "7_2": Status.RUNNING}
    scheduler = Clock(monkeypatch, [both] * 6 + [{**both, "7_1": Status.INTERRUPTED}, {}])
    ends: list[tuple[int, Status]] = []
    wait_for_runs(
        scheduler, runs, poll_interval_s=10, on_end=lambda run, status: ends.append((run.log_id, status))
    )
    times = [when for when, _ in scheduler.asked]
    assert scheduler.asked[0][1] == ["7_1", "7_2"]
    gaps = [round(after - before) for before, after in itertools.pairwise(times)]
    # Silence, then a job that ends: both are asked about twice or more before they are given up.
    assert gaps[:6] == [10, 20, 40, 80, 80, 80]
    assert gaps[6:] == [10] * len(gaps[6:])
    assert ends == [(1, Status.INTERRUPTED), (2, Status.KILLED)]


def test_a_scheduler_that_does_not_answer_kills_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (run,) = runs = waiting_runs(tmp_path, "RUNNING")
    scheduler = Clock(monkeypatch, [None] * 5 + [{"7_1": Status.RUNNING}])

    def pause(seconds: float) -> None:
        scheduler.now += seconds
        if len(scheduler.asked) > 6:
            info_path(run.path).write_text(
                info_path(run.path).read_text().replace("RUNNING", "COMPLETE")
            )

    monkeypatch.setattr(scheduler, "pause", pause)
    ends = []
    wait_for_runs(scheduler, runs, poll_interval_s=10, on_end=lambda run, status: ends.append(status))
    assert ends == [Status.COMPLETE]
    assert capsys.readouterr().err == "mlxpy: squeue does not answer; still waiting\n"


def test_a_job_that_accounting_does_not_know_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = waiting_runs(tmp_path, "SUBMITTED", "SUBMITTED")
    scheduler = Clock(monkeypatch, [{}] * 5 + [{"7_1": Status.COMPLETE}])
    monkeypatch.setattr(Clock, "accounting_delay_s", 60)
    ends = {}
    wait_for_runs(
        scheduler,
        runs,
        poll_interval_s=10,
        on_end=lambda run, _: ends.update({run.log_id: scheduler.now}),
    )
    # Both are unknown for a minute; then three answers in a row count.
    assert [when for when, _ in scheduler.asked[:5]] == [10, 30, 70, 80, 90]
    assert ends == {1: 90, 2: 90}


def test_a_requeued_run_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run,) = runs = waiting_runs(tmp_path, "INTERRUPTED")
    scheduler = Clock(monkeypatch, [{"7_1": Status.SUBMITTED}] * 4 + [{"7_1": Status.COMPLETE}])
    ends = []
    wait_for_runs(scheduler, runs, poll_interval_s=10, on_end=lambda run, status: ends.append(status))
    assert len(scheduler.asked) == 6
    assert ends == [Status.INTERRUPTED]
    assert reconcile(run, Status.FAILED) is Status.INTERRUPTED


@pytest.mark.parametrize(
    ("status", "job", "reconciled"),
    [
        ("RUNNING", Status.FAILED, "KILLED"),
        ("RUNNING", None, "KILLED"),
        ("SUBMITTED", Status.INTERRUPTED, "INTERRUPTED"),
        ("SUBMITTED", Status.KILLED, "FAILED"),
        ("SUBMITTED", None, "FAILED"),
        ("COMPLETE", Status.KILLED, "COMPLETE"),
        ("FAILED", None, "FAILED"),
    ],
)
@pytest.mark.parametrize("config", ["{}\n", None, "[damaged"])
def test_the_final_status_of_a_run_whose_job_has_ended(
    tmp_path: Path, status: str, job: Status | None, reconciled: str, config: str | None
) -> None:
    (run,) = waiting_runs(tmp_path, status)
    run.config.unlink()
    if config:
        run.config.write_text(config)
    assert reconcile(run, job) is Status(reconciled)
    assert load_yaml(info_path(run.path).read_text())["status"] == reconciled


def test_a_run_that_lives_or_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    (run,) = waiting_runs(tmp_path, "RUNNING")
    info = load_yaml(info_path(run.path).read_text())
    info["attempts"] = [{"status": "RUNNING", **describe_process()}]
    info_path(run.path).write_text(dump_yaml(info))
    assert reconcile(run, Status.KILLED) is Status.RUNNING
    info_path(run.path).write_text("damaged: [")
    assert reconcile(run, Status.KILLED) is None
    assert info_path(run.path).read_text() == "damaged: ["


def test_a_job_of_this_machine_that_cannot_be_started(tmp_path: Path) -> None:
    scheduler = LocalScheduler()
    job_id = scheduler.submit(tmp_path / "script.sh")
    scheduler.pause(60)
    assert scheduler.states([job_id, "other"]) == {job_id: Status.FAILED}
    scheduler.stop()
