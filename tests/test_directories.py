import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Project

from mlxpy_core import (
    MlxpyError,
    StorageError,
    is_run_name,
    take_run_directory,
    take_sweep_directory,
)
from mlxpy_core._runs._directory import remove_temporary_files


def take(parent: Path, forced_log_id: int = -1) -> int:
    return take_run_directory(parent, forced_log_id).log_id


def test_ids_count_from_one(tmp_path: Path) -> None:
    assert [take(tmp_path / "logs") for _ in range(3)] == [1, 2, 3]


def test_results_are_no_untracked_files_of_git(tmp_path: Path) -> None:
    take(tmp_path / "deep" / "logs")
    assert (tmp_path / "deep" / "logs" / ".gitignore").read_text() == "*\n"


def test_a_directory_that_was_there_keeps_its_files_in_git(tmp_path: Path) -> None:
    take(tmp_path)
    assert not (tmp_path / ".gitignore").exists()


def test_ids_go_on_after_the_newest_run(tmp_path: Path) -> None:
    for name in ("7", "12", "notes", "007", ".configs", "3.old"):
        (tmp_path / name).mkdir()
    assert take(tmp_path) == 13


@pytest.mark.parametrize("hint", ["", "garbage", "00000000000000000001", "00000000000000000099"])
def test_a_wrong_hint_costs_no_id(tmp_path: Path, hint: str) -> None:
    for log_id in range(1, 201):
        (tmp_path / str(log_id)).mkdir()
    (tmp_path / ".mlxpy").mkdir()
    (tmp_path / ".mlxpy" / "last_id").write_text(hint)
    assert [take(tmp_path), take(tmp_path)] == [201, 202]


def test_ids_start_again_where_all_runs_were_removed(tmp_path: Path) -> None:
    take(tmp_path)
    (tmp_path / "1").rmdir()
    assert take(tmp_path) == 1


def test_a_removed_run_leaves_its_number_unused(tmp_path: Path) -> None:
    for _ in range(3):
        take(tmp_path)
    (tmp_path / "2").rmdir()
    assert take(tmp_path) == 4


def test_a_new_id_does_not_scan_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take(tmp_path)
    monkeypatch.setattr(os, "scandir", None)
    assert take(tmp_path) == 2


def test_a_forced_id_is_made_or_found(tmp_path: Path) -> None:
    assert [take(tmp_path, 5), take(tmp_path, 5), take(tmp_path)] == [5, 5, 6]


@pytest.mark.parametrize("forced_log_id", [0, -2])
def test_a_forced_id_below_one_is_refused(tmp_path: Path, forced_log_id: int) -> None:
    with pytest.raises(MlxpyError, match=f"forced_log_id={forced_log_id} is no run"):
        take(tmp_path, forced_log_id)


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("")
    with pytest.raises(StorageError, match=r"cannot make a run directory in .*logs: Not a directory"):
        take(tmp_path / "logs")


@pytest.mark.parametrize(("name", "expected"), [("1", True), ("0", False), ("01", False), ("٣", False)])
def test_run_names_are_plain_numbers(name: str, expected: bool) -> None:
    assert is_run_name(name) is expected


def test_many_processes_at_once_get_different_ids_from_one(
    project: Project, times: Callable[[int, int], int]
) -> None:
    project.write(
        "take.py",
        """
        import sys; from pathlib import Path; from mlxpy_core import take_run_directory
        print('ready', flush=True); sys.stdin.readline()
        for _ in range(10): print(take_run_directory(Path("logs")).log_id)
        """,
    )
    count = times(24, 64)
    processes = [project.start("take.py", stdin=subprocess.PIPE) for _ in range(count)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    taken = [int(line) for process in processes for line in process.communicate()[0].split()]
    assert sorted(taken) == list(range(1, 10 * count + 1))


def test_of_temporary_files_only_ones_own_are_removed(tmp_path: Path) -> None:
    run = take_run_directory(tmp_path)
    own = ".mlxpy-tmp-0123456789abcdef-train.json"
    places = ("metadata", "metrics/.aside", ".keys", "artifacts/text/deep")
    theirs = [f"{place}/{name}" for place in places for name in (".tmp-x", ".mlxpy-tmp-x", f"a{own}")]
    theirs += [own, f"mine/{own}", f"../{own}"]  # not where a run writes
    for name in [*theirs, *(f"{place}/{own}" for place in places)]:
        path = run.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    remove_temporary_files(run)
    assert all((run.path / name).exists() for name in theirs)
    assert not any((run.path / place / own).exists() for place in places)


# Sweeps.


def test_sweeps_of_one_second_have_directories_of_their_own(tmp_path: Path) -> None:
    paths = {take_sweep_directory(tmp_path / "logs").path for _ in range(20)}
    assert len(paths) == 20
    assert {path.parent for path in paths} == {tmp_path / "logs" / ".sweeps"}
    assert take(tmp_path / "logs") == 1


def test_the_directory_of_a_sweep_of_no_run_goes(tmp_path: Path) -> None:
    sweep = take_sweep_directory(tmp_path / "logs")
    (sweep.path / "multirun.yaml").write_text("")
    sweep.remove_if_unused()
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize("used", ["logs/1", "logs/.sweeps/mine", "{sweep}/optimization_results.yaml"])
def test_what_else_lies_there_stays(tmp_path: Path, used: str) -> None:
    sweep = take_sweep_directory(tmp_path / "logs")
    (tmp_path / used.format(sweep=sweep.path)).mkdir()
    sweep.remove_if_unused()
    assert (tmp_path / used.format(sweep=sweep.path)).exists()
    assert sweep.path.exists() == (used != "logs/.sweeps/mine")


@pytest.mark.parametrize("taken", ["link", "another user's"])
def test_sweeps_do_not_pass_through_what_is_another_users(tmp_path: Path, taken: str) -> None:
    sweeps = tmp_path / ".sweeps"
    if taken == "link":
        sweeps.symlink_to(tmp_path)
    elif os.geteuid():
        pytest.skip("only root can give a directory away")
    else:
        sweeps.mkdir()
        os.chown(sweeps, 65534, 65534)
    assert take_sweep_directory(tmp_path).path.parent == tmp_path / f".sweeps_{os.geteuid()}"
