"""What another user's files, names and the environment cannot do; a marker file would tell."""

import contextlib
import json
import os
import pickle
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from conftest import NOBODY, Project, need_root, tree_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlxpy_core import (
    InvalidNameError,
    Logger,
    MlxpyError,
    Reader,
    RunDirectory,
    StorageError,
    dump_yaml,
    load_yaml,
)
from mlxpy_core._operations._cancelling import cancel, plan_cancellation
from mlxpy_core._operations._completed import completed_runs
from mlxpy_core._runs._outcome import Outcome, keep_outcome, kept_outcome
from mlxpy_core._runs._process import describe_process, note_process

SECRETS = {"AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI-K7MDENG", "HF_TOKEN": "hf_xyzzyplughplover"}


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch '{self.marker}'",)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "marker"


@pytest.fixture
def logs(tmp_path: Path, marker: Path) -> Path:
    """Runs of somebody who has left a trap wherever something might be unpickled or imported."""
    logs = tmp_path / "logs"
    trap = pickle.dumps(Trap(marker))
    tagged = f"!!python/object/apply:os.system [touch '{marker}']"
    for log_id in range(1, 6):
        with Logger(logs, config={"lr": log_id, "x": "y"}) as logger:
            logger.log_metrics({"loss": 0.5, "text": "a"}, "train")
            logger.log_checkpoint(1, "last")
            for kind in ("pickle", "text", "torch", "numpy", "mine"):
                folder = Path(logger.log_dir, "artifacts", kind)
                folder.mkdir()
                (folder / "x").write_bytes(trap)
        run = logs / str(log_id)
        (run / "artifacts/Checkpoint/last.pkl").write_bytes(trap)
        for name in ("outcome.pkl", "other.pkl", "metrics.pkl", "cache.arrow"):
            (run / ".keys" / name).write_bytes(trap)
        types = f"mine:\n  save: trap_{tmp_path.name}:save\n  load: trap_{tmp_path.name}:load\n"
        (run / ".keys/artifact_types.yaml").write_text(types)
    (logs / "2/metadata/info.yaml").write_text(f"status: COMPLETE\nx: {tagged}\n")
    (logs / "3/metadata/config.yaml").write_text(tagged)
    for log_id, name in ((4, "metrics.yaml"), (4, "job.yaml"), (4, "summary.json"), (5, "summary.json")):
        (logs / str(log_id) / ".keys" / name).write_text(f"train: {tagged}\n")
    for folder in (
        logs / ".mlxpy",
        logs / ".mlxpy/reader-2/runs",
        logs / ".mlxpy/reader-2/metrics/train",
    ):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "0.arrow").write_bytes(trap)
        (folder / "1.arrow").write_bytes(arrow_file_with(trap))
        (folder / "cache.pkl").write_bytes(trap)
    return logs


def arrow_file_with(trap: bytes) -> bytes:
    """Makes a cache whose columns are of a type that is described by a pickle."""
    kind = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": trap}
    own = {"#log_id": pa.int64(), "#changed": pa.int64(), "#size": pa.int64(), "#ended": pa.bool_()}
    fields = [pa.field(name, arrow_type, metadata=kind) for name, arrow_type in own.items()]
    table = pa.table([[1], [2], [3], [True]], schema=pa.schema(fields, metadata={"mlxpy": "1"}))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


