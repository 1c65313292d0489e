"""The launchers' options, on a real Slurm and a real OAR where they have an effect there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import submitit
from conftest import CONFIG, Cluster, Project, ended, need_cluster, wait_until
from hydra_plugins.hydra_submitit_launcher.config import SlurmQueueConf
from omegaconf import OmegaConf
from sweepers import BEST, BEST_FILE, BEST_SWEEPER

from hydra_plugins.mlxpy._launching._script_options import script_options
from hydra_plugins.mlxpy._submitit_nodes import SlurmLauncherNode
from mlxpy_core import Reader, Status
from mlxpy_core._scheduling._slurm import SLURMScheduler

SLURM = ["-m", "hydra/launcher=mlxp_slurm"]
LOCAL = ["-m", "hydra/launcher=mlxp_local"]
CALLBACK = "hydra/callbacks=mlxp_logger"
LINES = CONFIG[1:-2].replace(", ", "\n") + "\n"


# The options of submitit_slurm.

SUBMITIT: list[dict[str, Any]] = [
    {"timeout_min": 90},
    {"cpus_per_task": 2},
    {"gpus_per_node": 4},
    {"tasks_per_node": 1},
    {"tasks_per_node": 3},
    {"mem_gb": 16},
    {"nodes": 2},
    {"name": "a_name"},
    {"stderr_to_stdout": True},
    {"partition": "main,high"},
    {"qos": "normal"},
    {"comment": 'it\'s a "comment" of $5'},
    {"constraint": "a100|h100"},
    {"exclude": "n[0-3]"},
    {"gres": "gpu:2"},
    {"cpus_per_gpu": 3, "gpus_per_task": 1},
    {"mem_per_gpu": "4G"},
    {"mem_per_cpu": "2G"},
    {"account": "me"},
    {"signal_delay_s": 30},
    {"additional_parameters": {"mail-user": "me@there", "exclusive": True, "mail_type": "END"}},
    {"setup": ["export A='1 2'", "module load x"]},
]


def directives(script: str) -> set[str]:
    return set(re.findall(r"^#SBATCH (.*)$", script, flags=re.MULTILINE))


def submitits_script(tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> str:
    srun = tmp_path / "srun"  # submitit only looks if it is there
    srun.touch(mode=0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    executor = submitit.AutoExecutor(folder=tmp_path, cluster="slurm")
    base = {"timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb", "nodes", "name"}
    base |= {"stderr_to_stdout"}
    executor.update_parameters(
        **{name if name in base else f"slurm_{name}": value for name, value in options.items()}
    )
    return str(executor._executor._make_submission_file_text("command", "uid"))


@pytest.mark.parametrize("options", SUBMITIT, ids=lambda options: next(iter(options)))
def test_each_option_says_what_submitit_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    theirs = submitits_script(tmp_path, options, monkeypatch)
    without = directives(submitits_script(tmp_path, {}, monkeypatch))
    node = OmegaConf.merge(OmegaConf.structured(SlurmLauncherNode), options)
    plain = OmegaConf.to_container(node)
    assert isinstance(plain, dict)
    ours = script_options(plain)  # type: ignore[arg-type]  # keys are strings
    written = set(ours.directives) | ({f"--job-name={ours.name}"} if ours.name else set())
    added = directives(theirs) - without
    assert added <= written
    # What submitit writes by default, too, is written if the user set it.
    assert written - added <= without
    for command in options.get("setup", []):
        assert command in theirs.splitlines()
        assert command in ours.setup
    if "stderr_to_stdout" in options:
        assert "--error" not in theirs
        assert ours.stderr_to_stdout


def test_every_option_of_submitit_slurm_is_there() -> None:
    theirs = OmegaConf.structured(SlurmQueueConf)
    ours = OmegaConf.structured(SlurmLauncherNode)
    assert set(theirs) <= set(ours)
    for name in set(theirs) - {"_target_"}:
        value = theirs._get_node(name)
        ours[name] = value  # a value of theirs is one of ours


def test_nothing_is_written_that_the_user_has_not_set() -> None:
    plain = OmegaConf.to_container(OmegaConf.structured(SlurmLauncherNode))
    assert isinstance(plain, dict)
    assert script_options(plain).directives == ()  # type: ignore[arg-type]  # keys are strings


OPTIONS = [
    "hydra.launcher.timeout_min=7", "hydra.launcher.partition=high", "hydra.launcher.name=a_name",
    "hydra.launcher.cpus_per_task=2", "hydra.launcher.comment='two words'",
    "hydra.launcher.stderr_to_stdout=true", "hydra.launcher.setup=['echo set up']",
]  # fmt: skip


def test_slurm_does_what_the_options_say_and_a_dry_run_shows(app: Project) -> None:
    need_cluster("slurm")
    before = sorted(app.path.rglob("*"))
    shown = app.run("main.py", *SLURM, *OPTIONS, "lr=1,2,3", "hydra.launcher.dry_run=true").stdout
    assert sorted(app.path.rglob("*")) == before
    head, _, script = shown.partition("\n")
    assert head == f"# {app.path}/logs/1/script.sh"
    assert script.splitlines()[-3:] == [
        f"# {app.path}/logs/2/script.sh: lr=2",
        f"# {app.path}/logs/3/script.sh: lr=3",
        "Dry run: 3 jobs in 1 submission; nothing was made or submitted.",
    ]
    app.run("main.py", *SLURM, *OPTIONS, "lr=1")
    written = app.file(1, "script.sh").read_text()
    assert re.findall("MLXPY_RUN_ID=(.*)", written) == [app.info(1)["run_id"]]
    new, made = (re.sub(r"\br[0-9a-f]{16}\b", "r", text) for text in (script[: len(written)], written))
    assert new == made  # but for the identity of a run, which is new each time
    job = subprocess.run(
        ["scontrol", "show", "job", app.job_id(1)], capture_output=True, text=True, check=True
    ).stdout
    for text in (
        "TimeLimit=00:07:00",
        "Partition=high",
        "JobName=a_name",
        "NumCPUs=2",
        "Comment=two words",
    ):
        assert text in job
    wait_until(lambda: ended(app))
    output = app.file(1, "log.stdout")
    wait_until(lambda: "to stderr" in output.read_text())
    assert output.read_text().splitlines()[0] == "set up"
    assert app.file(1, "log.stderr").read_text() == ""


# What depends on the job: a value of each text.
OF_TEXT = CONFIG.replace("0.1", "'${oc.decode:${text}}'").replace("text: x", "text: '1'")
TEXTS = "text='1','2','3'"

# Unbuffered, print writes the parts of a line by themselves: those of two processes mix.
BUFFERED = "hydra.launcher.env_cmd='unset PYTHONUNBUFFERED'"


@pytest.fixture
def late_rank(app: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the second task of a step start when the run of the first has ended."""
    need_cluster("slurm")
    ended_first = "grep -qs COMPLETE logs/1/metadata/info.yaml"
    app.write("task.sh", f'until [ $SLURM_PROCID = 0 ] || {ended_first}; do sleep 0.1; done\n"$@"\n')
    srun = f'#!/bin/bash\nexec {shutil.which("srun")} "$1" bash task.sh "${{@:2}}"\n'
    app.write("bin/srun", srun).chmod(0o755)
    monkeypatch.setenv("PATH", f"{app.path}/bin:{os.environ['PATH']}")


