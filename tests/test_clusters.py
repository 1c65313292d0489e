"""Submission to a real Slurm, a real Grid Engine and a real OAR; skipped by name where there is none."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import (
    CLUSTERS,
    CONFIG,
    REPOSITORY,
    Cluster,
    GitProject,
    Project,
    ended,
    need_cluster,
    reconciled,
    wait_until,
)
from sweepers import BEST, BEST_FILE, BEST_SWEEPER

from mlxpy_core import Launch, MlxpyError, Reader, Status, dump_yaml, take_run_directory
from mlxpy_core._io import _interrupts
from mlxpy_core._plugins._scheduler import SubmissionError
from mlxpy_core._scheduling._job import Job
from mlxpy_core._scheduling._oar import OARScheduler
from mlxpy_core._scheduling._sge import SGEScheduler
from mlxpy_core._scheduling._slurm import SLURMScheduler
from mlxpy_core._scheduling._submission import submit_jobs


def logged(project: Project, log_id: int, name: str = "train") -> Any:
    return json.loads(project.file(log_id, f"metrics/{name}.json").read_text().splitlines()[0])


# Words that a shell would take apart.
WORST = {
    "'a b'": "a b",
    "'$HOME `id` ;&| *?[x] # !'": "$HOME `id` ;&| *?[x] # !",
    "'it\\'s \"q\" é\\\\n'": 'it\'s "q" é\\\\n',
}


def test_any_hydra_app_with_words_that_a_shell_would_take_apart(app: Project, cluster: Cluster) -> None:
    strange = "with space" if cluster.scheduler is OARScheduler else "with space & 'quotes'"
    spaced = Project(app.path / strange)
    shutil.copytree(app.path / "conf", spaced.path / "conf")
    shutil.copy(app.path / "main.py", spaced.path)
    alone, *others = WORST
    launcher = ["main.py", "-m", f"hydra/launcher={cluster.launcher}"]
    done = spaced.run(*launcher, "lr=0.2", f"text={alone}")
    assert done.stdout == "Submitted 1 job to the cluster queue!\n"
    done = spaced.run(*launcher, "lr=0.2", f"text={','.join(others)}")
    assert done.stdout == "Submitted 2 jobs to the cluster queue!\n"
    assert spaced.run_ids() == [1, 2, 3]
    wait_until(lambda: ended(spaced))
    assert [logged(spaced, log_id) for log_id in (1, 2, 3)] == [
        {"lr": 0.2, "text": text, "num": num}
        for num, text in zip((0, 0, 1), WORST.values(), strict=True)
    ]
    for log_id in (1, 2, 3):
        assert spaced.file(log_id, "log.stdout").read_text() == "lr is 0.2\n"
        assert "to stderr" in spaced.file(log_id, "log.stderr").read_text()
        assert os.access(spaced.file(log_id, "script.sh"), os.X_OK)
        info = spaced.info(log_id)
        assert info["scheduler"]["name"] == cluster.name
        assert info["attempts"][0]["job_id"] == info["scheduler"]["scheduler_job_id"]
        assert info["submit_date"]
        assert not spaced.file(log_id, "metadata/config.0.yaml").exists()
    results = Reader(spaced.path / "logs").search("config.lr == 0.2")
    assert results["info.status"] == ["COMPLETE"] * 3
    assert len(set(results["info.scheduler.scheduler_job_id"])) == 3


def test_oar_is_spared_directories_that_it_cannot_enter(app: Project) -> None:
    directory = 'hydra.launcher.parent_log_dir="it\'s"'
    done = app.run("main.py", "-m", "hydra/launcher=mlxp_oar", directory, exit_code=1)
    assert "OAR runs no jobs below" in done.stderr
    assert "it's" in done.stderr


@pytest.mark.long("oar")
def test_one_submission_each_whose_script_runs_by_hand(app: Project, cluster: Cluster) -> None:
    app.run(
        "main.py", "-m", f"hydra/launcher={cluster.launcher}", "lr=1,2", "hydra.launcher.array=false"
    )
    assert not app.file(1, "array").exists()
    wait_until(lambda: ended(app))
    assert app.file(2, "log.stdout").read_text() == "lr is 2\n"
    done = subprocess.run(
        [app.file(2, "script.sh")], capture_output=True, text=True, check=True, cwd="/"
    )
    assert done.stdout == "lr is 2\n"
    assert len(app.info(2)["attempts"]) == 2


def test_what_the_scheduler_refuses(app: Project, cluster: Cluster) -> None:
    done = app.run(
        "main.py", "-m", f"hydra/launcher={cluster.launcher}", "lr=1,2",
        f'hydra.launcher.option_cmd=["{cluster.refused}"]', exit_code=1,
    )  # fmt: skip
    assert done.stdout == ""
    assert done.stderr.startswith("mlxpy: ")
    assert "Traceback" not in done.stderr
    assert "(nothing was submitted; runs 1 to 2 failed)" in done.stderr
    assert ended(app, "FAILED")
    results = Reader(app.path / "logs").search("info.status == 'FAILED'")
    for message in results["info.exception.message"]:
        assert re.search(cluster.words, message)


@pytest.mark.long("oar")
def test_what_went_before_a_refusal_is_told(project: Project, cluster: Cluster) -> None:
    class Choosy(cluster.scheduler):
        max_array_size = 2

        def submit(self, script: Path) -> str:
            if script.parent.name == "5":
                raise SubmissionError("enough")
            return str(super().submit(script))

    jobs = make_jobs(project, 5)
    with pytest.raises(
        MlxpyError,
        match=re.escape(
            "enough (runs 1 to 4 were submitted; run 5 failed: to submit the rest, mlxpy resubmit 5 "
            f"--logs {project.path}/logs)"
        ),
    ):
        submit_jobs(Choosy(), jobs)
    assert project.info(5)["status"] == "FAILED"
    wait_until(lambda: all(project.file(i, "log.stdout").exists() for i in range(1, 5)))
    wait_until(
        lambda: (
            [project.file(i, "log.stdout").read_text() for i in range(1, 5)]
            == [f"{i}\n" for i in range(1, 5)]
        )
    )


def test_a_script_that_cannot_be_written(project: Project) -> None:
    jobs = make_jobs(project, 3)
    project.write("logs/3/metadata", "in the way")
    with pytest.raises(
        MlxpyError, match=r"cannot write .* \(nothing was submitted; runs 1 to 3 removed again\)"
    ):
        submit_jobs(SLURMScheduler(), jobs)
    assert project.run_ids() == []


class Interrupting(SLURMScheduler):
    """Takes each script by itself, and is interrupted while it takes some."""

    max_array_size = 1

    def __init__(self, *runs: str) -> None:
        self._runs = runs

    def submit(self, script: Path) -> str:
        for _ in range(self._runs.count(script.parent.name)):
            signal.raise_signal(signal.SIGINT)
        return f"7{script.parent.name}"


def test_ctrl_c_while_jobs_are_submitted(project: Project, in_directory: Path) -> None:
    said = (
        "interrupted: 2 of 4 jobs stay in the queue (to cancel: mlxpy cancel 1-2); "
        "runs 3 to 4 are INTERRUPTED (to submit: mlxpy resubmit 3-4)"
    )
    with pytest.raises(SubmissionError, match=re.escape(said)) as raised:
        submit_jobs(Interrupting("2", "2"), make_jobs(project, 4))
    assert raised.value.exit_code == 130
    assert project.statuses() == ["SUBMITTED", "SUBMITTED", "INTERRUPTED", "INTERRUPTED"]
    assert [project.job_id(log_id) for log_id in (1, 2)] == ["71", "72"]


def test_a_second_ctrl_c_does_not_wait_for_the_scheduler(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_interrupts, "_SAME_S", 0)
    said = "it is not known whether the queue has run 2: mlxpy status says more; run 3 is INTERRUPTED"
    with pytest.raises(SubmissionError, match=re.escape(said)):
        submit_jobs(Interrupting("2", "2"), make_jobs(project, 3))
    assert project.statuses() == ["SUBMITTED", "SUBMITTED", "INTERRUPTED"]


def test_ctrl_c_before_the_queue_has_anything_leaves_no_runs(project: Project) -> None:
    jobs = make_jobs(project, 3)

    class Early(SLURMScheduler):
        def name_directives(self, name: str) -> list[str]:
            if name.endswith("/3"):  # while the last script is written
                signal.raise_signal(signal.SIGINT)
            return []

    with pytest.raises(SubmissionError, match="interrupted: nothing was submitted"):
        submit_jobs(Early(), jobs)
    assert project.run_ids() == []


# As OAR 2.5.9 answers when its server is down; other tests need that of this machine.
OARSUB_WITHOUT_SERVER = """\
#!/bin/sh
echo 'OAR_JOB_ID=1784'
echo 'OAR_JOB_ID=1785'
echo '[ERROR] Cannot connect to executor localhost:6666. Job is killed.' >&2
exit 9
"""


def test_oar_does_not_run_later_what_it_refused(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = f'#!/bin/sh\necho "$(basename "$0") $*" >> "{project.path}/asked"\nexit 2\n'
    for name, text in (("oarsub", OARSUB_WITHOUT_SERVER), ("oarhold", note), ("oardel", note)):
        project.write(f"bin/{name}", text).chmod(0o755)
    monkeypatch.setenv("PATH", f"{project.path}/bin:{os.environ['PATH']}")
    with pytest.raises(SubmissionError, match=r"Cannot connect to executor .*nothing was submitted"):
        submit_jobs(OARScheduler(), make_jobs(project, 2))
    assert (project.path / "asked").read_text() == "oarhold 1784 1785\noardel 1784 1785\n"
    assert project.statuses() == ["FAILED"] * 2


def test_a_controller_that_is_down(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    need_cluster("slurm")
    config = Path(os.environ.get("SLURM_CONF", "/etc/slurm/slurm.conf")).read_text()
    elsewhere = re.sub(r"(?m)^SlurmctldPort=.*$", "SlurmctldPort=9", config) + "\nMessageTimeout=1\n"
    monkeypatch.setenv("SLURM_CONF", str(project.write("slurm.conf", elsewhere)))
    with pytest.raises(SubmissionError, match=r"nothing was submitted; run 1 failed"):
        submit_jobs(SLURMScheduler(), make_jobs(project, 1))
    assert re.search("[Uu]nable to contact slurm controller", project.info()["exception"]["message"])


def test_a_client_that_hangs(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = project.write("bin/sbatch", "#!/bin/sh\nexec sleep 600\n")
    hanging.chmod(0o755)
    monkeypatch.setenv("PATH", f"{hanging.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(SLURMScheduler, "timeout_s", 0.5)
    words = "sbatch did not answer within 0.5 s, but may have taken the job: look at the queue"
    with pytest.raises(SubmissionError, match=words):
        submit_jobs(SLURMScheduler(), make_jobs(project, 1))
    assert words in project.info()["exception"]["message"]


def make_jobs(project: Project, count: int) -> list[Job]:
    here = str(project.path)
    launch = Launch(
        cmd="test", executable=sys.executable, current_file_path=None, work_dir=here, launch_dir=here
    )
    jobs = []
    for number in range(1, count + 1):
        directory = take_run_directory(project.path / "logs")
        jobs.append(
            Job(
                directory,
                config={"x": number},
                launch=launch,
                command=["echo", str(number)],
            )
        )
    return jobs


@pytest.mark.long("oar")
def test_more_jobs_than_an_array_may_have(project: Project, cluster: Cluster) -> None:
    class Small(cluster.scheduler):
        max_array_size = 3

    submit_jobs(Small(), make_jobs(project, 8))
    assert [i for i in range(1, 9) if project.file(i, "array").exists()] == [1, 4, 7]
    outputs = [project.file(number, "log.stdout") for number in range(1, 9)]
    wait_until(lambda: all(path.exists() and path.read_text() for path in outputs))
    assert [path.read_text() for path in outputs] == [f"{number}\n" for number in range(1, 9)]


@pytest.mark.long("oar")
def test_the_tutorials_command(project: Project, cluster: Cluster) -> None:
    shutil.copytree(REPOSITORY / "examples" / "tutorial", project.path, dirs_exist_ok=True)
    name = f"+mlxpy.scheduler.name={cluster.name}"
    done = project.run("main.py", "+mlxpy.use_scheduler=True", name)
    assert done.stdout == "Submitted 1 job to the cluster queue!\n"
    wait_until(lambda: ended(project))
    script = project.file(1, "script.sh").read_text().split("\n\n")[2].splitlines()
    assert script[1:] == [
        "    +mlxpy.logger.forced_log_id=1 \\",
        f"    +mlxpy.logger.parent_log_dir={project.path}/logs \\",
        "    +mlxpy.use_scheduler=False \\",
        "    +mlxpy.use_version_manager=False",
    ]
    assert "Completed training" in project.file(1, "log.stdout").read_text()


@pytest.mark.long("oar")
def test_the_tutorials_sweep_with_the_version_manager(
    repository: GitProject, cluster: Cluster, times: Callable[[int, int], int]
) -> None:
    shutil.copytree(REPOSITORY / "examples" / "tutorial", repository.path, dirs_exist_ok=True)
    repository.write(".gitignore", "__pycache__\nmlxpy.yaml\n")
    commit = repository.commit()
    rates, seeds = [1e-3, 1e-2], range(1, times(1, 4) + 1)
    sweep = [
        f"+optimizer.lr={','.join(map(str, rates))}",
        f"+seed={','.join(map(str, seeds))}",
        "+mlxpy.use_scheduler=True",
    ]
    name = f"+mlxpy.scheduler.name={cluster.name}"
    done = repository.run("main.py", *sweep, "+mlxpy.use_version_manager=True", name)
    expected = [(rate, seed) for rate in rates for seed in seeds]
    assert done.stdout == f"Submitted {len(expected)} jobs to the cluster queue!\n"
    (copy,) = repository.copies()
    assert copy.name == commit
    wait_until(lambda: ended(repository))
    configs = [repository.yaml(log_id, "config") for log_id in repository.run_ids()]
    assert [(config["optimizer"]["lr"], config["seed"]) for config in configs] == expected
    for log_id in repository.run_ids():
        info = repository.info(log_id)
        assert (info["work_dir"], info["current_file_path"]) == (str(copy), str(copy / "main.py"))
        assert info["version_manager"]["commit_hash"] == commit
        assert any(line.startswith("numpy==") for line in info["version_manager"]["requirements"])
        assert "Completed training" in repository.file(log_id, "log.stdout").read_text()


@pytest.mark.long("oar")
def test_the_code_that_runs_is_the_code_that_was_submitted(
    repository: GitProject, cluster: Cluster, tmp_path: Path
) -> None:
    app = GitProject(tmp_path / "with spaces and é") if cluster.launcher != "mlxp_oar" else repository
    app.write("src/package/__init__.py", "")
    app.write("src/package/helper.py", "code = 'as submitted'\n")
    app.write(
        "src/package/train.py",
        """
        import hydra, mlxpy
        @hydra.main(version_base="1.3", config_path="../../conf", config_name="config")
        def main(cfg):
            from package import helper, only_uncommitted
            mlxpy.get_logger().log_metrics({"lr": cfg.lr, "code": helper.code}, "train")
        main()
        """,
    )
    app.write("conf/config.yaml", "lr: 0.1\n")
    app.commit()
    app.write("src/package/only_uncommitted.py", "")
    app.write("conf/config.yaml", "lr: 0.5\n")
    results = [
        f"hydra.callbacks.mlxp_logger.parent_log_dir={tmp_path}/logs",
        f"hydra.callbacks.mlxp_git.parent_work_dir={tmp_path}/copies",
        f"hydra.launcher.shell_config_cmd='while [ -e \"{app.path}\" ]; do sleep 0.2; done'",
    ]
    callbacks = "hydra/callbacks=[mlxp_logger,mlxp_git]"
    launcher = f"hydra/launcher={cluster.launcher}"
    command = ["-m", "package.train", "-m", callbacks, launcher, *results, "+seed=1"]
    done = app.run(*command, env={"PYTHONPATH": str(app.path / "src")})
    assert done.stdout == "Submitted 1 job to the cluster queue!\n"
    app.write("src/package/helper.py", "code = 'as edited meanwhile'\n")
    shutil.rmtree(app.path)
    logs = Project(tmp_path)
    wait_until(lambda: ended(logs))
    assert logged(logs, 1) == {"lr": 0.5, "code": "as submitted"}


@pytest.mark.parametrize("name", ["slurm", "oar"])
def test_what_is_held_has_its_id_and_may_be_cancelled_by_hand(app: Project, name: str) -> None:
    need_cluster(name)
    cluster = CLUSTERS[name]
    words = ["main.py", "-m", f"hydra/launcher={cluster.launcher}", "hydra.launcher.option_cmd=[--hold]"]
    app.run(*words, "lr=1,2")
    scheduler = cluster.scheduler()
    waiting = Reader(app.path / "logs").search("info.status == 'SUBMITTED'")
    kept, cancelled = waiting["info.scheduler.scheduler_job_id"]
    try:
        assert scheduler.states([kept, cancelled]) == dict.fromkeys([kept, cancelled], Status.SUBMITTED)
        subprocess.run(scheduler.cancel_command([cancelled]), check=True, capture_output=True)
        wait_until(lambda: Status.SUBMITTED not in scheduler.states([cancelled]).values())
        # As if a minute had gone by: accounting may be late.
        info = app.info(2)
        info["submit_date"] = "2020-01-01"
        app.file(2, "metadata/info.yaml").write_text(dump_yaml(info))
        assert reconciled(app) == ["SUBMITTED", "INTERRUPTED"]
        assert app.info(2)["exception"] is None
    finally:
        scheduler.cancel([kept])


@pytest.mark.parametrize("name", ["slurm", "sge"])
def test_a_bound_on_how_many_run_at_once(app: Project, name: str) -> None:
    need_cluster(name)
    bound = ["hydra.launcher.array_parallelism=1", "seconds=1"]
    app.run("main.py", "-m", f"hydra/launcher=mlxp_{name}", "lr=1,2", *bound)
    wait_until(lambda: ended(app))
    results = Reader(app.path / "logs").search()
    starts, ends = (sorted(x[0] for x in results[f"times.{key}"]) for key in ("start", "end"))
    assert ends[0] <= starts[1]


def test_grid_engine_tells_what_became_of_jobs(project: Project) -> None:
    need_cluster("sge")
    scheduler = SGEScheduler()

    def submit(command: str, *directives: str) -> str:
        head = [*scheduler.name_directives("2/of"), *directives]
        text = "".join(f"#$ {directive}\n" for directive in head)
        return scheduler.submit(project.write("script.sh", f"#!/bin/sh\n{text}{command}\n"))

    def states() -> list[str | None]:
        found = scheduler.states([*jobs, "99999999"])
        return [found[job].value if job in found else None for job in jobs]

    ends = [submit("exit 0"), submit("exit 3"), submit("kill -9 $$"), submit("sleep 60", "-l h_rt=1")]
    array = submit("sleep 60", *scheduler.array_directives(4, 1))
    jobs = [*ends, *(f"{array}.{task}" for task in range(1, 5)), submit("exit 0", "-h")]
    ended_words: list[str | None] = ["COMPLETE", "FAILED", "KILLED", "KILLED"]
    wait_until(lambda: states() == [*ended_words, "RUNNING", *["SUBMITTED"] * 4])
    subprocess.run(scheduler.cancel_command([*jobs[4:6], *jobs[7:]]), check=True, capture_output=True)
    # Of those that never ran it keeps no record.
    wait_until(lambda: states() == [*ended_words, "KILLED", None, "RUNNING", None, None])
    subprocess.run(scheduler.cancel_command([array]), check=True, capture_output=True)


@pytest.mark.long("oar")
def test_modules_other_configs_and_commands_around(app: Project, cluster: Cluster) -> None:
    app.write("pkg/__init__.py", "")
    shutil.copy(app.path / "main.py", app.path / "pkg" / "prog.py")
    app.write("pkg/conf/other.yaml", CONFIG.replace("0.1", "0.7"))
    app.run(
        "-m", "pkg.prog", "--config-name", "other", "-m", f"hydra/launcher={cluster.launcher}",
        "hydra.launcher.env_cmd='echo before'", "hydra.launcher.cleanup_cmd='echo after'",
        "hydra/callbacks=mlxp_logger", "hydra.callbacks.mlxp_logger.parent_log_dir=runs",
    )  # fmt: skip
    wait_until(lambda: ended(app, logs="runs"))
    output = app.file(1, "log.stdout", "runs")
    wait_until(lambda: output.read_text().endswith("after\n"))
    assert output.read_text() == "before\nlr is 0.7\nafter\n"


def test_a_launcher_without_a_sweep_is_told(app: Project) -> None:
    done = app.run("main.py", "hydra/launcher=mlxp_oar", "hydra/callbacks=mlxp_logger", "num=0")
    assert done.stderr.count("mlxpy: without -m Hydra runs the job here: mlxp_oar does nothing\n") == 1
    assert app.statuses() == ["COMPLETE"]
    assert app.run("main.py", "hydra/launcher=mlxp_oar", "--cfg", "job").stderr == ""


def test_no_such_command(app: Project, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = app.run(
        "main.py",
        "-m",
        "hydra/launcher=mlxp_oar",
        "lr=1",
        env={"PATH": str(tmp_path / "empty")},
        exit_code=1,
    )
    assert done.stderr == (
        "mlxpy: there is no command 'oarsub' here: submit on a machine that has it "
        "(nothing was submitted; run 1 failed)\n"
    )
    assert app.statuses() == ["FAILED"]


def test_a_sweeper_that_needs_results(app: Project) -> None:
    app.write(BEST_FILE, BEST)
    done = app.run("main.py", "-m", "hydra/launcher=mlxp_slurm", BEST_SWEEPER, "lr=1,2", exit_code=1)
    assert "needs the jobs' results, which are not there when this launcher returns" in done.stderr
    assert not (app.path / "logs").exists()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (
            "hydra.launcher.scheduler=Nobody",
            "no scheduler 'Nobody': give LSFScheduler, LocalScheduler, MoabScheduler, OARScheduler, PBSScheduler, SGEScheduler, "
            "SLURMScheduler, or the dotted path of a class of yours",
        ),
        ("hydra.launcher.shell_path=bash", "shell_path='bash' is no absolute path of a shell"),
    ],
)
def test_wrong_options(app: Project, override: str, words: str) -> None:
    done = app.run("main.py", "-m", "hydra/launcher=mlxp_oar", override, exit_code=1)
    assert words in done.stderr
    assert not (app.path / "logs").exists()
