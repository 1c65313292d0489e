"""Runs that an earlier mlxpy left, in `data/old_runs`: they are read, and go on, as they were meant to."""

import importlib
import json
import os
import pickle
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Project
from old_runs import DATA, GIT, LOGGER, PARENT, STATUSES, old_runs

import mlxpy_core
from mlxpy import Reader

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
    for log_id in (1, 4, 5, 6) if case == "local" else [len(rows)]:
        status = STATUSES[case][log_id - 1]
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


@pytest.mark.long(4, 6, "waited")  # 6: test_a_run_whose_process_lives_is_left_alone
@pytest.mark.parametrize(
    ("case", "log_id"),
    [("local", 4), ("local", 5), ("local", 6), ("launched", 2), ("waited", 3), ("waited", 4), ("versioned", 3)],
)  # fmt: skip
def test_a_run_is_resubmitted(tmp_path: Path, case: str, log_id: int) -> None:
    project = old_runs(tmp_path, case)
    project.command("resubmit", str(log_id))
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
def test_the_code_of_an_old_run_comes_back_for_it_and_for_a_script_that_waited(
    tmp_path: Path, log_id: int, factor: int
) -> None:
    project = old_runs(tmp_path, "versioned")
    project.write("training.py", "raise SystemExit('the code has moved on')\n")
    project.commit()
    shutil.rmtree(project.path / "conf")
    assert not project.file(0, "", ".workdir").exists()
    _, errors = project.command("rerun", str(log_id))
    assert "what may differ" not in errors
    commit = project.info(log_id, "versioned")["version_manager"]["commit_hash"]
    assert [copy.name for copy in project.copies()] == [commit]
    project.factor = factor
    project.check_whole(5, ["COMPLETE"])
    assert project.info(5, "versioned")["work_dir"] == str(project.path / ".workdir/project" / commit)
    if log_id == 2:  # whose copy the script of run 4 runs from
        project.script(4)
        project.check_whole(4, ["COMPLETE"])


def test_a_snapshot_that_was_taken_before_is_the_same_snapshot(tmp_path: Path) -> None:
    project = old_runs(tmp_path, "versioned")
    training = project.path / "training.py"
    training.write_text(training.read_text().replace("48271", "16807"))
    project.run("main.py", *GIT, f"{PARENT}=versioned")
    of_old, of_new = (project.info(log_id, "versioned")["version_manager"] for log_id in (2, 5))
    assert of_new["commit_hash"] == of_old["commit_hash"]


# What a run returned.


def test_what_old_runs_returned_is_given_to_the_sweeper(tmp_path: Path) -> None:
    project = old_runs(tmp_path, "waited")
    project.write("hydra_plugins/shows.py", SHOWS)
    words = ["main.py", "-m", LOGGER, f"{PARENT}=waited", "hydra/launcher=mlxp_local"]
    skip = "hydra.launcher.skip_completed=true"
    done = project.run(*words, skip, "hydra.sweeper._target_=hydra_plugins.shows.Shows", "seed=1,7")
    assert done.stdout.splitlines()[:2] == [
        "Left out 2 of 2 jobs: runs 1, 5 did the same.",
        f"returned {[project.steps(log_id)[-1][1] for log_id in (1, 5)]}",
    ]
    assert project.run_ids("waited") == [1, 2, 3, 4, 5]


SHOWS = """
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

class Shows(BasicSweeper):
    def sweep(self, arguments):
        (jobs,) = super().sweep(arguments)
        print("returned", [job.return_value for job in jobs])
"""


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
