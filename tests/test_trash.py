"""Runs that are removed, restored, and removed for good; and where the space is."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import NOBODY, GitProject, Project, need_root, tree_of

import mlxpy
from mlxpy_core import RunDirectory, dump_yaml, load_yaml, next_run_directory, take_run_directory
from mlxpy_core._cli import main
from mlxpy_core._operations._cleaning import find_leftovers
from mlxpy_core._runs._info_file import info_path
from mlxpy_core._runs._run_claims import claim_attempt
from mlxpy_core._runs._trash import highest_removed, note_removal


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Three runs that have ended."""
    logs = tmp_path / "logs"
    make_runs(logs, 3)
    return logs


def make_runs(logs: Path, count: int) -> None:
    for _ in range(count):
        with mlxpy.Logger(logs) as logger:
            logger.log_metrics({"loss": 0.5}, "train")
            logger.log_checkpoint(bytes(100_000))


def run(logs: Path, *arguments: str, exit_code: int = 0) -> Result:
    result = CliRunner().invoke(main, [arguments[0], "--logs", str(logs), *arguments[1:]])
    assert result.exit_code == exit_code, result.output + repr(result.exception)
    return result


def ids(logs: Path) -> list[int]:
    return sorted(int(path.name) for path in logs.glob("[0-9]*"))


def change_info(logs: Path, log_id: int, **fields: object) -> None:
    path = info_path(logs / str(log_id))
    path.write_text(dump_yaml({**load_yaml(path.read_text()), **fields}))


class TestRemoval:
    def test_to_the_trash_and_back(self, logs: Path) -> None:
        before = tree_of(logs / "2")
        reader = mlxpy.Reader(logs)
        said = run(logs, "rm", "2-3", "--yes").stdout
        assert "Run 2 (COMPLETE, " in said
        assert "Moved runs 2 to 3 to the trash (to bring back: mlxpy rm --restore 2-3 --logs" in said
        assert (ids(logs), ids(logs / ".trash")) == ([1], [2, 3])
        assert tree_of(logs / ".trash/2") == before
        assert len(reader.search()) == 3  # one that is open stays as it was
        reader.refresh()
        assert list(reader.search()["info.log_id"]) == [1]
        assert run(logs, "rm", "--restore", "2").stdout == "Restored run 2.\n"
        assert tree_of(logs / "2") == before
        reader.refresh()
        assert list(reader.search()["train.loss"]) == [[0.5], [0.5]]

    def test_asks_first(self, logs: Path) -> None:
        error = run(logs, "rm", "1", exit_code=1).stderr
        assert "nothing was done: nobody is at the terminal to agree; add --yes" in error
        assert ids(logs) == [1, 2, 3]

    def test_numbers_are_never_given_again(self, logs: Path) -> None:
        run(logs, "rm", "3", "-y")
        assert next_run_directory(logs).log_id == 4
        assert run(logs, "rm", "--empty-trash", "-y").stdout.endswith("Removed 1.\n")
        assert ids(logs / ".trash") == []
        (logs / ".mlxpy/last_id").unlink()  # a cache
        assert take_run_directory(logs).log_id == 4
        (logs / ".mlxpy/last_id").write_text(f"{2:020d}")  # as of two processes the slower one writes it
        assert take_run_directory(logs).log_id == 5

    def test_nor_while_runs_are_taken(self, logs: Path) -> None:
        (logs / ".mlxpy/last_id").write_text(f"{2:020d}")
        note_removal(logs, 3)  # a process that is about to move run 3 away
        shutil.move(logs / "3", logs / ".trash/3")
        assert take_run_directory(logs).log_id == 4
        assert ids(logs) == [1, 2, 4]
        note_removal(logs, 2)
        assert highest_removed(logs) == 3

    def test_a_run_in_the_trash_is_not_made_anew(self, logs: Path) -> None:
        run(logs, "rm", "2", "-y")
        with pytest.raises(
            mlxpy.MlxpyError, match="is in the trash: mlxpy rm --restore 2 brings it back"
        ):
            mlxpy.Logger(logs, forced_log_id=2)
        assert (
            "run 2 is in the trash: mlxpy rm --restore 2" in run(logs, "show", "2", exit_code=1).stderr
        )
        (logs / "2").mkdir()
        assert "2 is there already" in run(logs, "rm", "--restore", "2", exit_code=1).stderr

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ([], "name the runs that are to go"),
            (["9"], "no run 9 in"),
            (["--restore"], "--restore takes numbers of runs in the trash: the trash is empty"),
            (["--restore", "info.log_id == 1"], "--restore takes numbers"),
            (["--restore", "9"], "there is no run 9 in the trash"),
            (["--empty-trash", "1"], "removes all that is in the trash: leave the runs out"),
            (["--empty-trash", "--restore"], "give one of them"),
            (["1", "--yess"], "No such option '--yess'"),
        ],
    )
    def test_what_users_do_wrong(self, logs: Path, words: list[str], message: str) -> None:
        result = CliRunner().invoke(main, ["rm", "--logs", str(logs), *words])
        assert result.exit_code
        assert message in result.output
        assert ids(logs) == [1, 2, 3]

    def test_no_directory_of_runs(self, tmp_path: Path) -> None:
        for words in (["--empty-trash"], ["--restore", "1"], ["1"]):
            assert "no directory" in run(tmp_path / "none", "rm", *words, exit_code=1).stderr


