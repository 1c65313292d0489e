"""Makes the runs of this folder anew, by the mlxpy that this interpreter has; see README.md."""

import getpass
import os
import pickle
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import yaml

import mlxpy_core
from hydra_plugins.mlxpy._callback import MlxpLogger

PYTHON = os.path.abspath(sys.executable)
HERE = Path(__file__).parent
MLXPYSUB = str(Path(PYTHON).with_name("mlxpysub"))
LOGGER = "hydra/callbacks=mlxp_logger"
GIT = ["hydra/callbacks=[mlxp_logger,mlxp_git]", "hydra.callbacks.mlxp_git.interactive_mode=false"]
FIRST = [
    "artifacts=true", "hydra.output_subdir=.hydra", "hydra.callbacks.mlxp_logger.log_streams_to_file=true"
]  # fmt: skip
PARENT = "hydra.callbacks.mlxp_logger.parent_log_dir"
# The reader's tables, which it makes again, and what Python compiles.
LEFT_OUT = {"__pycache__", "reader-1"}


class Maker:
    """Makes runs in a directory of its own.

    Args:
        root: that directory.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.app = root / "app"
        self.queued: list[list[str]] = []  # commands that take jobs out of their queues

    def python(self, *words: str, ok: bool = True, cwd: Path | None = None, **variables: str) -> None:
        environment = {**os.environ, "PYTHONWARNINGS": "ignore", "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [PYTHON, *words],
            cwd=cwd or self.app,
            env={**environment, **variables},
            capture_output=True,
            text=True,
        )
        assert (done.returncode == 0) == ok, done.stdout + done.stderr

    @contextmanager
    def mishap(self, what: str, folder: Path | None = None) -> Any:
        path = (folder or self.app) / "mishap"
        path.write_text(what)
        yield
        path.unlink()

    def info(self, logs: str, log_id: int) -> dict[str, Any]:
        text = (self.app / logs / str(log_id) / "metadata" / "info.yaml").read_text()
        return dict(yaml.safe_load(text))

    def await_status(self, status: str, logs: str, *log_ids: int) -> None:
        end = time.monotonic() + 90
        while any(self.info(logs, log_id)["status"] != status for log_id in log_ids):
            assert time.monotonic() < end, (logs, log_ids)
            time.sleep(0.3)
        time.sleep(1)  # the script goes on after its program

    def note_queued(self, command: str, logs: str) -> None:
        for path in sorted((self.root / logs).glob("[0-9]*/.keys/job.yaml")):
            job_id = yaml.safe_load(path.read_text())["scheduler_job_id"]
            info = yaml.safe_load((path.parent.parent / "metadata" / "info.yaml").read_text())
            if info["status"] == "SUBMITTED":
                self.queued.append([command, job_id])

    # The cases.

    def local(self) -> None:
        """On this machine: complete, a sweep of two, interrupted, failed, killed."""
        one = ["main.py", LOGGER, f"{PARENT}=local"]
        self.python(*one, *FIRST)
        self.python(*one[:1], "-m", *one[1:], "seed=2,3", "model.size=4")
        for mishap in ("SIGTERM", "error", "SIGKILL"):
            with self.mishap(mishap):
                self.python(*one, "seed=4", "+note='it\\'s $HOME'", ok=False)

    def launched(self) -> None:
        """By the decorator: complete, interrupted."""
        one = ["decorated.py", "+mlxpy.logger.parent_log_dir=launched", "+seed=5"]
        self.python(*one)
        with self.mishap("SIGTERM"):
            self.python(*one, ok=False)

    def waited(self) -> None:
        """By mlxp_local, which waits: complete twice, failed, interrupted, and optuna's."""
        one = ["main.py", "-m", LOGGER, f"{PARENT}=waited", "hydra/launcher=mlxp_local"]
        self.python(*one, "seed=1,2")
        for mishap in ("error", "SIGTERM"):
            with self.mishap(mishap):
                self.python(*one, "seed=3", ok=False)
        optuna = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=1", "hydra.sweeper.n_jobs=1"]
        self.python(*one, *optuna, "seed=choice(7)")

    def lines(self) -> None:
        """By mlxpysub, on this machine: complete, interrupted."""
        self._mlxpysub("lines", "--scheduler", "LocalScheduler", directive="")
        with self.mishap("SIGTERM"):
            self._mlxpysub("lines", "--scheduler", "LocalScheduler", directive="")

    def ranks(self) -> None:
        """Two processes as torchrun starts them: complete, interrupted, killed."""
        self._as_torchrun(29500)
        for port, mishap in ((29501, "SIGTERM"), (29502, "SIGKILL")):
            with self.mishap(mishap):
                self._as_torchrun(port)

    def versioned(self) -> None:
        """From a safe copy: of a commit, of a snapshot, interrupted; and one that waits in Slurm."""
        project = self.root / "project"
        shutil.copytree(self.app, project, ignore=shutil.ignore_patterns("[a-z]*[0-9]", *CASES))
        (project / ".gitignore").write_text("__pycache__\nversioned\nmishap\nmultirun\noutputs\n")
        moment = "2024-01-01T00:00:00+0000"
        environment = {**os.environ, "GIT_AUTHOR_DATE": moment, "GIT_COMMITTER_DATE": moment}

        def git(*words: str) -> None:
            settings = ["-c", "user.name=A User", "-c", "user.email=user@example.org"]
            subprocess.run(["git", *settings, *words], cwd=project, env=environment, check=True)

        git("init", "-q", "-b", "main")
        git("add", "-A")
        git("commit", "-q", "-m", "The code")
        one = ["main.py", *GIT, f"{PARENT}=versioned"]
        self.python(*one, cwd=project)
        training = project / "training.py"
        training.write_text(training.read_text().replace("48271", "16807"))
        self.python(*one, cwd=project)
        copies = {path for path in (project / ".workdir" / "project").iterdir() if path.is_dir()}
        for copy in copies:
            (copy / "mishap").write_text("SIGTERM")
        self.python(*one, cwd=project, ok=False)
        for copy in copies:
            (copy / "mishap").unlink()
        slurm = ["hydra/launcher=mlxp_slurm", "hydra.launcher.option_cmd=[--hold]"]
        self.python(*one[:1], "-m", *one[1:], *slurm, "seed=6", cwd=project)
        self.note_queued("scancel", "project/versioned")
        git("bundle", "create", "-q", str(HERE / "code.bundle"), "--all")

    def slurm(self) -> None:
        """Complete as an array, interrupted, two processes by srun, two runs in one job."""
        one = ["main.py", "-m", LOGGER, f"{PARENT}=slurm", "hydra/launcher=mlxp_slurm"]
        self.python(*one, "seed=1,2")
        self.await_status("COMPLETE", "slurm", 1, 2)
        with self.mishap("SIGTERM"):
            self.python(*one, "seed=3")
            self.await_status("INTERRUPTED", "slurm", 3)
        barrier = tempfile.mkdtemp(dir=self.root)
        self.python(*one, "hydra.launcher.tasks_per_node=2", "seed=4", BARRIER=barrier, RANKS="2")
        self.await_status("COMPLETE", "slurm", 4)
        self.python(*one, "hydra.launcher.runs_per_job=2", "seed=5,6")
        self.await_status("COMPLETE", "slurm", 5, 6)

    def slurm_queued(self) -> None:
        """Waiting: an array, one job, two runs in one job, the decorator's, mlxpysub's, one without a callback."""
        held = "hydra.launcher.option_cmd=[--hold]"
        one = ["main.py", "-m", LOGGER, f"{PARENT}=slurm_queued", "hydra/launcher=mlxp_slurm", held]
        self.python(*one, "seed=1,2")
        self.python(*one, "seed=3", "hydra.launcher.tasks_per_node=2", "hydra.launcher.requeue=true")
        self.python(*one, "hydra.launcher.runs_per_job=2", "seed=4,5")
        self.python(
            "decorated.py", "+mlxpy.logger.parent_log_dir=slurm_queued", "+seed=6",
            "+mlxpy.use_scheduler=True", "+mlxpy.scheduler.name=SLURMScheduler",
            "+mlxpy.scheduler.option_cmd=[--hold]",
        )  # fmt: skip
        self._mlxpysub("slurm_queued", directive="#SBATCH --hold")
        without = ["hydra/launcher=mlxp_slurm", held, "hydra.launcher.parent_log_dir=slurm_queued"]
        self.python("main.py", "-m", *without, "seed=8")
        self.note_queued("scancel", "app/slurm_queued")

    def oar(self) -> None:
        """Complete as an array, interrupted."""
        one = ["main.py", "-m", LOGGER, f"{PARENT}=oar", "hydra/launcher=mlxp_oar"]
        self.python(*one, "seed=1,2")
        self.await_status("COMPLETE", "oar", 1, 2)
        with self.mishap("SIGTERM"):
            self.python(*one, "seed=3")
            self.await_status("INTERRUPTED", "oar", 3)

    def oar_queued(self) -> None:
        """Waiting: an array, and one job."""
        held = "hydra.launcher.option_cmd=[--hold]"
        one = ["main.py", "-m", LOGGER, f"{PARENT}=oar_queued", "hydra/launcher=mlxp_oar", held]
        self.python(*one, "seed=1,2")
        self.python(*one, "seed=3")
        self.note_queued("oardel", "app/oar_queued")

    def _mlxpysub(self, logs: str, *options: str, directive: str) -> None:
        script = self.root / "jobs.sh"
        line = f"{PYTHON} main.py {LOGGER} seed=7"
        script.write_text(f"#!/bin/bash\n{directive}\ncd {self.app}\n{line}\n")
        command = [MLXPYSUB, str(script), "--logs", logs, *options]
        subprocess.run(command, cwd=self.app, check=True, capture_output=True)

    def _as_torchrun(self, port: int) -> None:
        barrier = tempfile.mkdtemp(dir=self.root)
        variables = {"WORLD_SIZE": "2", "BARRIER": barrier, "RANKS": "2"}
        together = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "none"}
        # A parent of their own: ranks of the same parent are the same run, started again.
        words = shlex.join([PYTHON, "main.py", LOGGER, f"{PARENT}=ranks"])
        agent = f"RANK=0 {words} & RANK=1 {words} & wait"
        environment = {**os.environ, **together, **variables}
        subprocess.run(["sh", "-c", agent], cwd=self.app, env=environment, check=True)


