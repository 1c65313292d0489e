"""Tags, notes and archived runs: what people say of runs, while these may be running."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from commands import run
from conftest import BECOME_NOBODY, Project, need_root

import mlxpy
from mlxpy_core import RunDirectory, load_yaml
from mlxpy_core._cli import main
from mlxpy_core._operations._annotating import annotate, noted, tagged
from mlxpy_core._runs._annotations import Annotations, check_tags, read_annotations, write_annotations
from mlxpy_core._runs._info_file import info_path, info_stamp
from mlxpy_core._runs._summary import read_summary


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Three runs that have ended; the first was started with a tag, and its program added another."""
    logs = tmp_path / "logs"
    for lr in (1, 2, 3):
        tags = ["pilot"] if lr == 1 else []
        with mlxpy.Logger(logs, config={"lr": lr}, tags=tags) as logger:
            if lr == 1:
                logger.add_tags("good", "pilot")
    return logs


def tags_of(logs: Path) -> dict[int, list[str]]:
    found = mlxpy.Reader(logs, archived=True).search()
    if "info.tags" not in found.keys():  # noqa: SIM118  # not a dict
        return {}
    return {row["info.log_id"]: row["info.tags"] for row in found if "info.tags" in row}


def found(logs: Path, query: str) -> list[int]:
    results = mlxpy.Reader(logs).search(query)
    return list(results["info.log_id"]) if len(results) else []


class TestTags:
    def test_of_the_program_and_of_people(self, logs: Path) -> None:
        assert tags_of(logs) == {1: ["good", "pilot"]}
        assert run(logs, "tag", "1-2", "+baseline", "-pilot").stdout == "Tagged runs 1 to 2.\n"
        assert tags_of(logs) == {1: ["baseline", "good"], 2: ["baseline"]}
        run(logs, "tag", "-baseline", "info.log_id == 1", "+pilot")
        assert tags_of(logs) == {1: ["good", "pilot"], 2: ["baseline"]}
        assert load_yaml(info_path(logs / "1").read_text())["tags"] == ["pilot", "good"]

    def test_queries(self, logs: Path) -> None:
        run(logs, "tag", "2", "+baseline")
        assert found(logs, "'baseline' in info.tags") == [2]
        assert found(logs, "'baseline' not in info.tags") == [1, 3]
        assert found(logs, "~('good' in info.tags) & config.lr > 2") == [3]
        assert found(logs, "'nobody' in info.tags | 'pilot' in info.tags") == [1]
        assert found(logs, "info.note == 'x'") == []  # a field before anybody has written a note
        assert found(logs, "1 in config.lr") == []  # no list

    def test_ls_and_show_have_them(self, logs: Path) -> None:
        run(logs, "tag", "2", "+=1+1", "+<script>")
        run(logs, "note", "3", "odd \x1b]0;title\x07 curve\nlate")
        table = run(logs, "ls").stdout
        assert "good, pilot" in table
        assert "<script>, =1+1" in table
        assert "odd \\x1b]0;title\\x07 curve late" in table
        assert "\x1b" not in table
        shown = run(logs, "show", "3").stdout
        assert "note       odd \\x1b]0;title" in shown
        assert "\x1b" not in shown
        (row, *_) = json.loads(run(logs, "ls", "-c", "tags", "--json").stdout)
        assert row == {"id": 1, "tags": ["good", "pilot"]}
        run(logs, "note", "3", "=HYPERLINK(1)")
        run(logs, "export", "-o", str(logs.parent / "runs.csv"))
        assert "'=HYPERLINK(1)" in (logs.parent / "runs.csv").read_text()
        run(logs, "note", "3", "")
        assert "note" not in run(logs, "ls").stdout

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["1", "+a b"], "the tag 'a b' holds a space or a comma: give a word"),
            (["1", "+a,b"], "the tag 'a,b' holds a space or a comma"),
            (["1", "+"], "the tag '' is empty"),
            (["1", "++a"], "the tag '+a' begins with + or -"),
            (["1", "+a\x1b[0m"], "the tag 'a\\x1b[0m' holds a character that cannot be shown"),
            (["1", "+" + "a" * 101], "has more than 100 characters"),
            (["1", "baseline"], "no tag: +baseline adds the tag baseline"),
            (["1", "+a", "-a"], "+a and -a: is the tag to be added or taken away?"),
            (["9", "+a"], "no run 9 in"),
            (["1", "+a", "--log", "x"], "No such option '--log'"),
            (["+a"], "Missing argument"),
        ],
    )
    def test_what_users_do_wrong(self, logs: Path, words: list[str], message: str) -> None:
        result = CliRunner().invoke(main, ["tag", "--logs", str(logs), *words])
        assert result.exit_code
        assert message in result.output
        assert "Traceback" not in result.output
        assert tags_of(logs) == {1: ["good", "pilot"]}

    def test_a_wrong_tag_of_a_program(self, tmp_path: Path) -> None:
        with pytest.raises(mlxpy.MlxpyError, match="holds a space or a comma"):
            mlxpy.Logger(tmp_path, tags=["a b"])
        with pytest.raises(mlxpy.MlxpyError, match="is one text: give a list"):
            mlxpy.Logger(tmp_path, tags="pilot")
        assert not list(tmp_path.iterdir())
        with pytest.raises(mlxpy.MlxpyError, match="is no text"):
            check_tags([3])

    def test_a_run_that_goes_on_keeps_its_own(self, logs: Path) -> None:
        run(logs, "tag", "1", "+late", "-good")
        with mlxpy.Logger(logs, forced_log_id=1, tags=["again"]) as logger:
            logger.add_tags("good")  # taken away by hand: that lasts
        assert tags_of(logs)[1] == ["again", "late", "pilot"]
        with pytest.raises(mlxpy.RunEndedError):
            logger.add_tags("more")