class TestWhatLives:
    def test_is_left_alone(self, logs: Path) -> None:
        logger = mlxpy.Logger(logs)
        scheduler = {
            "name": "SLURMScheduler",
            "cluster": "",
            "scheduler_job_id": "7",
            "may_come_back": True,
        }
        change_info(logs, 1, status="INTERRUPTED", scheduler=scheduler)  # may come back
        (logs / "3/metadata/info.yaml").unlink()
        error = run(logs, "rm", "3-4", "-y").stderr
        assert "run 4 is RUNNING and may go on: cancel it first" in error
        assert "run 3 says nothing of whether it lives" in error
        assert ids(logs) == [1, 2, 3, 4]
        logger.close()
        run(logs, "rm", "4", "-y")
        old = time.time() - 2 * 24 * 3600
        for path in (logs / "3", *(logs / "3").rglob("*")):
            os.utime(path, (old, old))
        run(logs, "rm", "3", "-y")
        assert ids(logs / ".trash") == [3, 4]

    def test_a_run_that_was_killed_can_go(self, project: Project) -> None:
        code = "import mlxpy, os; logger = mlxpy.Logger('logs'); os.kill(os.getpid(), 9)"
        project.run("-c", code, exit_code=-signal.SIGKILL)
        assert "(KILLED, " in run(project.path / "logs", "rm", "1", "-y").stdout

    def test_a_run_that_is_just_being_continued(self, logs: Path) -> None:
        claim = claim_attempt(RunDirectory(logs / "2"))
        assert "was started by process" in run(logs, "rm", "2", "-y", exit_code=1).stderr
        claim.release()
        run(logs, "rm", "2", "-y")
        run(logs, "rm", "--restore", "2")
        assert not list((logs / "2/.keys").glob("claim-*"))
        mlxpy.Logger(logs, forced_log_id=2).close()

    def test_the_first_of_an_array_that_goes_on(self, logs: Path) -> None:
        (logs / "1/array").mkdir()
        (logs / "1/array/script.sh").touch()
        (logs / "1/array/2.stdout").symlink_to("../../2/log.stdout")
        change_info(logs, 2, status="SUBMITTED", scheduler={"name": "Unknown", "may_come_back": True})
        assert "script of an array whose runs have not all ended" in run(logs, "rm", "1", "-y").stderr
        change_info(logs, 2, status="COMPLETE", scheduler=None)
        run(logs, "rm", "1", "-y")
        assert ids(logs) == [2, 3]

    def test_of_another_user(self, logs: Path) -> None:
        need_root()
        os.chown(info_path(logs / "2"), NOBODY, NOBODY)
        error = run(logs, "rm", "2", "--yes").stderr
        assert "the files of user nobody say of run 2 that they have ended" in error
        run(logs, "rm", "2", "--yes", "--trust", "nobody")
        assert ids(logs) == [1, 3]


