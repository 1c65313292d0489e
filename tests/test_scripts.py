"""The scripts of jobs, run by a real shell."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mlxpy_core import MlxpyError, launch_of_this_process, take_run_directory
from mlxpy_core._io._files import write_all_whole
from mlxpy_core._plugins._scheduler import Scheduler
from mlxpy_core._runs._job_note import noted_job_id
from mlxpy_core._scheduling._bundle import leave_bundle, note_bundle, script_ended
from mlxpy_core._scheduling._find_scheduler import BUILT_IN_SCHEDULERS
from mlxpy_core._scheduling._job import Job, note_job_id, noted_job
from mlxpy_core._scheduling._oar import OARScheduler
from mlxpy_core._scheduling._script import ScriptOptions, array_script, job_script
from mlxpy_core._scheduling._slurm import SLURMScheduler

words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
SCHEDULERS = [scheduler() for scheduler in BUILT_IN_SCHEDULERS.values()]
SHOW = "import json, os, sys; print(json.dumps([os.getcwd(), *sys.argv[1:]]))"


def run_script(path: Path, text: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    path.write_text(text)
    path.chmod(0o755)
    return subprocess.run(
        [str(path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        cwd="/",
    )


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    arguments=st.lists(words, max_size=4),
    directory=st.sampled_from(["plain", "with space", "q'u\"o$te", "é;\n&"]),
)
@example(["", "a b", "'\"`$(id) \\", "\n", "-n", "é*~#!"], "é;\n& q'u\"o$te")
@pytest.mark.parametrize("scheduler", SCHEDULERS, ids=lambda s: type(s).__name__)
def test_every_word_reaches_the_program_unchanged(
    tmp_path: Path, scheduler: Scheduler, arguments: list[str], directory: str
) -> None:
    run = tmp_path / directory / "logs" / "7"
    run.mkdir(parents=True, exist_ok=True)
    script = job_script(
        scheduler,
        ScriptOptions(),
        run=run,
        work_dir=str(run),
        command=[sys.executable, "-c", SHOW, *arguments],
    )
    done = run_script(tmp_path / "script.sh", script)
    assert done.returncode == 0, done.stderr
    shown = done.stdout or (run / "log.stdout").read_text()
    (run / "log.stdout").unlink(missing_ok=True)  # another example would append to it
    assert json.loads(shown) == [str(run), *arguments]


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arguments=st.lists(words, max_size=4), values=st.lists(words, max_size=2), setup=words)
@example(["ends in lines\n\n"], [], "")
@example([], ["\n\n"], "\n\n")
def test_a_job_is_noted_as_it_was_submitted(
    tmp_path: Path, arguments: list[str], values: list[str], setup: str
) -> None:
    run = take_run_directory(tmp_path)
    environment = {f"V{index}": value for index, value in enumerate(values)}
    launch, options = launch_of_this_process(), ScriptOptions(setup=(setup,))
    job = Job(run, {}, launch, arguments, options, environment, "r1", launcher={"node": "A"})
    write_all_whole({run.job_note: job.note}, tmp_path)
    note_job_id(job, "7")
    noted = noted_job(run, launch, {})
    assert noted
    assert (noted.command, noted.options, noted.environment) == (arguments, options, environment)
    assert noted.launcher == {"node": "A"}
    assert noted_job_id(run, {}) == "7"


def test_an_id_that_is_not_noted_whole_is_none(tmp_path: Path) -> None:
    """As one reads it in that moment, or after the machine has crashed."""
    run, launch = take_run_directory(tmp_path), launch_of_this_process()
    job = Job(run, {}, launch, ["main.py"], ScriptOptions(), {}, "r1")
    write_all_whole({run.job_note: job.note}, tmp_path)
    for torn in ("scheduler_jo", "b_id: '7"):
        with open(run.job_note, "a") as file:
            file.write(torn)
        assert noted_job(run, launch, {})
        assert noted_job_id(run, {}) is None


def test_the_script_of_the_tutorial() -> None:
    script = job_script(
        OARScheduler(),
        ScriptOptions(option_cmd=["-l core=1,walltime=15:00:00", "#OAR -p gpumem>'16000'"]),
        run=Path("/abs/logs/5"),
        work_dir="/abs/work_dir",
        command=["python", "main.py", "optimizer.lr=0.01", "+mlxpy.logger.forced_log_id=5"],
    )
    assert (
        script
        == """\
#!/bin/bash
#OAR -n logs/5
#OAR -E /abs/logs/5/log.stderr
#OAR -O /abs/logs/5/log.stdout
#OAR -l core=1,walltime=15:00:00
#OAR -p gpumem>'16000'

cd /abs/work_dir || exit 1

python main.py \\
    optimizer.lr=0.01 \\
    +mlxpy.logger.forced_log_id=5
