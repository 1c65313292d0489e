"""Runs that an earlier mlxpy left, in `data/old_runs`: they are read, and go on, as they were meant to."""

import importlib
import json
import os
import pickle
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import GitProject, Project, need_cluster, wait_until

import mlxpy_core
from mlxpy import Reader

DATA = Path(__file__).parent / "data" / "old_runs"
LOGGER = "hydra/callbacks=mlxp_logger"
PARENT = "hydra.callbacks.mlxp_logger.parent_log_dir"
GIT = ["hydra/callbacks=[mlxp_logger,mlxp_git]", "hydra.callbacks.mlxp_git.interactive_mode=false"]
# What stands for the id of each job; no scheduler has had so many.
JOB = "66000001"
STATUSES = {
    "local": ["COMPLETE", "COMPLETE", "COMPLETE", "INTERRUPTED", "FAILED", "KILLED"],
    "launched": ["COMPLETE", "INTERRUPTED"],
    "waited": ["COMPLETE", "COMPLETE", "FAILED", "INTERRUPTED", "COMPLETE"],
    "lines": ["COMPLETE", "INTERRUPTED"],
    "ranks": ["COMPLETE", "INTERRUPTED", "KILLED"],
    "versioned": ["COMPLETE", "COMPLETE", "INTERRUPTED", "SUBMITTED"],
    "slurm": ["COMPLETE", "COMPLETE", "INTERRUPTED", "COMPLETE", "COMPLETE", "COMPLETE"],
    "slurm_queued": ["SUBMITTED"] * 8,
    "oar": ["COMPLETE", "COMPLETE", "INTERRUPTED"],
    "oar_queued": ["SUBMITTED"] * 3,
}


class OldRuns(Project):
    """A user's directory with the runs of one case.

    Args:
        path: the directory; the runs lie in a folder of it that is called as the case.
        case: the name of a file in `data/old_runs`.
        where: of which machine they are: ``here``, ``here, before a reboot``, or ``elsewhere``.
    """

    factor = 48271

    def __init__(self, path: Path, case: str, where: str = "here") -> None:
        super().__init__(path)
        self.case = case
        self.logs = path / case
        fill_in(path.parent, case, where)

    def steps(self, log_id: int, rank: int = 0) -> list[tuple[int, int]]:
        folder = f"metrics/.ranks/{rank}" if rank else "metrics"
        text = self.file(log_id, f"{folder}/train.json", self.case).read_text()
        return [(row["step"], row["value"]) for row in map(json.loads, text.splitlines())]

    def whole_history(self, log_id: int) -> list[tuple[int, int]]:
        """Gives the steps of a run that was never interrupted."""
        value, steps = self.yaml(log_id, "config", self.case)["seed"], []
        for step in range(10):
            value = value * self.factor % 2147483647
            steps.append((step, value))
        return steps

    def check_whole(self, log_id: int, attempts: Iterable[str], ranks: int = 1) -> None:
        """Checks that a run is complete, after these attempts, with no row twice and none missing."""
        info = self.info(log_id, self.case)
        assert info["status"] == "COMPLETE"
        assert [attempt["status"] for attempt in info["attempts"]] == list(attempts)
        for rank in range(ranks):
            assert self.steps(log_id, rank) == self.whole_history(log_id)
        scores = self.file(log_id, "metrics/eval.json", self.case).read_text().splitlines()
        values = [value for step, value in self.whole_history(log_id) if step % 3 == 0]
        assert [json.loads(row)["score"] for row in scores] == [value / 7 for value in values]
        found = Reader(self.logs).search(f"info.log_id == {log_id}")[0]
        assert found["train.value"] == [value for _, value in self.whole_history(log_id)]

    def forced(self, log_id: int) -> list[str]:
        return [f"{PARENT}={self.case}", f"hydra.callbacks.mlxp_logger.forced_log_id={log_id}"]

    def command(self, *words: str, **options: Any) -> tuple[str, str]:
        return self.mlxpy(*words, "--logs", self.case, **options)

    def script(self, log_id: int, name: str = "script.sh", **variables: str) -> None:
        """Runs a script by hand."""
        script, environment = self.file(log_id, name, self.case), {**os.environ, **variables}
        done = subprocess.run([script], cwd="/", env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


class OldRepository(OldRuns, GitProject):
    """A user's repository with the runs of its safe copies, which are gone."""

    factor = 16807

    def __init__(self, path: Path, where: str) -> None:
        GitProject.__init__(self, path)
        self.git("fetch", "-q", str(DATA / "code.bundle"), "refs/*:refs/*", "--update-head-ok")
        self.git("reset", "-q", "--hard")
        OldRuns.__init__(self, path, "versioned", where)


def fill_in(root: Path, case: str, where: str) -> None:
    """Writes the runs of a case below `root`, with this machine's words for the placeholders."""
    here = where.startswith("here")
    machine_id = Path("/etc/machine-id")
    machine = machine_id.read_text().strip() if machine_id.exists() else "null"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    unlike = "0123456789abcdef0123456789abcdef"
    words = {
        "ROOT": str(root),
        "PYTHON": sys.executable,
        "INSTALLED": str(Path(mlxpy_core.__file__).parent.parent),
        "PACKAGES": str(Path(yaml.__file__).parent.parent),
        "HOST": socket.gethostname() if here else "elsewhere",
        "MACHINE": machine if here else unlike,
        "BOOT": boot if where == "here" else unlike,
        "NAMESPACE": os.readlink("/proc/self/ns/pid"),
        "USER": "somebody",
        "CLUSTER": slurm_cluster() if where == "here" else "elsewhere",
        "JOB": JOB,
    }

    def filled(text: str) -> str:
        return re.sub(r"@([A-Z]+)@", lambda found: words[found[1]], text)

    for name, content in yaml.safe_load((DATA / f"{case}.yaml").read_text()).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, str):
            path.write_text(filled(content))
        elif "link" in content:
            path.symlink_to(content["link"])
        else:
            path.write_text(filled(content["script"]))
            path.chmod(0o755)
    for path in root.rglob(".keys/summary.json"):
        stamp_again(path)


