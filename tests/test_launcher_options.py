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

from hydra_plugins.mlxpy._launching._script_options import script_options
from hydra_plugins.mlxpy._submitit_nodes import SlurmLauncherNode
from mlxpy_core import Reader, Status
from mlxpy_core._scheduling._slurm import SLURMScheduler

SLURM = ["-m", "hydra/launcher=mlxp_slurm"]
LOCAL = ["-m", "hydra/launcher=mlxp_local"]


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


def test_slurm_does_what_the_options_say(app: Project) -> None:
    need_cluster("slurm")
    app.run(
        "main.py", *SLURM, "lr=1", "hydra.launcher.timeout_min=7", "hydra.launcher.partition=high",
        "hydra.launcher.name=a_name", "hydra.launcher.cpus_per_task=2", "hydra.launcher.comment='two words'",
        "hydra.launcher.stderr_to_stdout=true", "hydra.launcher.setup=['echo set up']",
    )  # fmt: skip
    job_id = app.yaml(1, "../.keys/job")["scheduler_job_id"]
    shown = subprocess.run(
        ["scontrol", "show", "job", job_id], capture_output=True, text=True, check=True
    ).stdout
    for text in (
        "TimeLimit=00:07:00",
        "Partition=high",
        "JobName=a_name",
        "NumCPUs=2",
        "Comment=two words",
    ):
        assert text in shown
    wait_until(lambda: ended(app))
    output = app.file(1, "log.stdout")
    wait_until(lambda: "to stderr" in output.read_text())
    assert output.read_text().splitlines()[0] == "set up"
    assert app.file(1, "log.stderr").read_text() == ""


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


@pytest.mark.long("oar")
def test_a_dry_run_makes_nothing(app: Project, cluster: Cluster) -> None:
    before = sorted(app.path.rglob("*"))
    done = app.run(
        "main.py", "-m", f"hydra/launcher={cluster.launcher}", "lr=1,2,3", "hydra.launcher.dry_run=true"
    )
    assert sorted(app.path.rglob("*")) == before
    lines = done.stdout.splitlines()
    assert lines[0] == f"# {app.path}/logs/1/script.sh"
    assert lines[1] == "#!/bin/bash"
    assert f"{cluster.scheduler.directive} " in lines[2]
    assert lines[-3:] == [
        f"# {app.path}/logs/2/script.sh: lr=2",
        f"# {app.path}/logs/3/script.sh: lr=3",
        "Dry run: 3 jobs in 1 submission; nothing was made or submitted.",
    ]
    app.run("main.py", "-m", f"hydra/launcher={cluster.launcher}", "lr=1")
    written = app.file(1, "script.sh").read_text()
    shown = "\n".join(lines[1 : written.count("\n") + 1]) + "\n"
    assert re.findall("MLXPY_RUN_ID=(.*)", written) == [app.info(1)["run_id"]]
    new, made = (re.sub(r"\br[0-9a-f]{16}\b", "r", text) for text in (shown, written))
    assert new == made  # but for the identity of a run, which is new each time
    wait_until(lambda: ended(app))


def test_a_dry_run_of_a_sweeper_that_needs_results(app: Project) -> None:
    arguments = ["hydra/sweeper=optuna", "lr=interval(0,4)", "hydra.launcher.dry_run=true"]
    done = app.run("main.py", "-m", "hydra/launcher=mlxp_slurm", *arguments)
    assert "Dry run: 2 jobs" in done.stdout
    assert not (app.path / "logs").exists()


def test_what_is_complete_is_left_out(app: Project) -> None:
    app.write("conf/config.yaml", CONFIG.replace("'${hydra:job.num}'", "0"))
    app.run("main.py", *LOCAL, "lr=1,2", "hydra.launcher.n_jobs=2")
    app.run("main.py", *LOCAL, "lr=3", "fail=true", exit_code=1)
    again = ["lr=1,2,3", "hydra.launcher.skip_completed=true"]
    done = app.run("main.py", *LOCAL, *again)
    assert done.stdout.splitlines() == [
        "Left out 2 of 3 jobs: runs 1 to 2 did the same.",
        "Ran 1 job on this machine: run 4.",
    ]
    done = app.run("main.py", *LOCAL, *again)
    assert done.stdout == "Left out 3 of 3 jobs: runs 1 to 2, 4 did the same.\n"
    # Without the summaries, which are a cache.
    for log_id in app.run_ids():
        app.file(log_id, ".keys/summary.json").unlink()
    assert app.run("main.py", *LOCAL, *again).stdout == done.stdout
    assert len(app.run_ids()) == 4