class TestTheReader:
    def test_sees_tags_of_ended_runs_and_looks_at_no_other_file(self, logs: Path) -> None:
        assert tags_of(logs) == {1: ["good", "pilot"]}  # cached from now on
        run(logs, "tag", "2", "+x")
        assert tags_of(logs)[2] == ["x"]
        (logs / "2/.keys/annotations.yaml").unlink()
        assert tags_of(logs)[2] == ["x"]

    def test_reads_the_summary_of_a_tagged_run(self, logs: Path) -> None:
        run(logs, "tag", "2", "+x")
        summary = read_summary(str(logs / "2"), info_stamp(RunDirectory(logs / "2")))
        assert summary
        assert summary.fields["info.tags"] == ["x"]
        assert summary.lazy is not None

    def test_a_summary_of_an_earlier_version_knows_no_tags(self, logs: Path) -> None:
        path = logs / "2/.keys/summary.json"
        summary = json.loads(path.read_text())
        write_annotations(RunDirectory(logs / "2"), Annotations({"x": True}))
        del summary["annotated"]
        path.write_text(json.dumps(summary))
        assert tags_of(logs)[2] == ["x"]

    def test_when_a_run_ended_does_not_change(self, logs: Path) -> None:
        before = info_path(logs / "2").stat().st_mtime_ns
        os.utime(info_path(logs / "2"), ns=(before, before - 10**12))
        run(logs, "tag", "2", "+x")
        assert 0 < info_path(logs / "2").stat().st_mtime_ns - (before - 10**12) < 10**10

    def test_what_a_killed_process_left_is_seen_after_the_next(self, logs: Path) -> None:
        tags_of(logs)
        write_annotations(RunDirectory(logs / "2"), Annotations({"x": True}))
        run(logs, "tag", "2", "+x")
        assert tags_of(logs)[2] == ["x"]

    def test_files_of_others_may_hold_anything(self, logs: Path) -> None:
        for text in (
            "[1]",
            "tags: [a]\nnote: {a: 1}",
            "tags: {a: {b: 1}}",
            "\0",
            "x: &a [*a]",
            "tags: 3",
        ):
            (logs / "2/.keys/annotations.yaml").write_text(text)
            assert isinstance(read_annotations(logs / "2"), Annotations)
        (logs / "2/.keys/annotations.yaml").unlink()
        os.mkfifo(logs / "2/.keys/annotations.yaml")
        assert read_annotations(logs / "2") == Annotations()


