"""What the tests share: real programs, run as a user runs them, and what they leave behind."""

import fcntl
import functools
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import warm
from hypothesis import settings

from mlxpy_core import RunDirectory, end_by_signals_no_more, load_yaml
from mlxpy_core._operations._reconciling import reconcile_runs
from mlxpy_core._plugins._scheduler import Scheduler
from mlxpy_core._scheduling._oar import OARScheduler
from mlxpy_core._scheduling._sge import SGEScheduler
from mlxpy_core._scheduling._slurm import SLURMScheduler

# How long an example takes is the machine's affair.
settings.register_profile("untimed", deadline=None, max_examples=50)
settings.load_profile("untimed")

REPOSITORY = Path(__file__).parent.parent
MLXPY = str(Path(sys.executable).with_name("mlxpy"))


def pytest_addoption(parser: pytest.Parser) -> None:
    whole = "each repetition in full, each case on every scheduler, and every program started cold"
    parser.addoption("--long", action="store_true", help=whole)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--long"):
        names = ["long", "smoke_long"] if config.getoption("-m") == "smoke" else ["long"]
        left_out = {
            item
            for item in items
            for name in names
            if any(map(functools.partial(applies, item), item.iter_markers(name)))
        }
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


def applies(item: pytest.Item, marker: pytest.Mark) -> bool:
    """Returns whether a marker means this test: it may name parameters, such as a cluster."""
    parameters = getattr(item, "callspec", None)
    return not marker.args or any(value in marker.args for value in parameters.params.values())


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    warm.Warm.allowed = not (item.get_closest_marker("cold") or item.config.getoption("--long"))


@pytest.fixture(autouse=True)
def as_at_the_start() -> None:
    """Takes back what earlier tests left in this process: handlers of signals, variables of their runs."""
    end_by_signals_no_more()
    current = {"PYTEST_CURRENT_TEST": os.environ.get("PYTEST_CURRENT_TEST", "")}
    if {**os.environ, **current} != {**warm.ENVIRONMENT, **current}:
        os.environ.clear()
        os.environ.update({**warm.ENVIRONMENT, **current})