@pytest.mark.filterwarnings("ignore:.*cannot be read and are left out")
def test_looking_at_runs_runs_nothing_of_theirs(
    logs: Path, marker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"trap_{tmp_path.name}.py").write_text(
        f"open({str(marker)!r}, 'w').close()\ndef load(path): return 'loaded'\nsave = load\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for _ in range(2):  # the second time from the cache
        reader = Reader(logs)
        results = reader.search("config.lr > 0 & info.status == 'COMPLETE'")
        assert results["info.log_id"] == [1, 4, 5]
        assert "artifact.mine" in reader.fields.index
        assert len(reader.searchable)
        assert "LAZYLOADING" in repr(results) + results._repr_html_()
        assert results.toPandas(lazy=False)["train.loss"].tolist() == [[0.5]] * 3
        assert results.toArrow().num_rows == 3
        assert results[0]["train.text"] == ["a"]
        assert results["artifact.mine"][0]["x"].path == logs / "1/artifacts/mine/x"
        assert repr(results[0]["artifact.mine"])
        assert len(results.groupby("config.lr")) == 3
        assert len(completed_runs(logs)) == 3
    for kind in ("text", "numpy"):  # types that hold data only
        with contextlib.suppress(Exception):  # what was planted is no such data
            results[0][f"artifact.{kind}"]["x"].load()
    assert not marker.exists()
    # What the reader asks for by name is loaded; so the traps do work.
    assert results[0]["artifact.mine"]["x"].load() == "loaded"
    assert marker.exists()
    marker.unlink()
    results[0]["artifact.pickle"]["x"].load()
    assert marker.exists()


def test_only_ones_own_outcomes_are_unpickled(tmp_path: Path, marker: Path) -> None:
    need_root()
    run = RunDirectory(tmp_path / "1")
    keep_outcome(run, Outcome([1]))
    assert kept_outcome(run) == Outcome([1])
    (run.state / "outcome.pkl").write_bytes(pickle.dumps(Trap(marker)))
    os.chown(run.state / "outcome.pkl", NOBODY, NOBODY)
    assert kept_outcome(run) is None
    assert not marker.exists()


def test_a_sweep_that_skips_what_another_user_completed(app: Project, marker: Path) -> None:
    need_root()
    sweep = ["main.py", "-m", "hydra/launcher=mlxp_local", "hydra.launcher.skip_completed=true"]
    app.run(*sweep)
    outcome = app.file(1, ".keys/outcome.pkl")
    outcome.write_bytes(pickle.dumps(Trap(marker)))
    os.chown(outcome, NOBODY, NOBODY)
    app.run(*sweep)
    assert app.statuses() == ["COMPLETE"] * 2  # its result cannot be had, so it runs
    assert not marker.exists()


def test_a_cache_that_another_user_wrote_is_not_believed(tmp_path: Path) -> None:
    need_root()
    logs = tmp_path / "logs"
    with Logger(logs, config={"lr": 1}) as logger:
        logger.log_metrics({"loss": 0.5}, "train")
    assert Reader(logs).search()["config.lr"] == [1]
    (cached,) = (logs / ".mlxpy/reader-2/runs").glob("*.arrow")
    with pa.memory_map(str(cached)) as source:
        table = pa.ipc.open_file(source).read_all()
    place = table.schema.get_field_index("config.lr:i")
    lie = table.set_column(place, "config.lr:i", pa.array([2], pa.int64()))
    lie = lie.replace_schema_metadata(table.schema.metadata)
    cached.unlink()
    with pa.OSFile(str(cached), "wb") as file, pa.ipc.new_file(file, lie.schema) as writer:
        writer.write_table(lie)
    assert Reader(logs).search()["config.lr"] == [2]  # one's own counts
    os.chown(cached, NOBODY, NOBODY)
    assert Reader(logs).search()["config.lr"] == [1]
    assert cached.exists()


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[str]"]:
    """A process of this user's that no run may have ended; it has a process group of its own."""
    with subprocess.Popen(["sleep", "600"], start_new_session=True, text=True) as process:
        yield process
        process.kill()


def run_that_names(logs: Path, process_id: int, *, waits: bool = False) -> RunDirectory:
    """Makes a run that says that it is a process, or that its script is."""
    with Logger(logs) as logger:
        run = RunDirectory(Path(logger.log_dir))
    info = load_yaml((run.metadata / "info.yaml").read_text())
    info["attempts"] = [] if waits else [{**info["attempts"][0], **describe_process(process_id)}]
    status = "SUBMITTED" if waits else "RUNNING"
    for place in (info, *info["attempts"]):
        place["status"] = status
    (run.metadata / "info.yaml").write_text(dump_yaml(info))
    if waits:
        note_process(run, process_id)
    return run


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("theirs", ["file", "folder", "run", "link"])
def test_no_signal_goes_where_another_users_file_says(
    tmp_path: Path, sleeper: "subprocess.Popen[str]", waits: bool, theirs: str
) -> None:
    need_root()
    run = run_that_names(tmp_path, sleeper.pid, waits=waits)
    file = run.state / "process.yaml" if waits else run.metadata / "info.yaml"
    if theirs == "link":
        file.rename(tmp_path / "target")
        file.symlink_to(tmp_path / "target")
    place = {"folder": file.parent, "run": run.path}.get(theirs, file)
    os.chown(place, NOBODY, NOBODY, follow_symlinks=False)
    plan = plan_cancellation([run])
    unread = theirs == "link" and not waits  # their link to a file of one's own is not followed
    left = "run 1 is another user's: no process that it names is sent a signal"
    assert plan.left == ["the info.yaml of run 1 cannot be read" if unread else left]
    assert not plan.runs


@pytest.mark.parametrize("waits", [False, True])
def test_no_signal_goes_to_a_process_that_does_another_run(
    tmp_path: Path, sleeper: "subprocess.Popen[str]", waits: bool
) -> None:
    copied = run_that_names(tmp_path, sleeper.pid, waits=waits)
    plan = plan_cancellation([copied])
    assert not plan.runs
    assert f"process {sleeper.pid} does not write to run 1 (any more)" in plan.left[0]


def test_no_signal_goes_to_a_process_whose_run_ended_while_somebody_thought(tmp_path: Path) -> None:
    logger = Logger(tmp_path)
    run = RunDirectory(Path(logger.log_dir))
    plan = plan_cancellation([run])
    assert plan.processes == {run: os.getpid()}
    logger.close()
    cancel(plan)  # or this test would be ended
    assert load_yaml((run.metadata / "info.yaml").read_text())["status"] == "COMPLETE"


def submitted_run(logs: Path, scheduler: str, job_id: str) -> Path:
    """Makes a run that says that it waits in a queue; gives its info.yaml."""
    with Logger(logs) as logger:
        info = Path(logger.log_dir, "metadata/info.yaml")
    job = {"name": scheduler, "cluster": "", "scheduler_job_id": job_id, "may_come_back": True}
    waiting = {
        "status": "SUBMITTED",
        "attempts": [],
        "end_date": None,
        "end_time": None,
        "scheduler": job,
    }
    info.write_text(dump_yaml({**load_yaml(info.read_text()), **waiting}))
    return info


def test_a_scheduler_that_another_users_run_names_is_not_imported(
    tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_root()
    module = f"trap_{tmp_path.name}"
    (tmp_path / f"{module}.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    info = submitted_run(tmp_path / "logs", f"{module}.Trap", "7")
    os.chown(info, NOBODY, NOBODY)
    told = [f"there is no scheduler '{module}.Trap' here to ask"]
    assert Reader(tmp_path / "logs").troubles == told
    assert not marker.exists()
    os.chown(info, os.getuid(), os.getgid())
    assert Reader(tmp_path / "logs").troubles == told
    assert marker.exists()  # one's own run is believed


@pytest.mark.parametrize(
    "job_id", ["--clusters=evil", "7 --clusters=evil", "7,--clusters=evil", "$(evil)"]
)
def test_a_schedulers_command_gets_no_option_from_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job_id: str
) -> None:
    commands = Project(tmp_path / "commands")
    for name in ("squeue", "sacct", "scontrol"):
        commands.write(name, f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n').chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands.path}:{os.environ['PATH']}")
    submitted_run(tmp_path / "logs", "SLURMScheduler", "78")
    submitted_run(tmp_path / "logs", "SLURMScheduler", job_id)
    Reader(tmp_path / "logs")
    asked = (tmp_path / "asked").read_text()
    assert "78" in asked
    assert "evil" not in asked


def test_what_is_shown_steers_neither_notebook_nor_terminal(tmp_path: Path) -> None:
    for number in (1, 2):
        with Logger(
            tmp_path, config={"x<b>": f"<script>{number}</script>", "y\x1b": f"\x1b]0;{number}\x07"}
        ):
            pass
    results = Reader(tmp_path).search()
    assert "<script>1" not in results._repr_html_()
    assert "<b>" not in results._repr_html_()
    assert not {"\x1b", "\x07"} & set(repr(results))
    for arguments in (
        ["ls"],
        ["ls", "--json"],
        ["show", "1"],
        ["diff", "1", "2"],
        ["ls", "-c", "config.z"],
    ):
        with Project(tmp_path).start_mlxpy(*arguments, "--logs", str(tmp_path)) as process:
            printed = "".join(process.communicate())
        assert "config" in printed
        assert not {"\x1b", "\x07"} & set(printed)


# Names stay in the run's directory.

pieces = st.sampled_from(
    ["..", ".", "/", "//", "\0", "~", "a", "x.json", ".keys", ".ranks", ".aside", "\\", "-"]
)
names = st.text(max_size=12) | st.lists(pieces | st.text(max_size=3), max_size=6).map("".join)
ACTS: dict[str, Callable[[Logger, str], None]] = {
    "metrics": lambda logger, name: logger.log_metrics({"a": 1}, name),
    "artifacts/text": lambda logger, name: logger.log_artifact("x", name, "text"),
    "artifacts/Checkpoint": lambda logger, name: logger.log_checkpoint(1, name),
}


@pytest.mark.parametrize("place", ACTS)
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=names)
def test_no_name_leaves_the_run(tmp_path: Path, place: str, name: str) -> None:
    with Logger(tmp_path / "logs", forced_log_id=1) as logger:
        run = Path(logger.log_dir)
        before = set(run.rglob("*"))
        # A name may be a file's already where another needs a folder.
        with contextlib.suppress(InvalidNameError, StorageError):
            ACTS[place](logger, name)
        made = {path for path in set(run.rglob("*")) - before if path.is_file()}
    assert os.listdir(tmp_path) == ["logs"]
    assert set(os.listdir(tmp_path / "logs")) <= {"1", ".gitignore", ".mlxpy"}
    for path in made - {run / ".keys/metrics.yaml", run / ".keys/metrics.times"}:
        assert path.relative_to(run / place)
        assert not any(part.startswith(".") for part in path.relative_to(run).parts)


LINKS = [
    ("metrics/train", "{outside}", lambda logger: logger.log_metrics({"a": 1}, "train/x")),
    ("metrics/train.json", "{outside}/a", lambda logger: logger.log_metrics({"a": 1}, "train")),
    ("metrics/up", "..", lambda logger: logger.log_metrics({"a": 1}, "up/x")),
    ("metrics", "{outside}", lambda logger: logger.log_metrics({"a": 1}, "train")),
    ("artifacts", "{outside}", lambda logger: logger.log_artifact("x", "y", "text")),
    ("artifacts/text/x", "..", lambda logger: logger.log_artifact("x", "x/y", "text")),
    ("artifacts/text/x", "../../metadata", lambda logger: logger.log_artifact("x", "x/info", "text")),
    ("artifacts/Checkpoint", "{outside}", lambda logger: logger.log_checkpoint(1, "last")),
    ("artifacts/text", "{outside}", lambda logger: logger.load_artifact("a", "text")),
]


@pytest.mark.parametrize(("link", "target", "act"), LINKS, ids=lambda value: str(value)[:20])
def test_links_in_the_run_are_not_followed(tmp_path: Path, link: str, target: str, act: Any) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.txt").write_text("theirs, without an end of line")
    with Logger(tmp_path / "logs") as logger:
        place = Path(logger.log_dir, link)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target.format(outside=outside))
        before = tree_of(tmp_path)
        with pytest.raises(InvalidNameError, match=r"passes through the symbolic link .*: remove it"):
            act(logger)
        assert tree_of(tmp_path) == before


def test_a_run_that_is_continued_leaves_linked_files_alone(tmp_path: Path) -> None:
    with Logger(tmp_path / "logs") as logger:
        logger.log_metrics({"a": 1}, "train")
    (tmp_path / "diary.json").write_text("[\n1")
    (tmp_path / "logs/1/metrics/linked.json").symlink_to(tmp_path / "diary.json")
    with Logger(tmp_path / "logs", forced_log_id=1) as logger, contextlib.suppress(FileNotFoundError):
        logger.load_checkpoint()  # moves all rows aside
    assert (tmp_path / "diary.json").read_text() == "[\n1"


@pytest.mark.parametrize("name", ["../x", "a/b", "/tmp", ".keys", "..", "", "a\0"])
def test_a_type_of_artifact_is_no_way_out(tmp_path: Path, name: str) -> None:
    with Logger(tmp_path / "logs") as logger:
        with pytest.raises(InvalidNameError):
            logger.register_artifact_type(name, print, print)
        listed = {name: {"save": "builtins:print", "load": "builtins:print"}}
        Path(logger.log_dir, ".keys").mkdir(exist_ok=True)
        Path(logger.log_dir, ".keys/artifact_types.yaml").write_text(json.dumps(listed))
        for act in (logger.log_artifact, lambda _, *rest: logger.load_artifact(*rest)):
            with pytest.raises(MlxpyError):
                act("x", "y", name)
    assert os.listdir(tmp_path) == ["logs"]


# Files are for those whom the umask lets.

UMASK = """
import os, sys
from pathlib import Path
os.umask(int(sys.argv[1], 8))
from mlxpy_core import Logger, Reader, launch_of_this_process, take_run_directory
from mlxpy_core._versioning._frozen_configs import frozen_configs
from mlxpy_core._scheduling._job import Job
from mlxpy_core._scheduling._slurm import SLURMScheduler
from mlxpy_core._scheduling._submission import submit_jobs

class Queue(SLURMScheduler):
    max_array_size = 10
    def submit(self, script):
        return "1"

logs = Path("logs").absolute()
with Logger(logs, log_streams_to_file=True) as logger:
    logger.log_metrics({"a": 1}, "train")
    logger.log_artifact("x", "folder/x", "text")
    logger.log_checkpoint(1)
Reader(logs).search().toArrow()
frozen_configs(Path("conf"), logs)
runs = [take_run_directory(logs) for _ in range(2)]
submit_jobs(Queue(), [Job(run, {}, launch_of_this_process(), ["echo"]) for run in runs])
"""


@pytest.mark.parametrize("umask", ["077", "002"])
def test_files_are_for_those_whom_the_umask_lets(project: Project, umask: str) -> None:
    project.write("conf/config.yaml", "a: 1\n")
    project.write("script.py", UMASK)
    project.run("script.py", umask)
    denied = int(umask, 8)
    kinds = set()
    for path in (project.path / "logs").rglob("*"):
        if path.is_symlink():
            continue
        full = 0o777 if path.is_dir() or path.name == "script.sh" else 0o666
        assert oct(path.stat().st_mode & 0o777) == oct(full & ~denied), path
        kinds.add(path.suffix)
    assert {".sh", ".yaml", ".json", ".pkl", ".txt", ".arrow", ".stdout"} <= kinds


# The environment stays where it is.

QUEUE = """
from mlxpy_core._scheduling._slurm import SLURMScheduler
class Queue(SLURMScheduler):
    max_array_size = 10
    def submit(self, script):
        return "1"
"""


@pytest.mark.parametrize("launcher", ["mlxp_local", "mlxp_slurm"])
def test_no_secret_of_the_environment_is_written_down(app: Project, launcher: str) -> None:
    app.write("queues.py", QUEUE)
    own = ["hydra.launcher.scheduler=queues.Queue", "lr=1,2"] if launcher == "mlxp_slurm" else []
    app.run(
        "main.py", "-m", f"hydra/launcher={launcher}", "+key='${oc.env:AWS_SECRET_ACCESS_KEY}'",
        "+nested={token: 'x ${oc.env:HF_TOKEN}'}", *own, env={**SECRETS, "PYTHONPATH": str(app.path)},
    )  # fmt: skip
    files = [path for path in (app.path / "logs").rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert {"script.sh", "info.yaml", "config.yaml"} <= names
    assert launcher == "mlxp_slurm" or "mlxpy.yaml" in names
    assert launcher == "mlxp_local" or app.file(1, "array/script.sh").exists()
    for path in files:
        content = path.read_bytes()
        assert not [value for value in SECRETS.values() if value.encode() in content], path
    assert app.yaml(1, "config")["key"] == "${oc.env:AWS_SECRET_ACCESS_KEY}"