TAGGING = """
import sys
from pathlib import Path
from mlxpy_core import RunDirectory
from mlxpy_core._operations._annotating import annotate, tagged
run = RunDirectory(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    done = annotate([run], tagged([f"+{sys.argv[2]}{number}"]))
    assert not done.left, done.left
    print(number, flush=True)
"""
LIVING = """
import sys, mlxpy
with mlxpy.Logger("logs") as logger:
    print("ready", flush=True)
    for number in range(40):
        logger.add_tags(f"own{number}")
        logger.log_metrics({"loss": number}, "train")
    sys.stdin.readline()
"""


class TestSeveralAtOnce:
    def test_nothing_is_lost(self, project: Project) -> None:
        with project.start("-c", LIVING, stdin=subprocess.PIPE) as living:
            assert living.stdout
            assert living.stdout.readline() == "ready\n"
            run_path = str(project.path / "logs/1")
            writers = [project.start("-c", TAGGING, run_path, name, "20") for name in "ab"]
            for writer in writers:
                assert writer.wait(100) == 0, writer.communicate()
            living.communicate("\n", timeout=100)
        assert living.returncode == 0
        wanted = {f"own{n}" for n in range(40)} | {f"{name}{n}" for name in "ab" for n in range(20)}
        assert set(tags_of(project.path / "logs")[1]) == wanted
        assert project.info()["status"] == "COMPLETE"

    def test_a_writer_that_is_killed_keeps_nobody_waiting(self, project: Project) -> None:
        logs = project.path / "logs"
        mlxpy.Logger(logs).close()
        for delay_s in (0.0, 0.004, 0.011):
            with project.start("-c", TAGGING, str(logs / "1"), "a", "100000") as writer:
                assert writer.stdout
                before = {f"a{int(writer.stdout.readline())}" for _ in range(3)}
                time.sleep(delay_s)  # any instruction may be the last
                writer.send_signal(signal.SIGKILL)
            assert annotate([RunDirectory(logs / "1")], tagged([f"+t{delay_s}"])).runs == [1]
            assert before | {f"t{delay_s}"} <= set(tags_of(logs)[1])


class TestArchive:
    def test_listings_leave_runs_out(self, logs: Path) -> None:
        reader = mlxpy.Reader(logs)
        assert run(logs, "archive", "1", "3").stdout == "Archived: run 1, 3.\n".replace(
            "run 1", "runs 1"
        )
        assert len(reader) == 3  # as it was opened
        reader.refresh()
        assert list(reader.search()["info.log_id"]) == found(logs, "") == [2]
        assert list(mlxpy.Reader(logs, archived=True).search()["info.log_id"]) == [1, 2, 3]
        assert [row["id"] for row in json.loads(run(logs, "status", "--json").stdout)] == [2]
        assert [row["id"] for row in json.loads(run(logs, "status", "--archived", "--json").stdout)] == [
            1,
            2,
            3,
        ]
        assert run(logs, "show", "1").stdout.startswith("run 1  COMPLETE")
        assert "(--archived has archived runs answer, too)" in run(logs, "ls", "1").output
        run(logs, "archive", "--undo", "info.archived == True & info.log_id == 1")
        assert found(logs, "") == [1, 2]
        assert sorted(path.name for path in logs.glob("[0-9]")) == ["1", "2", "3"]

    def test_one_that_goes_on_is_listed(self, logs: Path) -> None:
        run(logs, "archive", "2")
        logger = mlxpy.Logger(logs, forced_log_id=2)
        assert found(logs, "") == [1, 2, 3]
        logger.close()
        assert found(logs, "") == [1, 3]


