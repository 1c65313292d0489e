"""What `mlxpy clean` takes for superfluous."""

import re
import sys
from pathlib import Path

import pytest

from mlxpy_core import Launch, RunDirectory, Status, take_run_directory
from mlxpy_core._operations import plan_resubmission, reconcile
from mlxpy_core._operations._cleaning import find_leftovers, remove
from mlxpy_core._scheduling._job import Job
from mlxpy_core._scheduling._slurm import SLURMScheduler
from mlxpy_core._scheduling._submission import submit_jobs


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