"""
    )


def test_variables_are_quoted_and_paths_keep_what_the_job_has(tmp_path: Path) -> None:
    text = job_script(
        SLURMScheduler(),
        ScriptOptions(env_cmd="export PYTHONPATH=/of/the/module"),
        run=tmp_path,
        work_dir="/",
        command=[sys.executable, "-c", "import os; print(os.environ['NOTE'], os.environ['PYTHONPATH'])"],
        environment={"NOTE": 'it\'s "$HOME" `id`', "PYTHONPATH": "/with spaces"},
    )
    done = run_script(tmp_path / "script.sh", text)
    assert done.stdout == 'it\'s "$HOME" `id` /with spaces:/of/the/module\n'


def test_commands_around_the_program_and_its_exit_status(tmp_path: Path) -> None:
    options = ScriptOptions(
        shell_path="/bin/sh",
        shell_config_cmd="A=1",
        env_cmd="export B=$A$A",
        cleanup_cmd="echo cleaned; false",
    )
    command = [sys.executable, "-c", "import os; print(os.environ['B'], flush=True); os._exit(3)"]
    text = job_script(SLURMScheduler(), options, run=tmp_path, work_dir="/", command=command)
    assert text.startswith("#!/bin/sh\n")
    done = run_script(tmp_path / "script.sh", text)
    assert (done.stdout, done.returncode) == ("11\ncleaned\n", 3)


def test_a_directory_that_is_gone(tmp_path: Path) -> None:
    text = job_script(
        SLURMScheduler(),
        ScriptOptions(),
        run=tmp_path,
        work_dir=str(tmp_path / "gone"),
        command=["echo", "ran"],
    )
    done = run_script(tmp_path / "script.sh", text)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "gone" in done.stderr


@pytest.mark.parametrize("shell", ["/bin/bash", "/bin/sh"])
@pytest.mark.parametrize(
    "scheduler", [s for s in SCHEDULERS if s.array_index], ids=lambda s: type(s).__name__
)
def test_each_task_of_an_array_runs_its_script(tmp_path: Path, scheduler: Scheduler, shell: str) -> None:
    runs = [tmp_path / "lo gs" / str(number) for number in (3, 5, *range(8, 20))]
    for run in runs:
        (run / "metadata").mkdir(parents=True)
        (run / "metadata" / "info.yaml").write_text(f"run_id: r{run.name}\n")
        (run / "script.sh").write_text(f"#!/bin/sh\necho run {run.name}\necho error >&2\n")
        (run / "script.sh").chmod(0o755)
    text = array_script(
        scheduler,
        ScriptOptions(shell_path=shell),
        runs={run: f"r{run.name}" for run in runs},
        parallelism=None,
        directory=runs[0],
    )
    for index, run in enumerate(runs, scheduler.first_index):
        done = run_script(tmp_path / "array.sh", text, **{scheduler.array_index: str(index)})
        assert done.returncode == 0, done.stderr
        log = run / "log.stdout"
        written = log.read_text() if log.exists() else done.stdout
        assert written == f"run {run.name}\n"


@pytest.mark.parametrize("shell", ["/bin/bash", "/bin/sh"])
def test_a_job_that_is_put_back_starts_what_it_still_has_to(tmp_path: Path, shell: str) -> None:
    runs = [tmp_path / "lo gs" / str(number) for number in range(1, 6)]
    array = runs[0] / "array"
    for run in runs:
        for name in (".keys", "metadata"):
            (run / name).mkdir(parents=True)
        (run / "script.sh").write_text(f"#!/bin/sh\necho run {run.name}\nexit 3\n")
        (run / "script.sh").chmod(0o755)
        note_bundle(run, array)
    words = ["KILLED", "COMPLETE", "FAILED", "RUNNING", "RUNNING"]
    for run, word in zip(runs, words, strict=True):
        (run / "metadata" / "info.yaml").write_text(f"run_id: r{run.name}\nstatus: {word}\n")
    leave_bundle(runs[3])  # it was submitted again, by itself
    note_bundle(runs[4], runs[3] / "array")
    options = ScriptOptions(shell_path=shell)
    identities = {run: f"r{run.name}" for run in runs}
    text = array_script(SLURMScheduler(), options, runs=identities, runs_per_task=5, directory=array)
    assert run_script(tmp_path / "array.sh", text).returncode == 3
    started = [run for run in runs if (run / "log.stdout").exists()]
    assert started == [runs[0], runs[2]]
    for run in started:
        assert not script_ended(run)  # its last word may be on its way
        os.utime(run / ".keys" / "script_ended", (0, 0))
    assert [run for run in runs if script_ended(run)] == started


def test_a_bound_on_what_runs_at_once(tmp_path: Path) -> None:
    arguments = {
        "runs": {tmp_path / "1": "r1", tmp_path / "2": "r2"},
        "parallelism": 4,
        "directory": tmp_path,
    }
    assert "#SBATCH --array=0-1%4\n" in array_script(SLURMScheduler(), ScriptOptions(), **arguments)
    with pytest.raises(MlxpyError, match="OAR cannot bound how many jobs of an array run at once"):
        array_script(OARScheduler(), ScriptOptions(), **arguments)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"option_cmd": ["-t besteffort\nrm -rf /"]}, "give each directive as a string of one line"),
        ({"option_cmd": [3]}, "option_cmd holds 3: give each directive as a string of one line"),
        ({"shell_path": "bash"}, "'bash' is no absolute path of a shell"),
    ],
)
def test_wrong_options(options: dict[str, object], words: str) -> None:
    with pytest.raises(MlxpyError, match=words):
        ScriptOptions(**options)
