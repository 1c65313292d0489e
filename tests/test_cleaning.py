"""What `mlxpy clean` takes for superfluous."""

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Project

from mlxpy_core import Launch, RunDirectory, Status, take_run_directory
from mlxpy_core._operations._cleaning import find_leftovers, remove
from mlxpy_core._operations._reconciling import reconcile
from mlxpy_core._operations._resubmission import plan_resubmission
from mlxpy_core._scheduling._job import Job
from mlxpy_core._scheduling._slurm import SLURMScheduler
from mlxpy_core._scheduling._submission import submit_jobs
from mlxpy_core._versioning._frozen_configs import frozen_configs


class Queue(SLURMScheduler):
    cluster = ""

    def submit_array(self, script: Path, count: int) -> list[str]:
        return [f"7_{index}" for index in range(count)]


def submit(logs: Path, count: int) -> list[RunDirectory]:
    launch = Launch("python main.py", sys.executable, None, str(logs), str(logs))
    runs = [take_run_directory(logs) for _ in range(count)]
    return list(submit_jobs(Queue(), [Job(run, {}, launch, ["true"]) for run in runs]))


def submit_again(runs: list[RunDirectory]) -> None:
    (jobs,) = plan_resubmission(runs).jobs.values()
    submit_jobs(Queue(), jobs)


def end(runs: list[RunDirectory]) -> None:
    for run in runs:
        assert reconcile(run, Status.INTERRUPTED) is Status.INTERRUPTED


def test_an_array_goes_when_all_its_runs_have_ended(tmp_path: Path) -> None:
    runs = submit(tmp_path, 3)
    array = runs[0].path / "array"
    end(runs[:2])
    submit_again(runs[:2])
    end(runs[:2])
    assert find_leftovers(tmp_path).arrays == [array.with_name("array.2")]  # in the other, 3 waits
    end(runs[2:])
    remove(find_leftovers(tmp_path))
    assert sorted(path.name for path in runs[0].path.iterdir()) == [".keys", "metadata", "script.sh"]
    assert not find_leftovers(tmp_path)


def test_an_array_whose_script_the_scheduler_finds_by_its_path_goes_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Queue, "copies_script", False)
    runs = submit(tmp_path, 2)
    array = runs[0].path / "array"
    assert sorted(re.sub("r[0-9a-f]{16}", "r", path.name) for path in array.glob("*sh")) == [
        ".script-r.sh",
        "script.sh",
    ]
    end(runs)
    assert find_leftovers(tmp_path).arrays == [array]


def test_what_a_scheduler_wrote_stays(tmp_path: Path) -> None:
    runs = submit(tmp_path, 2)
    end(runs)
    (runs[0].path / "array" / "job.stderr").write_text("node lost")
    (runs[1].path / "array").symlink_to(tmp_path)
    assert not find_leftovers(tmp_path)


@pytest.fixture
def unused(tmp_path: Path) -> Path:
    """A frozen config that nobody has asked for lately."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "config.yaml").write_text("a: 1\n")
    frozen = frozen_configs(tmp_path / "conf", tmp_path / "logs")
    os.utime(frozen, (0, 0))
    return frozen


def test_a_frozen_config_that_a_sweep_has_just_taken_stays(tmp_path: Path, unused: Path) -> None:
    logs = tmp_path / "logs"
    seen = find_leftovers(logs)
    assert seen.configs == [unused]
    assert frozen_configs(tmp_path / "conf", logs) == unused  # while somebody thinks about the question
    assert remove(seen) == 0
    assert (unused / "config.yaml").read_text() == "a: 1\n"
    assert find_leftovers(logs).configs == []
    os.utime(unused, (0, 0))
    assert remove(find_leftovers(logs)) == 1
    assert list(unused.parent.iterdir()) == []
    assert (frozen_configs(tmp_path / "conf", logs) / "config.yaml").exists()


@pytest.mark.parametrize(
    "place",
    ["script.sh", "array/script.sh", "array.2/script.sh", ".keys/job.yaml", "metadata/info.yaml"],
)
def test_whatever_starts_a_run_again_keeps_its_frozen_config(
    tmp_path: Path, unused: Path, place: str
) -> None:
    path = tmp_path / "logs/1" / place
    path.parent.mkdir(parents=True)
    path.write_text(f"python main.py --config-path '/elsewhere/logs/.configs/{unused.name}'\n")
    assert find_leftovers(tmp_path / "logs").configs == []


def make_folder(path: Path) -> None:
    path.mkdir()


def make_loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("make", [os.mkfifo, make_folder, make_loop])
def test_a_script_that_cannot_be_read_may_name_any_frozen_config(
    tmp_path: Path, unused: Path, make: Callable[[Path], None]
) -> None:
    (tmp_path / "logs/1").mkdir()
    script = tmp_path / "logs/1/script.sh"
    make(script)
    found = find_leftovers(tmp_path / "logs")
    assert found.configs == []
    assert len(found.kept) == 1
    assert f"frozen configs are kept, since {script} cannot be read" in found.kept[0]


def test_the_script_of_another_user_may_name_any_frozen_config(tmp_path: Path, unused: Path) -> None:
    run = tmp_path / "logs/1"
    run.mkdir()
    (run / "script.sh").write_text("")
    Project(tmp_path).open_to_all()
    run.chmod(0)
    child = os.fork()
    if not child:
        exit_code = 1
        try:
            if os.getuid() == 0:
                os.setuid(65534)
            found = find_leftovers(tmp_path / "logs")
            exit_code = int(bool(found.configs) or "Permission denied" not in found.kept[0])
        finally:
            os._exit(exit_code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    run.chmod(0o700)