CASES: dict[str, Callable[[Maker], None]] = {
    function.__name__: function
    for function in (
        Maker.local, Maker.launched, Maker.waited, Maker.lines, Maker.ranks, Maker.versioned,
        Maker.slurm, Maker.slurm_queued, Maker.oar, Maker.oar_queued,
    )
}  # fmt: skip


# What a test puts back is written as a placeholder.


def placeholders(root: Path) -> list[tuple[str, str]]:
    """Gives patterns of what belongs to this machine, and what stands for each."""
    installed = Path(mlxpy_core.__file__).parent.parent
    words = [
        (str(root), "@ROOT@"),
        (PYTHON, "@PYTHON@"),
        (str(Path(yaml.__file__).parent.parent), "@PACKAGES@"),
        (str(installed), "@INSTALLED@"),
        (Path("/etc/machine-id").read_text().strip(), "@MACHINE@"),
        (Path("/proc/sys/kernel/random/boot_id").read_text().strip(), "@BOOT@"),
        (os.readlink("/proc/self/ns/pid"), "@NAMESPACE@"),
    ]
    keys = [("host(?:name)?", socket.gethostname(), "@HOST@"), ("user", getpass.getuser(), "@USER@")]
    patterns = [(re.escape(word), placeholder) for word, placeholder in words]
    for key, word, placeholder in keys:
        patterns.append((rf'((?:\b|\.){key}"?: "?){re.escape(word)}\b', rf"\g<1>{placeholder}"))
    return [
        *patterns,
        (r'(cluster"?: "?)(?!(?:null|\'\'|")|\Z)[\w-]+', r"\g<1>@CLUSTER@"),
        (r"(job_id\"?: [\"']?)\d+", r"\g<1>@JOB@"),
    ]