OF_EACH_RUN = """
lr: 0.1
text: x
seconds: 0
fail: false
num: ${hydra:job.num}
name: a_${now:%Y%m%d}
paths:
  output: ${hydra:runtime.output_dir}
  results: ${paths.output}/results
  cwd: ${hydra:runtime.cwd}
  run: ${hydra:run.dir}
same: ${hydra:job.name}
twice: ${twice:${lr}}
draw: ${draw:}
whole: ${hydra:sweep}
"""

RESOLVERS = """
import random
from omegaconf import OmegaConf
OmegaConf.register_new_resolver("draw", lambda: random.random())
OmegaConf.register_new_resolver("twice", lambda value: 2 * value)
"""


def test_what_each_run_has_anew_is_not_compared_and_said_once(app: Project) -> None:
    app.write("conf/config.yaml", OF_EACH_RUN)
    app.write("main.py", RESOLVERS + app.path.joinpath("main.py").read_text())
    app.run("main.py", *LOCAL, "lr=1,2", "hydra.launcher.n_jobs=2")
    again = ["hydra.launcher.skip_completed=true"]
    done = app.run("main.py", *LOCAL, "lr=3,2,1", *again)
    said = (
        "skip_completed does not compare what each run has anew: draw, name, num, paths.output, "
        "paths.results, paths.run, whole.dir, whole.subdir."
    )
    assert done.stdout.splitlines() == [
        said,
        "Left out 2 of 3 jobs: runs 1 to 2 did the same.",
        "Ran 1 job on this machine: run 3.",
    ]
    # What the command says is compared, and so is what depends on the rest of the config.
    done = app.run("main.py", *LOCAL, "lr=1", "name=a", "twice=2", "draw=1", *again)
    assert done.stdout.splitlines()[-1] == "Ran 1 job on this machine: run 4."
    assert "Left out" not in done.stdout
    assert "anew: num," in done.stdout
    # Jobs that would not be the same are not skipped for the sake of each other.
    done = app.run("main.py", *LOCAL, "lr=1", "twice=2,5", *again)
    assert "Left out 1 of 2 jobs" in done.stdout
    assert app.yaml(5, "config")["twice"] == 5


def test_a_sweeper_gets_the_results_of_what_is_left_out(app: Project) -> None:
    grid = [
        "hydra/sweeper=optuna",
        "lr=range(2,4)",
        "hydra/sweeper/sampler=grid",
        "hydra.sweeper.n_trials=2",
    ]
    app.run("main.py", *LOCAL, "lr=2,3")
    app.file(2, ".keys/outcome.pkl").unlink()  # as a run of a launcher that did not wait
    done = app.run("main.py", *LOCAL, *grid, "hydra.launcher.skip_completed=true")
    assert done.stdout.count("Left out 1 of") == 1
    assert done.stdout.count("does not compare what each run has anew: num.") == 1
    assert "Best parameters: {'lr': 2}" in done.stdout
    assert app.run_ids() == [1, 2, 3]


@pytest.mark.long("oar")
def test_several_runs_share_a_job(app: Project, cluster: Cluster) -> None:
    app.run(
        "main.py",
        "-m",
        f"hydra/launcher={cluster.launcher}",
        "lr=1,2,3",
        "hydra.launcher.runs_per_job=2",
    )
    job_ids = [app.yaml(log_id, "../.keys/job")["scheduler_job_id"] for log_id in (1, 2, 3)]
    assert job_ids[0] == job_ids[1] != job_ids[2]
    wait_until(lambda: ended(app))
    outputs = [app.file(log_id, "log.stdout").read_text() for log_id in (1, 2, 3)]
    assert outputs == [f"lr is {lr}\n" for lr in (1, 2, 3)]


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
def test_runs_of_one_job_run_at_once(app: Project, cluster: Cluster) -> None:
    app.run(
        "main.py", "-m", f"hydra/launcher={cluster.launcher}", "fail=false,true", "seconds=5",
        "hydra.launcher.runs_per_job=2",
    )  # fmt: skip
    wait_until(lambda: app.statuses() == ["COMPLETE", "FAILED"])
    times = [Reader(app.path / "logs").search()[f"times.{name}"] for name in ("start", "end")]
    starts, ends = ([one[0] for one in column] for column in times)
    assert max(starts) < min(ends)
    (job_id,) = {app.info(log_id)["scheduler"]["scheduler_job_id"] for log_id in (1, 2)}
    # Grid Engine knows nothing of a job between its queue and its accounting.
    wait_until(lambda: cluster.scheduler().states([job_id]).get(job_id) == "FAILED")


