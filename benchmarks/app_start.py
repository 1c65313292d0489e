"""The start of a Hydra app that does not use mlxpy: where mlxpy is installed, and where it is not.

Both have hydra-submitit-launcher, which mlxpy needs and an app for a cluster has.
"""

import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from ._measure import TRIVIAL_APP, Result, take_turns, time_command

ROUNDS = 80

_PROJECT = Path(__file__).parent.parent


def measure() -> Result:
    """Starts the app, to its end, in two fresh environments in turn.

    pip downloads Hydra and the dependencies of mlxpy into them.
    """
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        others = [f"{name}=={version(name)}" for name in ("hydra-core", "hydra-submitit-launcher")]
        floor = _make_app(root / "without", *others)
        # A copy: what an earlier build left in the project would go into the package, and pip's would
        # stay in the project.
        project = root / "project"
        shutil.copytree(_PROJECT, project, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info"))
        ours = _make_app(root / "with", *others, str(project))
        rounds = take_turns(ROUNDS, lambda: _start(ours), lambda: _start(floor))
    return Result("start of an app without mlxpy", "ms", rounds, "difference", bound=5)


def _make_app(directory: Path, *requirements: str) -> Path:
    directory.mkdir()
    (directory / "app.py").write_text(TRIVIAL_APP)
    time_command([sys.executable, "-m", "venv", "venv"], directory)
    time_command([_python(directory), "-m", "pip", "install", "--quiet", *requirements], directory)
    return directory


def _start(app: Path) -> float:
    return time_command([_python(app), "app.py"], app)


def _python(app: Path) -> str:
    return str(app / "venv" / "bin" / "python")


if __name__ == "__main__":
    print(measure())