@pytest.mark.parametrize(
    "start", [pytest.param("at once", marks=pytest.mark.long), "one after the other"]
)
def test_two_tasks_are_two_processes_and_one_run(
    app: Project, start: str, request: pytest.FixtureRequest
) -> None:
    need_cluster("slurm")
    if start == "one after the other":
        request.getfixturevalue("late_rank")
    app.run("main.py", *SLURM, "lr=1", "hydra.launcher.tasks_per_node=2", BUFFERED)
    wait_until(lambda: ended(app))
    output = app.file(1, "log.stdout")
    wait_until(lambda: output.read_text() == "lr is 1\n" * 2, shown=output.read_text)
    rank_1 = app.file(1, "metrics/.ranks/1/times.json")
    wait_until(lambda: rank_1.read_text().count("\n") == 2)  # its end
    assert [attempt["status"] for attempt in app.info()["attempts"]] == ["COMPLETE"]
    rows = [app.file(1, f"metrics/{name}.json").read_text() for name in ("train", ".ranks/1/train")]
    assert rows[0] == rows[1]
    assert rows[0].count("\n") == 1
    by_hand = subprocess.run([app.file(1, "script.sh")], capture_output=True, text=True, check=True)
    assert by_hand.stdout == "lr is 1\n"


def test_a_job_whose_time_is_up_goes_on_so_many_times(app: Project) -> None:
    need_cluster("slurm")
    options = ["hydra.launcher.signal_delay_s=30", "hydra.launcher.max_num_timeout=1"]
    app.run("main.py", *SLURM, "lr=1", "seconds=60", *options)

    def statuses() -> list[str]:
        return [attempt["status"] for attempt in app.info()["attempts"]]

    def announce_the_end(*attempts: str) -> str:
        """As Slurm does when the time is nearly up; the shortest time limit is a minute."""
        wait_until(lambda: statuses() == [*attempts, "RUNNING"])
        wait_until(lambda: app.file(1, "log.stdout").read_text() == "lr is 1\n" * (len(attempts) + 1))
        job_id = app.info()["scheduler"]["scheduler_job_id"]
        subprocess.run(["scancel", "--signal=USR2", job_id], check=True)
        wait_until(lambda: statuses() == [*attempts, "INTERRUPTED"])
        return str(job_id)

    announce_the_end()
    job_id = announce_the_end("INTERRUPTED")
    wait_until(lambda: SLURMScheduler().states([job_id])[job_id] in (Status.FAILED, Status.KILLED))
    assert len(app.info()["attempts"]) == 2