def stamp_again(summary: Path) -> None:
    """Has a summary name the files that it repeats as they are now: otherwise nobody would read it."""
    content = json.loads(summary.read_text())
    for key, name in (("info_file", "info.yaml"), ("config_file", "config.yaml")):
        status = (summary.parent.parent / "metadata" / name).stat()
        content[key] = [status.st_mtime_ns, status.st_size]
    summary.write_text(json.dumps(content))


def slurm_cluster() -> str:
    if not shutil.which("scontrol"):
        return "elsewhere"
    done = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True)
    found = re.search(r"^ClusterName\s*= (\S+)", done.stdout, flags=re.MULTILINE)
    return found[1] if found else "elsewhere"


def old_runs(tmp_path: Path, case: str, where: str = "here") -> OldRuns:
    if case == "versioned":
        return OldRepository(tmp_path / "project", where)
    shutil.copytree(DATA / "app", tmp_path / "app", ignore=shutil.ignore_patterns("__pycache__"))
    return OldRuns(tmp_path / "app", case, where)


# They are read.


@pytest.mark.parametrize("case", STATUSES)
def test_every_old_run_is_listed_and_shown(tmp_path: Path, case: str) -> None:
    # Nobody here is to be asked for the jobs of Slurm.
    where = "elsewhere" if case in ("slurm", "slurm_queued", "versioned") else "here"
    project = old_runs(tmp_path, case, where)
    summaries = list(project.logs.rglob(".keys/summary.json"))
    rows = json.loads(project.command("status", "--json")[0])
    assert [(row["id"], row["status"]) for row in rows] == list(enumerate(STATUSES[case], 1))
    listed, _ = project.command("ls")
    assert all(f" {status} " in listed for status in STATUSES[case])
    for status in set(STATUSES[case]):
        log_id = STATUSES[case].index(status) + 1
        (shown,) = json.loads(project.command("show", str(log_id), "--json")[0])
        assert shown["info"]["status"] == status
        assert ("train" in shown["metrics"]) == (status != "SUBMITTED")
    found = Reader(project.logs).search()
    assert found["info.status"] == STATUSES[case]
    assert found["info.log_dir"] == [str(project.logs / str(log_id)) for log_id in found["info.log_id"]]
    for summary in summaries:  # what they say is what the files say that they repeat
        summary.unlink()
    shutil.rmtree(project.logs / ".mlxpy" / "reader-1", ignore_errors=True)
    again = Reader(project.logs).search()
    assert set(again.keys()) == set(found.keys())
    for key in found.keys():  # noqa: SIM118  # a list of runs
        assert repr(again[key]) == repr(found[key])