def packed(path: Path, patterns: list[tuple[str, str]]) -> Any:
    """Gives what a file holds: text, bytes, ``{link: ...}`` or ``{script: text}``."""
    if path.is_symlink():
        return {"link": os.readlink(path)}
    content = path.read_bytes()
    if path.name == "outcome.pkl":
        content = without_places(content, patterns)
    try:
        text = content.decode()
    except UnicodeDecodeError:
        assert not any(re.search(pattern.encode(), content) for pattern, _ in patterns), path
        return content
    if "\0" in text or "\r" in text or path.suffix == ".pkl":
        return content
    for pattern, placeholder in patterns:
        text = re.sub(pattern, placeholder, text)
    return {"script": text} if os.access(path, os.X_OK) else text


def without_places(content: bytes, patterns: list[tuple[str, str]]) -> bytes:
    """Pickles what a run's function raised again, with another traceback."""
    outcome = pickle.loads(content)
    if outcome.traceback:
        text = outcome.traceback
        for pattern, placeholder in patterns:
            text = re.sub(pattern, placeholder, text)
        object.__setattr__(outcome, "traceback", re.sub(r'"/[^"]*/', '"', text))
    return bytes(cloudpickle.dumps(outcome))


class Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Dumper.add_representer(str, _represent_text)


def pack(root: Path, name: str) -> None:
    patterns = placeholders(root)
    logs = root / ("project" if name == "versioned" else "app") / name
    files = {}
    settings = [root / "app" / "configs" / "mlxpy.yaml"] if name == "launched" else []
    for path in sorted([*logs.rglob("*"), *settings]):
        if not path.is_dir() and not LEFT_OUT & set(path.parts):
            files[str(path.relative_to(root))] = packed(path, patterns)
    with open(HERE / f"{name}.yaml", "w") as file:
        yaml.dump(files, file, Dumper, sort_keys=True, width=10**6, allow_unicode=True)


def keep_callback() -> None:
    """Keeps the callback as submitit keeps it for a job that waits, with a relative place of its runs."""
    callback = MlxpLogger(keep_return_value=True)
    callback._parent_log_dir = Path("logs")
    callback._launch = replace(
        callback._launch, cmd="python main.py", executable="python", current_file_path="main.py",
        work_dir=".", launch_dir=".",
    )  # fmt: skip
    (HERE / "callback.pkl").write_bytes(cloudpickle.dumps(callback))


def main() -> None:
    names = sys.argv[1:] or list(CASES)
    root = Path(tempfile.mkdtemp(prefix="old-"))
    maker = Maker(root)
    keep_callback()
    shutil.copytree(HERE / "app", maker.app, ignore=shutil.ignore_patterns("__pycache__"))
    try:
        for name in names:
            CASES[name](maker)
            pack(root, name)
    finally:
        for command in maker.queued:
            subprocess.run(command, check=False, capture_output=True)
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