# What is done with the jobs.


def test_a_dry_run_of_a_sweeper_that_needs_results(app: Project) -> None:
    app.write(BEST_FILE, BEST)
    arguments = [BEST_SWEEPER, "hydra.sweeper.max_batch_size=2", "lr=1,2,3"]
    done = app.run("main.py", *SLURM, *arguments, "hydra.launcher.dry_run=true")
    assert "Dry run: 2 jobs" in done.stdout
    assert not (app.path / "logs").exists()


@pytest.mark.long("oar")
def test_several_runs_share_a_job_and_run_at_once(app: Project, cluster: Cluster) -> None:
    fails = "fail: '${of.${text}}', of: {'1': false, '2': true, '3': false}"
    app.write("conf/config.yaml", OF_TEXT.replace("fail: false", fails))
    shared = [TEXTS, "seconds=5", "hydra.launcher.runs_per_job=2"]
    app.run("main.py", "-m", f"hydra/launcher={cluster.launcher}", *shared)
    job_ids = [app.job_id(log_id) for log_id in (1, 2, 3)]
    assert job_ids[0] == job_ids[1] != job_ids[2]
    wait_until(lambda: app.statuses() == ["COMPLETE", "FAILED", "COMPLETE"])
    outputs = [app.file(log_id, "log.stdout").read_text() for log_id in (1, 2, 3)]
    assert outputs == [f"lr is {lr}\n" for lr in (1, 2, 3)]
    times = [Reader(app.path / "logs").search()[f"times.{name}"] for name in ("start", "end")]
    starts, ends = ([one[0] for one in column[:2]] for column in times)
    assert max(starts) < min(ends)
    # Grid Engine knows nothing of a job between its queue and its accounting.
    wait_until(lambda: cluster.scheduler().states(job_ids).get(job_ids[0]) == "FAILED")


def test_runs_of_several_tasks_share_a_job(app: Project) -> None:
    need_cluster("slurm")
    app.run(
        "main.py", *SLURM, "lr=1,2", "seconds=5", "hydra.launcher.runs_per_job=2",
        "hydra.launcher.tasks_per_node=2", BUFFERED,
    )  # fmt: skip
    wait_until(lambda: ended(app))
    output = app.file(2, "log.stdout")
    wait_until(lambda: output.read_text() == "lr is 2\n" * 2, shown=output.read_text)
    starts, ends = (Reader(app.path / "logs").search()[f"times.{name}"] for name in ("start", "end"))
    assert max(start[0] for start in starts) < min(end[0] for end in ends)


