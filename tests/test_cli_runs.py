"""``mlxpy status`` and ``mlxpy cancel``, on runs that wait, run, die and have ended."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pexpect
import pytest
from commands import printed
from conftest import MLXPY, Cluster, Project, need_cluster, reconciled, wait_until

from mlxpy_core import Reader, RunDirectory, Status, dump_yaml
from mlxpy_core._operations import _liveness
from mlxpy_core._operations._reconciling import reconcile

LOGGER = "hydra/callbacks=mlxp_logger"
LOCAL = ["-m", "hydra/launcher=mlxp_local"]


def mlxpy(app: Project, *words: str, exit_code: int = 0) -> tuple[str, str]:
    """Does what `Project.mlxpy` does, in this process."""
    return printed(app.path / "logs", *words, exit_code=exit_code)


def rows(app: Project) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(mlxpy(app, "status", "--json")[0])
    return found


def found_out(app: Project) -> list[str]:
    return [row["status"] for row in rows(app)]


@contextmanager
def running(app: Project, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Starts a program and yields it when one more run is RUNNING."""
    before = app.statuses()
    with app.start("main.py", LOGGER, "seconds=600", *arguments) as process:
        try:
            wait_until(lambda: app.statuses() == [*before, "RUNNING"])
            yield process
        finally:
            process.kill()
            process.communicate()