APP = """
import hydra, mlxpy
@hydra.main(version_base=None, config_path=None)
def main(cfg):
    if cfg.get("fail"):
        raise SystemExit(3)
main()
"""


def test_each_run_of_a_sweep_gets_them(project: Project) -> None:
    project.write("main.py", APP)
    words = ["main.py", "-m", "+seed=1,2", "hydra/callbacks=mlxp_logger"]
    project.run(*words, "hydra.callbacks.mlxp_logger.tags=[pilot,'lr=1']")
    assert tags_of(project.path / "logs") == {1: ["lr=1", "pilot"], 2: ["lr=1", "pilot"]}
    assert project.yaml(1, "mlxpy")["logger"]["tags"] == ["pilot", "lr=1"]
    annotate([RunDirectory(project.path / "logs/2")], tagged(["+mine", "-pilot"]))
    annotate([RunDirectory(project.path / "logs/2")], noted("odd"))
    run(project.path / "logs", "resubmit", "--complete", "2")
    run(
        project.path / "logs", "rerun", "2", "--here"
    )  # gets what its command says, not what was said of the other
    assert tags_of(project.path / "logs") == {
        1: ["lr=1", "pilot"], 2: ["lr=1", "mine"], 3: ["lr=1", "pilot"],
    }  # fmt: skip
    assert found(project.path / "logs", "info.note == 'odd'") == [2]
    refused = project.run(*words[:1], words[3], "hydra.callbacks.mlxp_logger.tags=['a b']", exit_code=1)
    assert "the tag 'a b' holds a space or a comma" in refused.stderr
    assert project.run_ids() == [1, 2, 3]


def test_by_launch(project: Project) -> None:
    program = "import mlxpy\n@mlxpy.launch(config_path='configs')\ndef main(ctx):\n    pass\nmain()\n"
    project.write("main.py", program)
    project.write("configs/config.yaml", "lr: 1\n")
    project.write("configs/mlxpy.yaml", "logger:\n  tags: [pilot]\n")
    project.run("main.py")
    project.run("main.py", "+mlxpy.logger.tags=[other,pilot]")
    assert tags_of(project.path / "logs") == {1: ["pilot"], 2: ["other", "pilot"]}


def test_a_run_waits_in_the_queue_with_its_tags(project: Project) -> None:
    project.write("main.py", APP)
    project.write("tool/own.py", """
        from mlxpy_core._scheduling._slurm import SLURMScheduler
        class Own(SLURMScheduler):
            def submit(self, script):
                return "1"
            submit_array = lambda self, script, count: [f"1_{n}" for n in range(count)]
    """)  # fmt: skip
    project.run(
        "main.py", "-m", "+seed=1,2", "hydra/callbacks=mlxp_logger", "hydra/launcher=mlxp_slurm",
        "hydra.launcher.scheduler=own.Own", "hydra.callbacks.mlxp_logger.tags=[pilot]",
        env={"PYTHONPATH": str(project.path / "tool")},
    )  # fmt: skip
    assert project.info(1)["status"] == "SUBMITTED"
    assert project.info(2)["tags"] == ["pilot"]


def test_runs_of_another_user() -> None:
    need_root()
    with tempfile.TemporaryDirectory() as scratch:
        os.chmod(scratch, 0o755)
        logs = Path(scratch) / "logs"
        mlxpy.Logger(logs).close()
        code = (
            f"{BECOME_NOBODY}\n"
            "from pathlib import Path\n"
            "from mlxpy_core import RunDirectory\n"
            "from mlxpy_core._operations._annotating import annotate, tagged\n"
            f"print(annotate([RunDirectory(Path({str(logs / '1')!r}))], tagged(['+x'])).left)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "run 1 is user root's, who lets nobody else change it" in done.stdout