@pytest.mark.long("oar")
def test_directives_depend_on_the_job(app: Project, cluster: Cluster) -> None:
    minutes = "minutes: '${of.${text}}', of: {'1': 1, '2': 2, '3': 1}"
    app.write("conf/config.yaml", OF_TEXT.replace("{", f"{{{minutes}, ", 1))
    limit, options = {
        "mlxp_slurm": ("--time={}\n", "timeout_min={}"),
        "mlxp_oar": ("walltime=0:{}:0\n", "option_cmd=['-l core=1,walltime=0:{}:0']"),
        "mlxp_sge": ("h_rt=0:{}:0\n", "option_cmd=['-l h_rt=0:{}:0']"),
    }[cluster.launcher]
    option = f"hydra.launcher.{options.format('${minutes}')}"
    app.run("main.py", "-m", f"hydra/launcher={cluster.launcher}", TEXTS, option)
    # An array for the two with the same time limit.
    assert [log_id for log_id in app.run_ids() if app.file(log_id, "array").exists()] == [1]
    wait_until(lambda: ended(app))
    for log_id, minutes in zip(app.run_ids(), (1, 2, 1), strict=True):
        assert limit.format(minutes) in app.file(log_id, "script.sh").read_text()
        assert app.file(log_id, "log.stdout").read_text() == f"lr is {log_id}\n"


def test_directives_that_cannot_be_resolved(app: Project) -> None:
    extra = ", queues: {x: normal}, hydra: {launcher: {qos: '${queues.${text}}'}}}\n"
    app.write("conf/config.yaml", CONFIG.replace("}'}\n", f"}}'{extra}"))
    done = app.run("main.py", *SLURM, "text=x,y", exit_code=1)
    sentence = "mlxpy: hydra.launcher cannot be resolved for the job 'text=y': Interpolation key 'queues.y' not found"
    assert done.stderr == f"{sentence}\n"
    assert not (app.path / "logs/1").exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("runs_per_job=0", "runs_per_job=0 is no number of jobs: give 1 or more"),
        pytest.param(
            "array_parallelism=-1",
            "array_parallelism=-1 is no number of jobs: give 1 or more",
            marks=pytest.mark.long,
        ),
        ("poll_interval_s=0", "poll_interval_s=0.0 is no time: give seconds above 0"),
        ("+reque=true", "hydra.launcher.reque is no option of mlxp_slurm: did you mean requeue?"),
        (
            "+x=1",
            "hydra.launcher.x is no option of mlxp_slurm: --cfg hydra -p hydra.launcher shows them all",
        ),
    ],
)
def test_wrong_options(app: Project, option: str, message: str) -> None:
    sign = "+" * option.startswith("+")
    written = f"{sign}hydra.launcher.{option.removeprefix(sign)}"
    done = app.run("main.py", *SLURM, "lr=1", written, exit_code=1)
    assert done.stderr == f"mlxpy: {message}\n"
    assert not (app.path / "logs").exists()


def test_a_dry_run_whose_reader_leaves(app: Project) -> None:
    # Its lines are more than a pipe holds.
    arguments = [*SLURM, "lr=range(70)", f"text={'x' * 1000}", "hydra.launcher.dry_run=true"]
    with app.start("main.py", *arguments) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline().startswith("# ")
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


# What a job is: the program as it was typed, with the configs as they were.


def test_configs_that_change_while_jobs_wait(app: Project) -> None:
    need_cluster("slurm")
    app.write("conf/model/small.yaml", "size: 1\n")
    app.write("more/model/large.yaml", "size: 100\n")
    app.write("conf/config.yaml", "defaults: [model: small, _self_]\n" + LINES)
    hold = "hydra.launcher.option_cmd=[--hold]"
    app.run("main.py", "--config-dir", "more", *SLURM, "model=small,large", hold)
    app.write("conf/model/small.yaml", "size: 2\n")
    shutil.rmtree(app.path / "more")
    app.run("main.py", *SLURM, hold, "hydra.launcher.freeze_config=false")
    app.write("conf/model/small.yaml", "size: 3\n")
    subprocess.run(["scontrol", "release", *map(app.job_id, app.run_ids())], check=True)
    wait_until(lambda: ended(app))
    assert [app.yaml(log_id, "config")["model"]["size"] for log_id in (1, 2, 3)] == [1, 100, 3]
    frozen = list((app.path / "logs/.configs").iterdir())
    assert len(frozen) == 2
    assert all(path.name[0] != "." for path in frozen)