@contextmanager
def launcher(app: Project, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Starts a sweep on this machine."""
    with app.start("main.py", *LOCAL, *arguments) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=60)


def kill(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()


def edit_info(app: Project, log_id: int = 1, **changes: Any) -> None:
    info = app.info(log_id)
    info["attempts"][-1].update(changes)
    app.file(log_id, "metadata/info.yaml").write_text(dump_yaml(info))


HELD = {"mlxp_slurm": "--hold", "mlxp_oar": "--hold", "mlxp_sge": "-h"}


def hold(app: Project, cluster: Cluster) -> None:
    """Submits a run whose job waits until it is cancelled."""
    queue(app, cluster, f'hydra.launcher.option_cmd=["{HELD[cluster.launcher]}"]')


def queue(app: Project, cluster: Cluster, *arguments: str) -> None:
    app.run("main.py", "-m", f"hydra/launcher={cluster.launcher}", "seconds=600", *arguments)


# The status of runs.


def test_who_died_is_found_out_by_whoever_looks(app: Project) -> None:
    with running(app) as process:
        assert found_out(app) == ["RUNNING"]
        kill(process)
    assert app.statuses() == ["RUNNING"]
    before = app.file(1, "metadata/info.yaml").read_text()
    for how in ("reader", "ls", "status"):
        app.file(1, "metadata/info.yaml").write_text(before)
        if how == "reader":
            assert Reader(app.path / "logs").search()["info.status"] == ["KILLED"]
        else:
            output, errors = app.mlxpy(how)
            assert "KILLED" in output
            assert errors == ""
        info = app.info()
        assert info["status"] == info["attempts"][0]["status"] == "KILLED"
        assert info["end_time"]


def test_status_counts_all_and_lists_what_goes_on(app: Project) -> None:
    assert mlxpy(app, "status", exit_code=1)[1].startswith("Error: no directory")
    app.run("main.py", LOGGER)
    app.run("main.py", LOGGER, "fail=true", exit_code=1)
    assert app.mlxpy("status") == ("1 COMPLETE, 1 FAILED\n", "")
    with running(app):
        counts, head, row = mlxpy(app, "status")[0].splitlines()
        assert counts == "1 COMPLETE, 1 FAILED, 1 RUNNING"
        assert head.split() == ["id", "status", "host", "start"]
        assert row.split()[:3] == ["3", "RUNNING", app.info(3)["hostname"]]
        assert mlxpy(app, "status", "1-2")[0] == "1 COMPLETE, 1 FAILED\n"
    assert mlxpy(app, "status", "info.status == 'FAILED'")[0] == "1 FAILED\n"
    assert mlxpy(app, "status", "9-12") == ("", f"mlxpy: no run in '{app.path}/logs' answers '9-12'\n")
    assert mlxpy(app, "status", "9-12", "--json")[0] == "[]\n"
    assert mlxpy(app, "status", "9", exit_code=1)[1] == f"Error: no run 9 in '{app.path}/logs'\n"
    names = ["id", "status", "scheduler", "job", "host", "start", "signal", "after"]
    assert list(rows(app)[0]) == names
    assert [(row["id"], row["status"]) for row in rows(app)][:2] == [(1, "COMPLETE"), (2, "FAILED")]


def test_a_run_of_another_host_may_live(app: Project) -> None:
    with running(app) as process:
        kill(process)
    edit_info(app, host="elsewhere")
    assert found_out(app) == ["RUNNING"]
    assert mlxpy(app, "cancel", "1", "--yes") == (
        "Nothing to cancel.\n",
        "Left alone: run 1 runs on elsewhere: cancel it there.\n",
    )
    edit_info(app, host=app.info()["hostname"])
    assert found_out(app) == ["KILLED"]


@pytest.mark.long("oar")
def test_a_cluster_that_cannot_be_asked(app: Project, cluster: Cluster, tmp_path: Path) -> None:
    hold(app, cluster)
    nowhere = {"PATH": str(tmp_path)}
    try:
        output, errors = app.mlxpy("status", env=nowhere)
        assert output.startswith("1 SUBMITTED\n")
        assert errors.startswith("mlxpy: ")
        assert errors.count("\n") == 1
        _, errors = app.mlxpy("cancel", "1", "--yes", env=nowhere, exit_code=1)
        assert errors.splitlines()[-1].startswith("Error: ")
    finally:
        mlxpy(app, "cancel", "1", "--yes")
    wait_until(lambda: reconciled(app) == ["INTERRUPTED"])


# Runs are stopped.


def test_queued_and_running_jobs_are_cancelled(app: Project, cluster: Cluster) -> None:
    queue(app, cluster, "lr=1,2")
    wait_until(lambda: "RUNNING" in app.statuses())
    hold(app, cluster)
    assert found_out(app)[2] == "SUBMITTED"
    output, errors = mlxpy(app, "cancel", "1-3", "--yes")
    assert output == f"Runs 1 to 3: 3 jobs of {cluster.name}.\nCancelled runs 1 to 3.\n"
    assert errors == ""
    wait_until(lambda: not {"RUNNING", "SUBMITTED"} & set(reconciled(app)))
    assert set(app.statuses()) <= {"INTERRUPTED", "KILLED"}
    assert app.info(3)["status"] == "INTERRUPTED"
    assert app.info(3)["attempts"] == []
    assert mlxpy(app, "cancel", "3", "--yes") == (
        "Nothing to cancel.\n",
        "Left alone: run 3 is INTERRUPTED.\n",
    )


@pytest.mark.long("oar")
def test_runs_that_share_a_job_are_named(app: Project, cluster: Cluster) -> None:
    queue(app, cluster, "lr=1,2,3", "hydra.launcher.runs_per_job=2")
    wait_until(lambda: app.statuses()[:2] == ["RUNNING"] * 2)
    output, _ = mlxpy(app, "cancel", "2", exit_code=1)
    assert "Run 2: 1 job of" in output
    assert "Run 1 will end, too: they share these jobs." in output
    assert "RUNNING" in found_out(app)
    output, _ = mlxpy(app, "cancel", "1-3", "--yes")
    assert f"Runs 1 to 3: 2 jobs of {cluster.name}.\n" in output
    assert "will end, too" not in output
    wait_until(lambda: set(reconciled(app)) <= {"INTERRUPTED", "KILLED"})


def test_a_process_of_this_machine(app: Project) -> None:
    with running(app) as process:
        _, errors = mlxpy(app, "cancel", "1", exit_code=1)
        assert errors == "Error: nothing was done: nobody is at the terminal to agree; add --yes\n"
        assert app.statuses() == ["RUNNING"]
        output, _ = mlxpy(app, "cancel", "1", "--yes")
        assert output == f"Run 1: process {process.pid} of this machine.\nCancelled run 1.\n"
        assert process.wait(timeout=60) == -signal.SIGTERM
    assert app.info()["status"] == "INTERRUPTED"
    assert app.info()["signal"] == "SIGTERM"
    assert "is INTERRUPTED" in mlxpy(app, "cancel", "1", "--yes")[1]


def test_the_question_at_a_terminal(app: Project) -> None:
    with running(app) as process:
        for answer, status in (("n", "RUNNING"), ("y", "INTERRUPTED")):
            terminal = pexpect.spawn(MLXPY, ["cancel", "1"], cwd=str(app.path), timeout=60)
            terminal.expect(rf"Run 1: process {process.pid} of this machine\.\r\nCancel\? \[y/N\]: ")
            terminal.sendline(answer)
            terminal.expect(pexpect.EOF)
            terminal.close()
            assert terminal.exitstatus == 0
            wait_until(lambda status=status: app.statuses() == [status])


def test_runs_that_wait_for_their_launcher_never_start(app: Project) -> None:
    with launcher(app, "lr=1,2,3", "seconds=600") as process:
        wait_until(lambda: app.statuses() == ["RUNNING", "SUBMITTED", "SUBMITTED"])
        output, _ = mlxpy(app, "cancel", "2", "--yes")
        assert output == "Run 2: not started yet, on this machine.\nCancelled run 2.\n"
        assert found_out(app) == ["RUNNING", "INTERRUPTED", "SUBMITTED"]
        mlxpy(app, "cancel", "1", "--yes")
        wait_until(lambda: app.statuses() == ["INTERRUPTED", "INTERRUPTED", "RUNNING"])
        mlxpy(app, "cancel", "3", "--yes")
        _, errors = process.communicate(timeout=60)
        assert "mlxpy: runs 1 to 3 did not complete" in errors
    assert app.statuses() == ["INTERRUPTED"] * 3
    assert app.info(2)["attempts"] == []


def test_runs_that_wait_for_a_job_to_share(app: Project) -> None:
    with launcher(app, "lr=1,2,3,4", "seconds=600", "hydra.launcher.runs_per_job=2") as process:
        wait_until(lambda: app.statuses() == ["RUNNING"] * 2 + ["SUBMITTED"] * 2)
        mlxpy(app, "cancel", "1-3", "--yes")
        wait_until(lambda: app.statuses() == ["INTERRUPTED"] * 3 + ["RUNNING"], shown=app.statuses)
        process.terminate()
        process.communicate(timeout=60)
    assert [len(app.info(log_id)["attempts"]) for log_id in (1, 2, 3, 4)] == [1, 1, 0, 1]


def test_a_script_whose_program_has_not_started(app: Project) -> None:
    # Its shell is busy with the user's own set-up.
    slow = "hydra.launcher.env_cmd='touch up; sleep 600'"
    with launcher(app, "lr=1,2", slow) as process:
        wait_until((app.path / "up").exists)
        assert found_out(app) == ["SUBMITTED"] * 2
        (app.path / "up").unlink()
        output, _ = mlxpy(app, "cancel", "1", "--yes")
        assert output.startswith("Run 1: process ")
        assert app.info(1)["status"] == "INTERRUPTED"
        wait_until((app.path / "up").exists)  # the other one's
        process.terminate()
        process.communicate(timeout=60)
    assert app.statuses() == ["INTERRUPTED"] * 2
    assert [app.info(log_id)["attempts"] for log_id in (1, 2)] == [[], []]


def test_what_a_dead_launcher_was_to_start(app: Project) -> None:
    with launcher(app, "lr=1,2", "seconds=600") as process:
        wait_until(lambda: app.statuses() == ["RUNNING", "SUBMITTED"])
        os.kill(app.info()["process_id"], 0)
        kill(process)
    assert found_out(app) == ["RUNNING", "FAILED"]  # its script lives on
    os.kill(app.info()["process_id"], signal.SIGKILL)
    wait_until(lambda: reconciled(app) == ["KILLED", "FAILED"])


def test_a_final_status_between_two_looks(app: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(app) as process:

        def ends(attempt: dict[str, Any]) -> bool:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)
            return False

        # Nothing else hits so short a time.
        monkeypatch.setattr(_liveness, "lives_here", ends)
        assert reconcile(RunDirectory(app.path / "logs/1"), None) is Status.INTERRUPTED
    assert app.statuses() == ["INTERRUPTED"]


@pytest.mark.long("oar")
def test_jobs_killed_on_their_node(app: Project, cluster: Cluster) -> None:
    queue(app, cluster, "fail=kill", "seconds=0")
    wait_until(lambda: reconciled(app) == ["KILLED"])
    info = app.info()
    assert info["scheduler"]["may_come_back"] is False
    assert rows(app)[0]["job"] == info["scheduler"]["scheduler_job_id"]


def test_an_id_that_is_none_is_not_given_to_a_scheduler(app: Project) -> None:
    need_cluster("slurm")
    app.run("main.py", "-m", "hydra/launcher=mlxp_slurm")
    wait_until(lambda: app.statuses() == ["COMPLETE"])
    info = app.info()
    info |= {"status": "RUNNING"}
    info["scheduler"] |= {"may_come_back": True, "scheduler_job_id": "--user=root"}
    app.file(1, "metadata/info.yaml").write_text(dump_yaml(info))
    assert mlxpy(app, "cancel", "1", "--yes") == (
        "Nothing to cancel.\n",
        "Left alone: it is not known which job run 1 is.\n",
    )