@pytest.mark.parametrize(
    ("where", "status"),
    [("here", "KILLED"), ("here, before a reboot", "KILLED"), ("elsewhere", "RUNNING")],
)
def test_a_run_whose_process_is_gone(tmp_path: Path, where: str, status: str) -> None:
    project = old_runs(tmp_path, "local", where)
    assert project.info(6, "local")["status"] == "RUNNING"
    project.command("status")
    info = project.info(6, "local")
    assert (info["status"], info["attempts"][0]["status"]) == (status, status)
    assert [project.info(i, "local")["status"] for i in range(1, 6)] == STATUSES["local"][:5]


def test_a_run_whose_process_lives_is_left_alone(tmp_path: Path) -> None:
    project = old_runs(tmp_path, "local")
    info = project.file(6, "metadata/info.yaml", "local")
    with subprocess.Popen(["sleep", "600"]) as process:
        start = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
        text = re.sub(r"(process_start: ).*", rf"\g<1>{start}", info.read_text())
        info.write_text(re.sub(r"(process_id: ).*", rf"\g<1>{process.pid}", text))
        assert "1 RUNNING" in project.command("status")[0]
        refused = project.run("main.py", LOGGER, *project.forced(6), exit_code=1)
        assert "run 6" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert [step for step, _ in project.steps(6)] == [*range(7)]
        process.kill()
        process.wait()
    assert "RUNNING" not in project.command("status")[0]
    project.command("resubmit", "6")
    project.check_whole(6, ["KILLED", "COMPLETE"])


def test_artifacts_of_old_runs_are_loaded(tmp_path: Path) -> None:
    project = old_runs(tmp_path, "local")
    run = Reader(project.logs).search()[0]
    assert run["artifact.pickle"]["model.pkl"].load() == {"layers": [1, 2]}
    assert run["artifact.numpy"]["weights.npy"].load().tolist() == [0, 1, 2, 3]
    assert run["artifact.image"]["picture.png"].load().getpixel((0, 0)) == (0, 1, 2)
    assert run["artifact.json"]["summary.json"].load() == {"best": None}
    assert run["artifact.text"]["remark.txt"].load() == "é\n"
    assert run["artifact.Checkpoint"]["checkpoint.pkl"].load()["step"] == 9
    project.write("load.py", LOAD)
    assert project.run("load.py").stdout == "['one', 'two']\n"
    assert project.command("logs", "1")[0] == "trained to 1596680831\n"


# The registered type's functions are the user's, found from the directory of the program.
LOAD = """
from mlxpy import Reader
print(Reader("local").search()[0]["artifact.lines.folder"]["names"].load())
"""


def test_the_metrics_of_each_rank_are_read(tmp_path: Path) -> None:
    project = old_runs(tmp_path, "ranks")
    found = Reader(project.logs).search()
    assert [found[i]["rank1/train.step"] for i in range(3)] == [[*range(10)], [*range(7)], [*range(7)]]


def test_a_new_run_gets_the_next_number(tmp_path: Path) -> None:
    project = old_runs(tmp_path, "local")
    before = project.file(1, "metadata/info.yaml", "local").read_bytes()
    project.run("main.py", LOGGER, f"{PARENT}=local", "seed=9")
    assert project.run_ids("local") == [1, 2, 3, 4, 5, 6, 7]
    project.check_whole(7, ["COMPLETE"])
    assert project.file(1, "metadata/info.yaml", "local").read_bytes() == before
    assert Reader(project.logs).search()["config.seed"] == [1, 2, 3, 4, 4, 4, 9]


# They go on.