@pytest.mark.long("oar")
def test_directives_depend_on_the_job(app: Project, cluster: Cluster) -> None:
    option = {
        "mlxp_slurm": "hydra.launcher.timeout_min=${seconds}",
        "mlxp_oar": "hydra.launcher.option_cmd=['-l core=1,walltime=0:${seconds}:0']",
        "mlxp_sge": "hydra.launcher.option_cmd=['-l h_rt=0:${seconds}:0']",
    }[cluster.launcher]
    app.run("main.py", "-m", f"hydra/launcher={cluster.launcher}", "lr=1,2", "seconds=1,2", option)
    # One array for each time limit.
    arrays = [log_id for log_id in app.run_ids() if app.file(log_id, "array").exists()]
    assert arrays == [1, 2]
    wait_until(lambda: ended(app))
    limits = {"mlxp_slurm": "--time={}\n", "mlxp_oar": "walltime=0:{}:0\n", "mlxp_sge": "h_rt=0:{}:0\n"}
    limit = limits[cluster.launcher]
    for log_id, minutes in zip(app.run_ids(), (1, 2, 1, 2), strict=True):
        assert limit.format(minutes) in app.file(log_id, "script.sh").read_text()
        assert app.file(log_id, "log.stdout").read_text() == f"lr is {1 + (log_id > 2)}\n"


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
        ("array_parallelism=-1", "array_parallelism=-1 is no number of jobs: give 1 or more"),
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
    arguments = [*SLURM, "lr=range(1000)", "hydra.launcher.dry_run=true"]
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
    app.write(
        "conf/config.yaml",
        "defaults: [model: small, _self_]\n"
        + (app.path / "conf/config.yaml").read_text()[1:-2].replace(", ", "\n"),
    )
    hold = "hydra.launcher.option_cmd=[--hold]"
    app.run("main.py", "--config-dir", "more", *SLURM, "model=small,large", hold)
    app.write("conf/model/small.yaml", "size: 2\n")
    shutil.rmtree(app.path / "more")
    app.run("main.py", *SLURM, hold)
    app.run("main.py", *SLURM, hold, "hydra.launcher.freeze_config=false")
    app.write("conf/model/small.yaml", "size: 3\n")
    for log_id in app.run_ids():
        job_id = app.yaml(log_id, "../.keys/job")["scheduler_job_id"]
        subprocess.run(["scontrol", "release", job_id], check=True)
    wait_until(lambda: ended(app))
    assert [app.yaml(log_id, "config")["model"]["size"] for log_id in (1, 2, 3, 4)] == [1, 100, 2, 3]
    frozen = list((app.path / "logs/.configs").iterdir())
    assert len(frozen) == 3
    assert all(path.name[0] != "." for path in frozen)


def test_hydras_output_goes_where_the_user_says(app: Project) -> None:
    app.run("main.py", *LOCAL, "lr=1,2", "hydra.sweep.dir=out/put", "hydra.sweep.subdir='lr ${lr}'")
    assert (app.path / "out/put/lr 2/.hydra/config.yaml").exists()
    assert not app.file(2, ".hydra").exists()
    app.run("main.py", *LOCAL, "lr=3", "hydra.run.dir=else/where")
    assert app.file(3, ".hydra").exists()
    assert not (app.path / "else").exists()


def test_a_mode_that_a_config_chose(app: Project) -> None:
    app.write("conf/config.yaml", "hydra: {mode: MULTIRUN}\n" + CONFIG[1:-2].replace(", ", "\n"))
    done = app.run("main.py", "hydra/launcher=mlxp_local", "lr=1,2")
    assert done.stdout == "Ran 2 jobs on this machine: runs 1 to 2.\n"
    assert app.statuses() == ["COMPLETE"] * 2


def test_options_in_the_apps_own_config(app: Project) -> None:
    options = "hydra: {launcher: {n_jobs: 2}, sweeper: {n_trials: 1}}\n"
    app.write("conf/config.yaml", options + CONFIG[1:-2].replace(", ", "\n"))
    choices = ["hydra/launcher=mlxp_local", "hydra/sweeper=optuna"]
    app.run("main.py", "-m", *choices, "lr=interval(0,1)")
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
            return ctx.config.x ** 2
        main()
    """,
    )
    arguments = ["+x=1,2", "+mlxpy.use_scheduler=True", "+mlxpy.scheduler.name=LocalScheduler"]
    done = project.run("main.py", *arguments, "hydra.launcher.n_jobs=2")
    assert done.stdout == "Ran 2 jobs on this machine: runs 1 to 2.\n"
    assert project.file(2, "log.stdout").read_text() == "2\n"
    arguments[-1] = "+mlxpy.scheduler.name=SLURMScheduler"
    done = project.run(
        "main.py", *arguments, "hydra.launcher.timeout_min=3", "hydra.launcher.dry_run=true"
    )
    assert "#SBATCH --time=3\n" in done.stdout
