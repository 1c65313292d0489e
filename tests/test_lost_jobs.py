"""A submitter that is killed as its scheduler answers: no run is submitted twice."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from conftest import CLUSTERS, Project, need_cluster, reconciled, wait_until

from mlxpy_core._scheduling._script import ScriptOptions, array_script, runs_of_array
from mlxpy_core._scheduling._slurm import SLURMScheduler

APP = """
    import pathlib, time
    import hydra

    @hydra.main(version_base="1.3", config_path=None)
    def main(cfg):
        with open(f"started-{cfg.x}", "a") as file:
            file.write("once\\n")
        time.sleep(cfg.get("seconds", 0))

    main()
"""
SUBMIT = {"slurm": "sbatch", "oar": "oarsub", "sge": "qsub"}
HELD = {"slurm": "--hold", "oar": "--hold", "sge": "-h"}


class KilledSubmitter(Project):
    """Sweeps on a queue that starts nothing, by a command that is killed."""

    def __init__(self, path: Path, name: str) -> None:
        super().__init__(path)
        self.cluster = CLUSTERS[name]
        self._name = name
        self.write("app.py", APP)
        self._held = f'hydra.launcher.option_cmd=["{HELD[name]}"]'

    def submit(self, what_happens: str, *words: str) -> None:
        command = shutil.which(SUBMIT[self._name])
        wrapper = f'#!/bin/sh\nsubmit() {{ {command} "$@"; }}\n{what_happens}\n'
        self.write(f"bin/{SUBMIT[self._name]}", wrapper).chmod(0o755)
        launcher = f"hydra/launcher={self.cluster.launcher}"
        environment = {"PATH": f"{self.path}/bin{os.pathsep}{os.environ['PATH']}"}
        sweep = ["app.py", "-m", launcher, self._held, *words]
        self.run(*sweep, env=environment, exit_code=-signal.SIGKILL)


@pytest.fixture(params=SUBMIT)
def sweep(request: pytest.FixtureRequest, tmp_path: Path) -> KilledSubmitter:
    need_cluster(request.param)
    return KilledSubmitter(tmp_path, request.param)


@pytest.mark.parametrize("jobs", [pytest.param("+x=1", marks=pytest.mark.long), "+x=1,2"])
def test_jobs_that_the_queue_took_are_found_again(sweep: KilledSubmitter, jobs: str) -> None:
    sweep.submit('printed=$(submit "$@"); kill -9 $PPID', jobs)
    numbers = [str(log_id) for log_id in sweep.run_ids()]
    printed, trouble = sweep.mlxpy("status")
    assert trouble == ""
    assert printed.count("SUBMITTED") >= 1
    assert len({sweep.job_id(int(number)) for number in numbers} - {"None"}) == len(numbers)
    assert "run 1 is SUBMITTED: cancel it first" in "".join(sweep.mlxpy("resubmit", *numbers))
    sweep.mlxpy("cancel", "--yes", *numbers)
    wait_until(lambda: reconciled(sweep) == ["INTERRUPTED"] * len(numbers))


@pytest.mark.long("oar")
def test_jobs_that_the_queue_does_not_have_are_submitted_again(sweep: KilledSubmitter) -> None:
    sweep.submit("kill -9 $PPID", "+x=1,2")
    _, trouble = sweep.mlxpy("status")
    assert trouble == "mlxpy: the submission of runs 1 to 2 was broken off: mlxpy resubmit 1 2\n"
    sweep.mlxpy("resubmit", "1", "2")
    assert len({sweep.job_id(1), sweep.job_id(2)} - {"None"}) == 2
    sweep.mlxpy("cancel", "--yes", "1", "2")


def test_a_command_that_outlives_its_submitter_is_waited_for(tmp_path: Path) -> None:
    need_cluster("slurm")
    sweep = KilledSubmitter(tmp_path, "slurm")
    sweep.submit('kill -9 $PPID; sleep 3; submit "$@" > submitted', "+x=1")
    assert not sweep.file(1, "submitted").exists()
    sweep.mlxpy("status")
    assert sweep.job_id(1) == sweep.file(1, "submitted").read_text().strip()
    sweep.mlxpy("cancel", "--yes", "1")


def test_a_script_of_this_machine_whose_launcher_was_killed_is_found(project: Project) -> None:
    project.write("app.py", APP)
    # Before the launcher can note which process it is.
    shell = project.write("shell", '#!/bin/bash\nkill -9 $PPID\nsleep 3\nexec /bin/bash "$@"\n')
    shell.chmod(0o755)
    words = ["hydra/launcher=mlxp_local", f"hydra.launcher.shell_path={shell}", "+x=1"]
    project.run("app.py", "-m", *words, exit_code=-signal.SIGKILL)
    assert "run 1 is SUBMITTED: cancel it first" in "".join(project.mlxpy("resubmit", "1"))
    wait_until(lambda: project.statuses() == ["COMPLETE"])
    assert (project.path / "started-1").read_text() == "once\n"


@pytest.mark.parametrize("runs_per_task", [1, 2, 5])
def test_an_array_names_its_runs(tmp_path: Path, runs_per_task: int) -> None:
    runs = {tmp_path / str(number): f"r{number:012x}" for number in range(1, 6)}
    script = array_script(
        SLURMScheduler(), ScriptOptions(), runs=runs, runs_per_task=runs_per_task, directory=tmp_path
    )
    named = [(path.name, run_id) for path, run_id in runs.items()]
    tasks = [named[start : start + runs_per_task] for start in range(0, 5, runs_per_task)]
    assert runs_of_array(script) == tasks