@pytest.mark.long(4, 5)
@pytest.mark.parametrize("log_id", [4, 5, 6])
def test_a_run_is_continued_by_its_number(tmp_path: Path, log_id: int) -> None:
    project = old_runs(tmp_path, "local")
    earlier = project.info(log_id, "local")["attempts"][0]
    project.run("main.py", LOGGER, *project.forced(log_id), "seed=4", "+note=other")
    project.check_whole(log_id, [STATUSES["local"][log_id - 1], "COMPLETE"])
    first = project.info(log_id, "local")["attempts"][0]
    found_out = dict.fromkeys(("status", "end", "end_reason"))
    assert {**first, **found_out} == {**earlier, **found_out}
    assert project.yaml(log_id, "config", "local")["note"] == "other"
    assert project.yaml(log_id, "config.1", "local")["note"] == "it's $HOME"
    aside = project.file(log_id, "metrics/.aside/2/train.json", "local").read_text()
    assert [json.loads(row)["step"] for row in aside.splitlines()] == [5, 6]


def test_a_run_of_a_decorated_program_is_continued_by_its_number(tmp_path: Path) -> None:
    project = old_runs(tmp_path, "launched")
    number = ["+mlxpy.logger.parent_log_dir=launched", "+mlxpy.logger.forced_log_id=2"]
    project.run("decorated.py", *number, "+seed=5")
    project.check_whole(2, ["INTERRUPTED", "COMPLETE"])


@pytest.mark.long(2)
@pytest.mark.parametrize("log_id", [2, 3])
def test_every_rank_goes_on_where_it_was(tmp_path: Path, log_id: int) -> None:
    project = old_runs(tmp_path, "ranks")
    barrier = tmp_path / "barrier"
    barrier.mkdir()
    words = shlex.join([sys.executable, "main.py", LOGGER, *project.forced(log_id)])
    variables = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"}
    variables |= {"TORCHELASTIC_RUN_ID": "none", "BARRIER": str(barrier), "RANKS": "2"}
    environment = {**os.environ, **variables}
    agent = f"RANK=0 {words} & RANK=1 {words} & wait"
    subprocess.run(["sh", "-c", agent], cwd=project.path, env=environment, check=True, timeout=60)
    project.check_whole(log_id, [STATUSES["ranks"][log_id - 1], "COMPLETE"], ranks=2)


@pytest.mark.long("waited")
@pytest.mark.parametrize(
    ("case", "log_ids"),
    [("local", [4, 5, 6]), ("launched", [2]), ("waited", [3, 4]), ("versioned", [3])],
)
def test_runs_are_resubmitted(tmp_path: Path, case: str, log_ids: list[int]) -> None:
    project = old_runs(tmp_path, case)
    project.command("resubmit", *map(str, log_ids))
    for log_id in log_ids:
        project.check_whole(log_id, [STATUSES[case][log_id - 1], "COMPLETE"])


@pytest.mark.long(2, 3, 4, 6, "oar")
@pytest.mark.parametrize(
    ("case", "log_id"),
    [
        ("local", 1), ("local", 3), ("local", 6), ("launched", 1), ("waited", 2), ("lines", 1),
        ("versioned", 2), ("slurm", 2), ("slurm", 4), ("oar", 1),
    ],
)  # fmt: skip
def test_runs_are_made_again(tmp_path: Path, case: str, log_id: int) -> None:
    project = old_runs(tmp_path, case)
    new = len(STATUSES[case]) + 1
    project.command("rerun", str(log_id), "--here")
    project.check_whole(new, ["COMPLETE"])
    assert project.yaml(new, "config", case) == project.yaml(log_id, "config", case)
    if STATUSES[case][log_id - 1] == "COMPLETE":
        assert project.steps(new) == project.steps(log_id)


def test_a_run_is_made_again_with_other_settings(tmp_path: Path) -> None:
    project = old_runs(tmp_path, "slurm")
    project.command("rerun", "1", "seed=11", "--here")
    project.check_whole(7, ["COMPLETE"])
    assert project.yaml(7, "config", "slurm")["seed"] == 11


# Safe copies.


