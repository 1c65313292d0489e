"""The copy of a repository of 20,000 files: made for the first time, and used again."""

import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlxpy_core._versioning._copy import safe_copy
from mlxpy_core._versioning._find_version_manager import find_version_manager
from mlxpy_core._versioning._repository import find_repository

from ._measure import TRIVIAL_APP, Result, take_turns, time_command

FILES = 20_000
_LOGGER = "hydra/callbacks=mlxp_logger"
_GIT = "hydra/callbacks=[mlxp_logger,mlxp_git]"


def first() -> Result:
    """Copies a commit, and clones its repository with ``git clone``, in turn."""
    with _large_repository() as root:
        repository = find_repository(root)
        assert repository
        commit = repository.git("rev-parse", "HEAD").strip()
        copies, clone = root.parent / "copies", root.parent / "clone"

        def ours() -> float:
            shutil.rmtree(copies, ignore_errors=True)
            start = time.perf_counter()
            safe_copy(repository, commit, copies)
            return time.perf_counter() - start

        def floor() -> float:
            shutil.rmtree(clone, ignore_errors=True)
            return time_command(["git", "clone", "-q", str(root), str(clone)], root.parent) / 1e3

        rounds = take_turns(7, ours, floor)
    return Result(f"first copy of {FILES:,} files, floor git clone", "s", rounds, "ratio", bound=1)


def later() -> Result:
    """Starts an app whose commit has a copy, and the same app without the version manager."""
    with _large_repository() as root:
        app = [sys.executable, "app.py", "hydra.job_logging.root.level=ERROR"]
        rounds = take_turns(
            20, lambda: time_command([*app, _GIT], root), lambda: time_command([*app, _LOGGER], root)
        )
    return Result("launch of a commit that has a copy", "ms", rounds, "difference", bound=50)


def later_work() -> Result:
    """Does what the version manager itself does for a commit that has a copy; nothing is the floor."""
    with _large_repository() as root:
        options = {"parent_work_dir": root / ".workdir", "interactive_mode": False}

        def ours() -> float:
            start = time.perf_counter()
            find_version_manager("GitVM")(**options).prepare([root])
            return (time.perf_counter() - start) * 1e3

        rounds = take_turns(20, ours, lambda: 0.0)
    return Result("the version manager's own part of that", "ms", rounds, "ours", bound=50)


@contextmanager
def _large_repository() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "repository"
        numbers = random.Random(1)
        for number in range(FILES):
            path = root / f"package{number % 20}" / f"part{number % 400}" / f"module{number}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"# {numbers.random()}\n" * numbers.randint(1, 120))
        (root / "app.py").write_text(TRIVIAL_APP)
        (root / ".gitignore").write_text("logs\noutputs\n.workdir\n")
        # No collection in the background, which would still run beside the measurement.
        identity = [
            "-c",
            "user.name=benchmark",
            "-c",
            "user.email=benchmark@localhost",
            "-c",
            "gc.auto=0",
        ]
        for arguments in (
            ["init", "-q"],
            ["add", "-A"],
            [*identity, "commit", "-q", "-m", "all"],
            ["repack", "-adq"],
        ):
            subprocess.run(["git", *arguments], cwd=root, check=True)
        yield root