def test_hydras_output_goes_where_the_user_says(app: Project) -> None:
    app.run("main.py", *LOCAL, "lr=2", "hydra.sweep.dir=out/put", "hydra.sweep.subdir='lr ${lr}'")
    assert (app.path / "out/put/lr 2/.hydra/config.yaml").exists()
    assert not app.file(1, ".hydra").exists()
    app.run("main.py", *LOCAL, "lr=3", "hydra.run.dir=else/where")
    assert app.file(2, ".hydra").exists()
    assert not (app.path / "else").exists()


def test_options_and_a_mode_in_the_apps_own_config(app: Project) -> None:
    own = "class Own(Best):\n    def __init__(self, n_trials, **options): super().__init__(**options)\n"
    app.write(BEST_FILE, BEST + own)
    app.write(
        "conf/hydra/sweeper/own.yaml",
        "{_target_: hydra_plugins.best.Own, max_batch_size: 1, params: null, n_trials: 9}",
    )
    options = "hydra: {mode: MULTIRUN, launcher: {n_jobs: 2}, sweeper: {n_trials: 1}}\n"
    app.write("conf/config.yaml", options + LINES)
    choices = ["hydra/launcher=mlxp_local", "hydra/sweeper=own"]
    done = app.run("main.py", *choices, "lr=1")
    assert done.stdout.endswith("Ran 1 job on this machine: run 1.\nBest value: 1\n")
    assert app.statuses() == ["COMPLETE"]
    assert " ".join(choices) in app.file(1, "script.sh").read_text().replace(" \\\n   ", "")
    assert "-m Hydra" not in app.file(1, "log.stderr").read_text()


def test_a_file_of_options_as_submitits_users_have_it(app: Project) -> None:
    command = ["main.py", "-m", "hydra/launcher=cluster", "hydra.launcher.timeout_min=9", "lr=1"]
    options = "timeout_min: 5\nqos: high\n"
    file = "conf/hydra/launcher/cluster.yaml"
    app.write(file, "_target_: hydra_plugins.mlxpy.launcher.MlxpLauncher\n" + options)
    assert "write 'defaults: [mlxp_slurm]' in place of _target_" in app.run(*command, exit_code=1).stderr
    app.write(file, "defaults: [mlxp_slurm]\n" + options)
    script = app.run(*command, "hydra.launcher.dry_run=true").stdout
    assert "#SBATCH --qos=high\n#SBATCH --time=9\n" in script


def test_a_program_that_is_an_installed_command(app: Project, tmp_path: Path) -> None:
    app.write("package/prog/__init__.py", "")
    app.write("package/prog/main.py", (app.path / "main.py").read_text().replace('"conf"', '"configs"'))
    shutil.copytree(app.path / "conf", app.path / "package/prog/configs")
    app.write("package/prog/configs/__init__.py", "")
    # As pip writes it.
    command = app.write(
        "bin/run prog", f"#!{sys.executable}\nimport sys\nfrom prog.main import main\nsys.exit(main())\n"
    )
    command.chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": str(app.path / "package")}
    done = subprocess.run(
        [command, *LOCAL, "lr=5"],
        cwd=app.path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "Ran 1 job on this machine: run 1.\n"
    assert app.file(1, "log.stdout").read_text() == "lr is 5\n"
    assert "--config-path" in app.file(1, "script.sh").read_text()


def test_the_decorator_takes_options_of_its_scheduler(project: Project) -> None:
    project.write(
        "main.py",
        """
        import mlxpy
        @mlxpy.launch(config_path=None)
        def main(ctx):
            print(ctx.config.x)
        main()
    """,
    )
    arguments = ["+x=2", "+mlxpy.use_scheduler=True", "+mlxpy.scheduler.name=LocalScheduler"]
    done = project.run("main.py", *arguments, "hydra.launcher.n_jobs=2")
    assert done.stdout == "Ran 1 job on this machine: run 1.\n"
    assert project.file(1, "log.stdout").read_text() == "2\n"
    arguments[-1] = "+mlxpy.scheduler.name=SLURMScheduler"
    done = project.run(
        "main.py", *arguments, "hydra.launcher.timeout_min=3", "hydra.launcher.dry_run=true"
    )
    assert "#SBATCH --time=3\n" in done.stdout