@pytest.mark.long(1)
@pytest.mark.parametrize(("log_id", "factor"), [(1, 48271), (2, 16807)])
def test_the_code_of_an_old_run_comes_back(tmp_path: Path, log_id: int, factor: int) -> None:
    project = old_runs(tmp_path, "versioned")
    project.write("training.py", "raise SystemExit('the code has moved on')\n")
    project.commit()
    assert not project.file(0, "", ".workdir").exists()
    _, errors = project.command("rerun", str(log_id))
    assert "what may differ" not in errors
    commit = project.info(log_id, "versioned")["version_manager"]["commit_hash"]
    assert [copy.name for copy in project.copies()] == [commit]
    project.factor = factor
    project.check_whole(5, ["COMPLETE"])
    assert project.info(5, "versioned")["work_dir"] == str(project.path / ".workdir/project" / commit)


def test_a_snapshot_that_was_taken_before_is_the_same_snapshot(tmp_path: Path) -> None:
    project = old_runs(tmp_path, "versioned")
    training = project.path / "training.py"
    training.write_text(training.read_text().replace("48271", "16807"))
    project.run("main.py", *GIT, f"{PARENT}=versioned")
    of_old, of_new = (project.info(log_id, "versioned")["version_manager"] for log_id in (2, 5))
    assert of_new["commit_hash"] == of_old["commit_hash"]


def test_a_script_that_waited_runs_from_its_copy(tmp_path: Path) -> None:
    project = old_runs(tmp_path, "versioned")
    project.command("rerun", "2")  # makes the copy
    shutil.rmtree(project.path / "conf")
    project.write("training.py", "raise SystemExit('the code has moved on')\n")
    project.script(4)
    project.check_whole(4, ["COMPLETE"])


# Scripts that were written before.


@pytest.mark.long(2, 3, 6)
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


def test_a_script_of_several_runs_starts_each(tmp_path: Path) -> None:
    project = old_runs(tmp_path, "slurm_queued")
    project.script(4, "array/script.sh")
    for log_id in (4, 5):
        project.check_whole(log_id, ["COMPLETE"])


@pytest.mark.long("0")
@pytest.mark.parametrize(("index", "log_id"), [("0", 1), ("1", 2)])
def test_a_script_of_an_array_starts_its_task(tmp_path: Path, index: str, log_id: int) -> None:
    project = old_runs(tmp_path, "slurm_queued")
    project.script(1, "array/script.sh", SLURM_ARRAY_TASK_ID=index)
    project.check_whole(log_id, ["COMPLETE"])


@pytest.mark.long(1, 4)
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
        pytest.param(
            "slurm", "slurm_queued",
            {"1/array": [1, 2], "3": [3], "4/array": [4, 5], "6": [6], "7": [7], "8": [8]}, id="slurm",
        ),
        pytest.param("oar", "oar_queued", {"1/array": [1, 2], "3": [3]}, id="oar"),
    ],
)  # fmt: skip
def test_jobs_that_waited_in_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: str, case: str, jobs: dict[str, list[int]]
) -> None:
    need_cluster(cluster)
    project = old_runs(tmp_path, case)
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
    for log_id in range(1, len(STATUSES[case]) + 1):
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
    interrupted = ["3"] if cluster == "slurm" else []
    stdout, _ = project.command("resubmit", "--complete", "1", "2", *interrupted)
    count = 2 + len(interrupted)
    assert stdout == f"Submitted {count} jobs to the cluster queue!\n"
    wait_until(lambda: all(len(project.info(i, cluster)["attempts"]) == 2 for i in range(1, count + 1)))
    wait_until(lambda: set(project.statuses(cluster)[:count]) == {"COMPLETE"})
    for log_id in range(1, count + 1):
        project.check_whole(log_id, [STATUSES[cluster][log_id - 1], "COMPLETE"])
    project.command("rerun", "2")
    new = len(STATUSES[cluster]) + 1
    wait_until(lambda: project.info(new, cluster)["status"] == "COMPLETE")
    project.check_whole(new, ["COMPLETE"])


# What a run returned.