class TestKilled:
    """Any instruction may be the last: runs are whole, here or in the trash."""

    REMOVE = """
import sys
from mlxpy_core._cli import main
print("ready", flush=True)
main(["rm", "--yes", *sys.argv[1:]])
"""

    @pytest.mark.parametrize("delay_s", [0.05, 0.3])
    def test_while_moving_and_emptying(self, project: Project, delay_s: float) -> None:
        logs = project.path / "logs"
        make_runs(logs, 12)
        whole = {str(path.relative_to(logs / "1")) for path in (logs / "1").rglob("*")}
        self._kill(project, delay_s, "1-12")
        places = [logs / name for name in map(str, ids(logs))]
        places += [logs / ".trash" / name for name in map(str, ids(logs / ".trash"))]
        assert sorted(int(path.name) for path in places) == list(range(1, 13))
        for place in places:
            assert whole <= {str(path.relative_to(place)) for path in place.rglob("*")}
        run(logs, "rm", "1-12", "--yes") if ids(logs) else None
        self._kill(project, delay_s, "--empty-trash")
        for name in map(str, ids(logs / ".trash")):
            there = {
                str(path.relative_to(logs / ".trash" / name))
                for path in (logs / ".trash" / name).rglob("*")
            }
            assert whole <= there
        run(logs, "rm", "--empty-trash", "--yes")
        assert sorted(path.name for path in (logs / ".trash").iterdir()) == [".highest"]
        assert take_run_directory(logs).log_id == 13

    def _kill(self, project: Project, delay_s: float, *words: str) -> None:
        with project.start("-c", self.REMOVE, *words) as remover:
            assert remover.stdout
            assert remover.stdout.readline() == "ready\n"
            time.sleep(delay_s)  # any instruction may be the last
            remover.send_signal(signal.SIGKILL)


def test_links_are_not_followed(logs: Path, tmp_path: Path) -> None:
    shutil.move(logs / "2", tmp_path / "elsewhere")
    (logs / "2").symlink_to(tmp_path / "elsewhere")
    (logs / "1/artifacts/data").symlink_to(tmp_path / "elsewhere")
    assert "a link, whose target stays" in run(logs, "rm", "1-2", "-y").stdout
    run(logs, "rm", "--empty-trash", "-y")
    assert (tmp_path / "elsewhere/metadata/info.yaml").exists()
    assert ids(logs / ".trash") == []


PROGRAM = """
import hydra
@hydra.main(version_base=None, config_path=None)
def main(cfg):
    pass
main()
"""


def test_a_copy_is_in_use_until_the_trash_is_emptied(repository: GitProject) -> None:
    repository.write("main.py", PROGRAM)
    repository.write(".gitignore", "logs\n.workdir\n")
    repository.commit()
    repository.run("main.py", "hydra/callbacks=[mlxp_logger,mlxp_git]")
    logs = repository.path / "logs"
    copy = Path(repository.info()["version_manager"]["safe_copy"])
    assert "copies of code: " in run(logs, "du").stdout
    run(logs, "rm", "1", "-y")
    assert f"{copy} is in use by a run in the trash" in find_leftovers(logs).kept
    said = run(logs, "rm", "--empty-trash", "-y").stdout
    assert f"{copy} (a copy of code of no other run here)" in said
    assert not copy.exists()


class TestSpace:
    def test_where_it_is(self, logs: Path) -> None:
        rows = json.loads(run(logs, "du", "--json").stdout)
        runs = {row["id"]: row for row in rows if "id" in row}
        assert runs[1]["checkpoints"] >= 100_000
        assert runs[1]["size"] == sum(
            runs[1][name] for name in ("checkpoints", "artifacts", "metrics", "logs", "other")
        )
        text = run(logs, "du", "-n", "1").stdout
        assert "2 more runs: " in text
        assert "KiB" in text
        assert text.splitlines()[-1].startswith("total: ")
        run(logs, "rm", "3", "-y")
        rows = json.loads(run(logs, "du", "--json").stdout)
        assert next(row["size"] for row in rows if row.get("what") == "trash") >= 100_000

    def test_is_bounded(self, logs: Path) -> None:
        result = run(logs, "du", "--seconds", "0")
        assert "this is not all: it was looked at for 0 s" in result.stderr

    def test_counts_each_file_once_and_no_link(self, logs: Path, tmp_path: Path) -> None:
        size = json.loads(run(logs, "du", "1", "--json").stdout)[0]["size"]
        large = tmp_path / "large"
        large.write_bytes(bytes(1_000_000))
        (logs / "1/artifacts/link").symlink_to(large)
        (logs / "1/artifacts/Checkpoint/again.pkl").hardlink_to(
            logs / "1/artifacts/Checkpoint/checkpoint.pkl"
        )
        assert json.loads(run(logs, "du", "1", "--json").stdout)[0]["size"] - size < 10_000
