"""Runs that an earlier mlxpy left, in `data/old_runs`, as if it had left them here."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from conftest import GitProject, Project

import mlxpy_core
from mlxpy import Reader

DATA = Path(__file__).parent / "data" / "old_runs"
LOGGER = "hydra/callbacks=mlxp_logger"
PARENT = "hydra.callbacks.mlxp_logger.parent_log_dir"
GIT = ["hydra/callbacks=[mlxp_logger,mlxp_git]", "hydra.callbacks.mlxp_git.interactive_mode=false"]
# What stands for the id of each job; no scheduler has had so many.
JOB = "66000001"
STATUSES = {
    "local": ["COMPLETE", "COMPLETE", "COMPLETE", "INTERRUPTED", "FAILED", "KILLED"],
    "launched": ["COMPLETE", "INTERRUPTED"],
    "waited": ["COMPLETE", "COMPLETE", "FAILED", "INTERRUPTED", "COMPLETE"],
    "lines": ["COMPLETE", "INTERRUPTED"],
    "ranks": ["COMPLETE", "INTERRUPTED", "KILLED"],
    "versioned": ["COMPLETE", "COMPLETE", "INTERRUPTED", "SUBMITTED"],
    "slurm": ["COMPLETE", "COMPLETE", "INTERRUPTED", "COMPLETE", "COMPLETE", "COMPLETE"],
    "slurm_queued": ["SUBMITTED"] * 8,
    "oar": ["COMPLETE", "COMPLETE", "INTERRUPTED"],
    "oar_queued": ["SUBMITTED"] * 3,
}


class OldRuns(Project):
    """A user's directory with the runs of one case.

    Args:
        path: the directory; the runs lie in a folder of it that is called as the case.
        case: the name of a file in `data/old_runs`.
        where: of which machine they are: ``here``, ``here, before a reboot``, or ``elsewhere``.
    """

    factor = 48271

    def __init__(self, path: Path, case: str, where: str = "here") -> None:
        super().__init__(path)
        self.case = case
        self.logs = path / case
        fill_in(path.parent, case, where)

    def steps(self, log_id: int, rank: int = 0) -> list[tuple[int, int]]:
        folder = f"metrics/.ranks/{rank}" if rank else "metrics"
        text = self.file(log_id, f"{folder}/train.json", self.case).read_text()
        return [(row["step"], row["value"]) for row in map(json.loads, text.splitlines())]

    def whole_history(self, log_id: int) -> list[tuple[int, int]]:
        """Gives the steps of a run that was never interrupted."""
        value, steps = self.yaml(log_id, "config", self.case)["seed"], []
        for step in range(10):
            value = value * self.factor % 2147483647
            steps.append((step, value))
        return steps

    def check_whole(self, log_id: int, attempts: Iterable[str], ranks: int = 1) -> None:
        """Checks that a run is complete, after these attempts, with no row twice and none missing."""
        info = self.info(log_id, self.case)
        assert info["status"] == "COMPLETE"
        assert [attempt["status"] for attempt in info["attempts"]] == list(attempts)
        for rank in range(ranks):
            assert self.steps(log_id, rank) == self.whole_history(log_id)
        scores = self.file(log_id, "metrics/eval.json", self.case).read_text().splitlines()
        values = [value for step, value in self.whole_history(log_id) if step % 3 == 0]
        assert [json.loads(row)["score"] for row in scores] == [value / 7 for value in values]
        found = Reader(self.logs).search(f"info.log_id == {log_id}")[0]
        assert found["train.value"] == [value for _, value in self.whole_history(log_id)]

    def forced(self, log_id: int) -> list[str]:
        return [f"{PARENT}={self.case}", f"hydra.callbacks.mlxp_logger.forced_log_id={log_id}"]

    def command(self, *words: str, **options: Any) -> tuple[str, str]:
        return self.mlxpy(*words, "--logs", self.case, **options)

    def script(self, log_id: int, name: str = "script.sh", **variables: str) -> None:
        """Runs a script by hand."""
        script, environment = self.file(log_id, name, self.case), {**os.environ, **variables}
        done = subprocess.run([script], cwd="/", env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


class OldRepository(OldRuns, GitProject):
    """A user's repository with the runs of its safe copies, which are gone."""

    factor = 16807

    def __init__(self, path: Path, where: str) -> None:
        GitProject.__init__(self, path)
        self.git("fetch", "-q", str(DATA / "code.bundle"), "refs/*:refs/*", "--update-head-ok")
        self.git("reset", "-q", "--hard")
        OldRuns.__init__(self, path, "versioned", where)


def fill_in(root: Path, case: str, where: str) -> None:
    """Writes the runs of a case below `root`, with this machine's words for the placeholders."""
    here = where.startswith("here")
    machine_id = Path("/etc/machine-id")
    machine = machine_id.read_text().strip() if machine_id.exists() else "null"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    unlike = "0123456789abcdef0123456789abcdef"
    words = {
        "ROOT": str(root),
        "PYTHON": sys.executable,
        "INSTALLED": str(Path(mlxpy_core.__file__).parent.parent),
        "PACKAGES": str(Path(yaml.__file__).parent.parent),
        "HOST": socket.gethostname() if here else "elsewhere",
        "MACHINE": machine if here else unlike,
        "BOOT": boot if where == "here" else unlike,
        "NAMESPACE": os.readlink("/proc/self/ns/pid"),
        "USER": "somebody",
        "CLUSTER": slurm_cluster() if where == "here" else "elsewhere",
        "JOB": JOB,
    }

    def filled(text: str) -> str:
        return re.sub(r"@([A-Z]+)@", lambda found: words[found[1]], text)

    for name, content in yaml.safe_load((DATA / f"{case}.yaml").read_text()).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, str):
            path.write_text(filled(content))
        elif "link" in content:
            path.symlink_to(content["link"])
        else:
            path.write_text(filled(content["script"]))
            path.chmod(0o755)
    for path in root.rglob(".keys/summary.json"):
        stamp_again(path)


def stamp_again(summary: Path) -> None:
    """Has a summary name the files that it repeats as they are now: otherwise nobody would read it."""
    content = json.loads(summary.read_text())
    for key, name in (("info_file", "info.yaml"), ("config_file", "config.yaml")):
        status = (summary.parent.parent / "metadata" / name).stat()
        content[key] = [status.st_mtime_ns, status.st_size]
    summary.write_text(json.dumps(content))


def slurm_cluster() -> str:
    if not shutil.which("scontrol"):
        return "elsewhere"
    done = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True)
    found = re.search(r"^ClusterName\s*= (\S+)", done.stdout, flags=re.MULTILINE)
    return found[1] if found else "elsewhere"


def old_runs(tmp_path: Path, case: str, where: str = "here") -> OldRuns:
    if case == "versioned":
        return OldRepository(tmp_path / "project", where)
    shutil.copytree(DATA / "app", tmp_path / "app", ignore=shutil.ignore_patterns("__pycache__"))
    return OldRuns(tmp_path / "app", case, where)