def test_what_old_runs_returned_is_given_to_the_sweeper(tmp_path: Path) -> None:
    project = old_runs(tmp_path, "waited")
    words = ["main.py", "-m", LOGGER, f"{PARENT}=waited", "hydra/launcher=mlxp_local"]
    skip = "hydra.launcher.skip_completed=true"
    done = project.run(*words, skip, "seed=1,2")
    assert done.stdout.startswith("Left out 2 of 2 jobs: runs 1 to 2 did the same.\n")
    optuna = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=1", "hydra.sweeper.n_jobs=1"]
    done = project.run(*words, skip, *optuna, "hydra.sweep.dir=swept", "seed=choice(7)")
    assert "Left out 1 of 1 jobs: run 5 did the same.\n" in done.stdout
    results = yaml.safe_load((project.path / "swept" / "optimization_results.yaml").read_text())
    assert results["best_value"] == project.steps(5)[-1][1]
    assert project.run_ids("waited") == [1, 2, 3, 4, 5]


def test_what_an_old_run_returned_or_raised_is_unpickled(tmp_path: Path) -> None:
    project = old_runs(tmp_path, "waited")

    def outcome(log_id: int) -> Any:
        return pickle.loads(project.file(log_id, ".keys/outcome.pkl", "waited").read_bytes())

    assert outcome(1).value == project.steps(1)[-1][1]
    assert outcome(1).error is None
    assert repr(outcome(3).error) == "ValueError('as asked')"
    assert "as asked" in outcome(3).traceback


# Names that old scripts, configs and pickles hold.


@pytest.mark.parametrize(
    "name",
    [
        # In scripts and in .keys/job.yaml; in what Hydra writes below .hydra and as multirun.yaml.
        "hydra_plugins.mlxpy._callback.MlxpLogger",
        "hydra_plugins.mlxpy._git_callback.MlxpGit",
        "hydra_plugins.mlxpy.launcher.MlxpLauncher",
        # In .keys/outcome.pkl.
        "mlxpy_core._outcome.Outcome",
        # In what submitit has pickled for jobs that wait in the queue.
        "hydra_plugins.mlxpy._callback.MlxpLogger._job_directory",
        "hydra_plugins.mlxpy._nodes.MlxpLoggerNode",
        "hydra_plugins.mlxpy.config_source.MlxpyConfigSource",
        "mlxpy_core._info.Launch",
        # In info.yaml, as types of errors.
        "mlxpy.SubmissionError",
    ],
)
def test_a_name_in_old_files_can_be_imported(name: str) -> None:
    words, found = name.split("."), None
    for count in range(len(words) - 1, 0, -1):
        try:
            found = importlib.import_module(".".join(words[:count]))
        except ModuleNotFoundError:
            continue
        break
    for attribute in words[count:]:
        found = getattr(found, attribute)
    assert callable(found)


def test_old_safe_copies_find_what_starts_their_interpreters() -> None:
    (place,) = set(
        re.findall(r"@INSTALLED@/(mlxpy_core/\S*?)[\"\s]", (DATA / "versioned.yaml").read_text())
    )
    assert (Path(mlxpy_core.__file__).parent.parent / place / "sitecustomize.py").is_file()


def test_a_callback_that_submitit_has_pickled_starts_its_job(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write("job.py", PICKLED)
    project.run("job.py", str(DATA / "callback.pkl"))
    assert project.statuses() == ["COMPLETE"]
    assert project.info()["overrides"] == ["+seed=3"]
    assert project.yaml(1, "config") == {"seed": 3}
    outcome = pickle.loads(project.file(1, ".keys/outcome.pkl").read_bytes())
    assert outcome.value == 7


PICKLED = """
import pickle, sys
from pathlib import Path
from hydra import compose, initialize
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
import mlxpy

callback = pickle.loads(Path(sys.argv[1]).read_bytes())
with initialize(version_base=None, config_path=None):
    config = compose(overrides=["+seed=3"], return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    callback.on_job_start(config, task_function=print)
    mlxpy.get_logger().log_metrics({"seed": config.seed}, "train")
    callback.on_job_end(config, JobReturn(_return_value=7, status=JobStatus.COMPLETED))
"""


def test_no_place_of_a_machine_is_in_the_data() -> None:
    for path in DATA.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            found = re.search(rb"/(tmp|root|home|usr/lib|opt)/", path.read_bytes())
            assert not found, (path, found)