@pytest.fixture
def times(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """Chooses how often something is repeated: so often, or with ``--long`` so often."""
    return lambda short, whole: whole if request.config.getoption("--long") else short


# Ignored under nohup and in the background, also by the programs that the tests start.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Root passes all permissions, and an interpreter below root's home cannot be started as anybody else;
# nor can anything be imported from there then: all of mlxpy_core is imported before, and a run that is
# made and read imports what other packages import when they are first used.
BECOME_NOBODY = """
import importlib, os, pkgutil, tempfile, mlxpy, mlxpy_core
for module in pkgutil.walk_packages(mlxpy_core.__path__, "mlxpy_core."):
    if not module.name.startswith(("mlxpy_core._top", "mlxpy_core._search")):  # which need extras
        importlib.import_module(module.name)
mlxpy_core._reading._tables._log_source._SETTLES_S = 0  # see ended_long_ago
with tempfile.TemporaryDirectory() as scratch:
    with mlxpy.Logger(scratch) as logger:
        logger.log_metrics({"a": 1}, "train")
        logger.log_checkpoint(1)
    mlxpy.Reader(scratch).search("info.status == 'COMPLETE'", asPandas=True)
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
"""

NOBODY = 65534
"""The other user, to whom root gives files."""


def need_root() -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give files to another user")


class Project:
    """A user's directory with programs in it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, text: str) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip())
        return path

    def open_to_all(self) -> None:
        """Lets any user come here."""
        for path in (self.path, *self.path.parents):
            if path.stat().st_uid == os.getuid() and path != Path("/"):
                path.chmod(path.stat().st_mode | 0o055)

    def start(self, *arguments: str, **options: Any) -> "subprocess.Popen[str]":
        """Starts ``python arguments...`` here; its output is text.

        Unless a test is marked `cold`, a script is forked from a process that has imported Hydra and mlxpy.
        """
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        environment = {**os.environ, "PYTHONWARNINGS": "ignore", **options.pop("env", {})}
        options.setdefault("cwd", self.path)
        command = [sys.executable, *arguments]
        program = warm.start(command, environment, options)
        return program or subprocess.Popen(command, env=environment, **options)

    def run(self, *arguments: str, exit_code: int | None = 0, **options: Any) -> Any:
        """Runs ``python arguments...`` here to its end and checks its exit code."""
        with self.start(*arguments, **options) as process:
            stdout, stderr = process.communicate(timeout=120)
        assert exit_code is None or process.returncode == exit_code, stdout + stderr
        return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)

    def start_mlxpy(self, *words: str, **options: Any) -> "subprocess.Popen[str]":
        """Starts the command ``mlxpy`` here, without a terminal; its output is text."""
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        options = {"cwd": self.path, "text": True, **streams, **options}
        environment = {**os.environ, **options.pop("env", {})}
        program = warm.start([sys.executable, MLXPY, *words], environment, options)
        return program or subprocess.Popen([MLXPY, *words], env=environment, **options)

    def mlxpy(self, *words: str, exit_code: int = 0, **options: Any) -> tuple[str, str]:
        """Runs the command ``mlxpy`` here, without a terminal: standard output and error."""
        with self.start_mlxpy(*words, **options) as process:
            stdout, stderr = process.communicate(timeout=120)
        assert process.returncode == exit_code, stdout + stderr
        return stdout, stderr

    def run_ids(self, logs: str = "logs") -> list[int]:
        return sorted(int(path.name) for path in (self.path / logs).glob("[0-9]*"))

    def file(self, log_id: int, name: str, logs: str = "logs") -> Path:
        return self.path / logs / str(log_id) / name

    def yaml(self, log_id: int, name: str, logs: str = "logs") -> Any:
        return load_yaml(self.file(log_id, f"metadata/{name}.yaml", logs).read_text())

    def info(self, log_id: int = 1, logs: str = "logs") -> Any:
        return self.yaml(log_id, "info", logs)

    def job_id(self, log_id: int) -> str:
        """Gives the id that the submitter noted of a run's job."""
        return str(load_yaml(self.file(log_id, ".keys/job.yaml").read_text())["scheduler_job_id"])

    def statuses(self, logs: str = "logs") -> list[str]:
        """Gives the runs' words; none of a run that has not written its first one."""
        ids = (i for i in self.run_ids(logs) if self.file(i, "metadata/info.yaml", logs).exists())
        return [self.info(log_id, logs)["status"] for log_id in ids]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


class GitProject(Project):
    """A user's directory that is a git repository."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        path.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main")
        self.git("config", "user.name", "A User")
        self.git("config", "user.email", "user@example.org")

    def git(self, *arguments: str, **options: Any) -> str:
        """Runs git here and gives what it prints, without the last line's end."""
        directory = options.pop("cwd", self.path)
        environment = {**os.environ, "GIT_ALLOW_PROTOCOL": "file", **options.pop("env", {})}
        done = subprocess.run(
            ["git", *arguments],
            cwd=directory,
            env=environment,
            capture_output=True,
            text=True,
            **options,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.rstrip("\n")

    def commit(self, message: str = "a commit") -> str:
        """Commits everything and gives the commit's hash."""
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def add_submodule(self, other: "GitProject", path: str) -> None:
        """Adds another repository as a submodule, without committing it."""
        # git refuses addresses that are paths, unless told.
        allowed = ["-c", "protocol.file.allow=always"]
        self.git(*allowed, "submodule", "add", "-q", str(other.path), path)

    def state(self) -> dict[str, Any]:
        """Gives all that a version manager is not to change."""
        index = self.path / ".git" / "index"
        return {
            "head": self.git("symbolic-ref", "-q", "HEAD"),
            "commits": self.git("log", "--format=%H", "--branches"),
            "index": index.read_bytes() if index.exists() else None,
            "stash": self.git("stash", "list"),
            "config": (self.path / ".git" / "config").read_text(),
            "files": tree_of(self.path, leave_out={".git", ".workdir", "logs", "__pycache__"}),
        }

    def copies(self, parent: str = ".workdir") -> list[Path]:
        """Lists the copies of commits, whole ones and others."""
        return [path for path in (self.path / parent).glob("*/*") if path.name != ".lock"]


def tree_of(root: Path, leave_out: Container[str] = (".git",)) -> dict[str, Any]:
    """Gives all files below a directory: content and whether it is executable, or what a link says."""
    found: dict[str, Any] = {}
    for folder, folders, names in os.walk(os.fsencode(root)):
        folders[:] = [name for name in folders if os.fsdecode(name) not in leave_out]
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in [*names, *links]:
            path = os.path.join(folder, name)
            key = os.fsdecode(os.path.relpath(path, os.fsencode(root)))
            if os.path.islink(path):
                found[key] = os.readlink(path)
            elif key != ".git":
                found[key] = (Path(os.fsdecode(path)).read_bytes(), os.access(path, os.X_OK))
    return found


def environment_of_its_own(path: Path) -> str:
    """Makes a virtual environment that has what this one has, and gives its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(path)], check=True)
    (site,) = path.glob("lib/python*/site-packages")
    # Before all other path files, and with those of this one.
    here = next(one for one in sys.path if one.endswith("site-packages"))
    (site / "0.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    return str(path / "bin" / "python")


@pytest.fixture
def repository(tmp_path: Path) -> GitProject:
    return GitProject(tmp_path / "project")


@pytest.fixture(scope="module")
def ended_long_ago() -> Iterator[None]:
    """Has the reader keep what runs have logged as soon as they have ended."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mlxpy_core._reading._tables._log_source._SETTLES_S", 0)
        yield


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Lets no file of this process grow over `size` bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.fixture
def in_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Real clusters, and an app for their jobs.


@dataclass(frozen=True)
class Cluster:
    """A queue that takes jobs of this process's user."""

    launcher: str
    scheduler: type[Scheduler]
    refused: str  # a directive
    words: str  # what the scheduler says of it

    @property
    def name(self) -> str:
        return self.scheduler.__name__


CLUSTERS = {
    "slurm": Cluster("mlxp_slurm", SLURMScheduler, "--partition=nowhere", "[Ii]nvalid partition"),
    "sge": Cluster("mlxp_sge", SGEScheduler, "-q nowhere", 'unknown queue "nowhere"'),
    "oar": Cluster("mlxp_oar", OARScheduler, "-p nothing='x'", 'column "nothing" does not exist'),
}
ASK = {"slurm": ["sinfo", "-h"], "sge": ["qhost"], "oar": ["oarstat"]}


@pytest.fixture(params=list(CLUSTERS))
def cluster(request: pytest.FixtureRequest) -> Cluster:
    name = request.param
    need_cluster(name)
    return CLUSTERS[name]


def need_cluster(name: str) -> None:
    if reason := why_not(name):
        pytest.skip(reason)


@functools.cache  # a client whose server is down takes long to say so
def why_not(name: str) -> str:
    if not shutil.which(ASK[name][0]):
        return f"no {name} on this machine"
    try:
        subprocess.run(ASK[name], capture_output=True, check=True, timeout=60)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return f"the {name} of this machine does not answer"
    return ""


APP = """
import json, os, signal, sys, time
import hydra
import mlxpy

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    logger = mlxpy.get_logger()
    logger.log_metrics({"lr": cfg.lr, "text": cfg.text, "num": cfg.num}, "train")
    print("lr is", cfg.lr, flush=True)
    print("to stderr", file=sys.stderr)
    logger.log_metrics({"start": time.time()}, "times")
    time.sleep(cfg.seconds)
    logger.log_metrics({"end": time.time()}, "times")
    if cfg.fail == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if cfg.fail:
        raise ValueError("as asked")
    return (cfg.lr - 2) ** 2

if __name__ == "__main__":
    main()
"""
CONFIG = "{lr: 0.1, text: x, seconds: 0, fail: false, num: '${hydra:job.num}'}\n"


@pytest.fixture
def app(project: Project) -> Project:
    project.write("main.py", APP)
    project.write("conf/config.yaml", CONFIG)
    return project


@contextmanager
def one_at_a_time(what: str) -> Iterator[None]:
    """Keeps the tests of other processes from the same thing."""
    with open(Path(tempfile.gettempdir(), f"mlxpy-tests-{what}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def wait_until(
    condition: Callable[[], Any], seconds: float = 90, shown: Callable[[], Any] | None = None
) -> None:
    """Looks at what other machines would do, too: files of a shared directory.

    Args:
        condition: what is to come about.
        seconds: the longest wait.
        shown: gives what is shown of a wait in vain.
    """
    end = time.monotonic() + seconds
    while True:
        looked = time.monotonic()
        if condition():
            return
        now = time.monotonic()
        assert now < end, f"it did not come about: {shown() if shown else condition}"
        # Asking a scheduler takes the processor from what is waited for.
        time.sleep(max(0.2, 3 * (now - looked)))


def reconciled(project: Project) -> list[str]:
    """Gives the runs' words as ``mlxpy status`` does, without a process of its own."""
    runs = [RunDirectory(project.path / "logs" / str(log_id)) for log_id in project.run_ids()]
    return [status.value for status in reconcile_runs(runs).statuses.values()]


def ended(project: Project, status: str = "COMPLETE", logs: str = "logs") -> bool:
    return all(one == status for one in project.statuses(logs))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium that is driven by Playwright."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()
