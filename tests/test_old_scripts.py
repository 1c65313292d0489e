"""Scripts that an earlier mlxpy wrote, in `data/old_runs`: they run by hand, and from the queue of a cluster."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from conftest import need_cluster, wait_until
from old_runs import DATA, JOB, STATUSES, OldRuns, old_runs

# By hand; what real clusters start below is left to them.


@pytest.mark.long(1, 2, 3, 6)
@pytest.mark.parametrize(
    ("case", "log_id"),
    [
        *(("slurm_queued", log_id) for log_id in (1, 2, 3, 6, 7, 8)),
        *(("oar_queued", log_id) for log_id in (1, 2, 3)),
    ],
)
def test_a_script_that_waited_starts_its_job(tmp_path: Path, case: str, log_id: int) -> None:
    project = old_runs(tmp_path, case)
    for settings in ("conf/config.yaml", "configs/config.yaml"):  # what was submitted is what runs
        project.write(settings, "{seed: 99, steps: 1}\n")
    if log_id in (7, 8):  # neither mlxpysub nor an app without the callback has its own copy of them
        shutil.copytree(DATA / "app", project.path, dirs_exist_ok=True)
    project.script(log_id)
    project.check_whole(log_id, ["COMPLETE"])


@pytest.mark.long
def test_a_script_of_several_runs_starts_each(tmp_path: Path) -> None:
    project = old_runs(tmp_path, "slurm_queued")
    project.script(4, "array/script.sh")
    for log_id in (4, 5):
        project.check_whole(log_id, ["COMPLETE"])


@pytest.mark.long
@pytest.mark.parametrize(("index", "log_id"), [("0", 1), ("1", 2)])
def test_a_script_of_an_array_starts_its_task(tmp_path: Path, index: str, log_id: int) -> None:
    project = old_runs(tmp_path, "slurm_queued")
    project.script(1, "array/script.sh", SLURM_ARRAY_TASK_ID=index)
    project.check_whole(log_id, ["COMPLETE"])


@pytest.mark.long(1, 3, 4)
@pytest.mark.parametrize(
    ("case", "log_id"),
    [("slurm", 1), ("slurm", 3), ("oar", 2), ("oar", 3), ("waited", 3), ("waited", 4), ("lines", 2)],
)
def test_a_script_that_has_run_goes_on(tmp_path: Path, case: str, log_id: int) -> None:
    project = old_runs(tmp_path, case)
    project.script(log_id)
    project.check_whole(log_id, [STATUSES[case][log_id - 1], "COMPLETE"])


# In the queue of a real cluster.


SUBMIT = {
    "slurm": ["sbatch", "--parsable", "script.sh"],
    "oar": ["oarsub", "-S", "./script.sh"],
}


def submit(project: OldRuns, cluster: str, folder: str, log_ids: Iterable[int]) -> list[str]:
    """Submits a script by hand, and gives its runs the job ids that they would have been noted by."""
    directory = project.logs / folder
    environment = {**os.environ, "PWD": str(directory)}  # where oarsub believes that it is
    printed = subprocess.run(
        SUBMIT[cluster], cwd=directory, env=environment, capture_output=True, text=True, check=True
    ).stdout
    ids = re.findall(r"^OAR_JOB_ID=(\d+)$" if cluster == "oar" else r"^(\d+)", printed, re.MULTILINE)
    for index, log_id in enumerate(log_ids):
        note = project.file(log_id, ".keys/job.yaml", project.case)
        job_id = ids[min(index, len(ids) - 1)]
        note.write_text(note.read_text().replace(JOB, job_id))
    return ids


def release(cluster: str, job_ids: Iterable[str]) -> None:
    for job_id in job_ids:
        command = ["oarresume"] if cluster == "oar" else ["scontrol", "release"]
        subprocess.run([*command, job_id], check=True, capture_output=True)


def cancel(cluster: str, job_ids: Iterable[str]) -> None:
    command = "oardel" if cluster == "oar" else "scancel"
    subprocess.run([command, *job_ids], check=False, capture_output=True)


@pytest.mark.parametrize(
    ("cluster", "case", "jobs"),
    [
        pytest.param("slurm", "slurm_queued", {"1/array": [1, 2], "3": [3], "4/array": [4, 5]}, id="slurm"),
        pytest.param(
            "slurm", "slurm_queued", {"6": [6], "7": [7], "8": [8]}, id="alone", marks=pytest.mark.long
        ),
        pytest.param("oar", "oar_queued", {"1/array": [1, 2], "3": [3]}, id="oar"),
    ],
)  # fmt: skip
def test_jobs_that_waited_in_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: str, case: str, jobs: dict[str, list[int]]
) -> None:
    need_cluster(cluster)
    project = old_runs(tmp_path, case)
    all_ids = [log_id for log_ids in jobs.values() for log_id in log_ids]
    for log_id in {*project.run_ids(case)} - {*all_ids}:
        shutil.rmtree(project.logs / str(log_id))
    barrier = tmp_path / "barrier"
    barrier.mkdir()
    job_ids: list[str] = []
    try:
        for folder, log_ids in jobs.items():
            with monkeypatch.context() as context:
                if log_ids == [3] and cluster == "slurm":  # two processes by srun
                    context.setenv("BARRIER", str(barrier))
                    context.setenv("RANKS", "2")
                job_ids += submit(project, cluster, folder, log_ids)
        rows = json.loads(project.command("status", "--json")[0])
        assert {row["status"] for row in rows} == {"SUBMITTED"}
        assert {row["job"].partition("_")[0] for row in rows} == set(job_ids)
        release(cluster, job_ids)
        wait_until(lambda: set(project.statuses(case)) == {"COMPLETE"})
    finally:
        cancel(cluster, job_ids)
    for log_id in all_ids:
        ranks = 2 if (cluster, log_id) == ("slurm", 3) else 1
        if ranks == 2:
            wait_until(lambda: len(project.steps(3, 1)) == 10)
        project.check_whole(log_id, ["COMPLETE"], ranks)
        (attempt,) = project.info(log_id, case)["attempts"]
        assert attempt["job_id"].partition("_")[0] in job_ids


@pytest.mark.long("oar")
@pytest.mark.parametrize(("cluster", "log_id"), [("slurm", 1), ("oar", 3)])
def test_a_job_that_waited_is_cancelled(tmp_path: Path, cluster: str, log_id: int) -> None:
    need_cluster(cluster)
    case = f"{cluster}_queued"
    project = old_runs(tmp_path, case)
    folder, log_ids = ("1/array", [1, 2]) if log_id == 1 else ("3", [3])
    job_ids = submit(project, cluster, folder, log_ids)
    try:
        project.command("cancel", str(log_id), "--yes")
        project.command("status")
        wait_until(lambda: project.command("status", str(log_id))[0].startswith("1 INTERRUPTED"))
    finally:
        cancel(cluster, job_ids)


@pytest.mark.long("oar")
@pytest.mark.parametrize("cluster", ["slurm", "oar"])
def test_jobs_that_ended_are_submitted_again(tmp_path: Path, cluster: str) -> None:
    need_cluster(cluster)
    project = old_runs(tmp_path, cluster)
    # Slurm forgets jobs, OAR does not: a run that it does not know may come back.
    log_ids = [2, 3] if cluster == "slurm" else [1, 2]
    stdout, _ = project.command("resubmit", "--complete", *map(str, log_ids))
    assert stdout == "Submitted 2 jobs to the cluster queue!\n"
    wait_until(lambda: all(len(project.info(i, cluster)["attempts"]) == 2 for i in log_ids))
    wait_until(lambda: {project.info(i, cluster)["status"] for i in log_ids} == {"COMPLETE"})
    for log_id in log_ids:
        project.check_whole(log_id, [STATUSES[cluster][log_id - 1], "COMPLETE"])
    project.command("rerun", "2")
    new = len(STATUSES[cluster]) + 1
    wait_until(lambda: project.info(new, cluster)["status"] == "COMPLETE")
    project.check_whole(new, ["COMPLETE"])
