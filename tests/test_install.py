"""Installing the project, in both ways, gives Hydra its plugins.

What it depends on is here already; that it can be installed, too, is seen where the README's commands run.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import hydra
import pytest
import setuptools
from conftest import REPOSITORY

APP = """
import hydra, mlxpy
@hydra.main(config_path=None, version_base="1.3")
def main(cfg): mlxpy.get_logger().log_metrics({"a": 1}, "train")
main()
"""


@pytest.mark.parametrize(
    "options",
    [
        pytest.param([], id="install"),
        # The tests themselves run from such an installation.
        pytest.param(["-e"], id="editable", marks=pytest.mark.long),
    ],
)
def test_a_fresh_environment(tmp_path: Path, options: list[str]) -> None:
    source, environment = tmp_path / "source", tmp_path / "environment"
    tracked = (
        "mlxpy",
        "mlxpy_core",
        "hydra_plugins",
        "setup.cfg",
        "pyproject.toml",
        "README.md",
        "LICENSE",
    )
    for name in tracked:
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        source.mkdir(exist_ok=True)
        copy(REPOSITORY / name, source / name)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    # As a line of a .pth file, so that nothing that is installed there in an editable way counts.
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(str(Path(str(hydra.__file__)).parent.parent))
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-compile"]
    backend = {**os.environ, "PYTHONPATH": str(Path(str(setuptools.__file__)).parent.parent)}
    subprocess.run([*pip, "--no-build-isolation", *options, source], env=backend, check=True)

    (tmp_path / "app.py").write_text(APP)

    def run(*arguments: str) -> str:
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            [python, "-W", "ignore", "app.py", *arguments],
            cwd=tmp_path,
            env=clean,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout + done.stderr

    assert "hydra/callbacks: mlxp_git, mlxp_logger\n" in run("--hydra-help")
    assert "could not discover plugins" not in run("hydra/callbacks=mlxp_logger")
    assert (tmp_path / "logs" / "1" / "metrics" / "train.json").read_text() == '{"a": 1}\n'
    shown = (
        "import mlxpy, mlxpy_core, hydra_plugins.mlxpy as h; print(mlxpy.__version__, mlxpy.__file__)"
    )
    typed = subprocess.run(
        [python, "-c", shown],
        cwd=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    version, file = typed.stdout.strip().split(" ", 1)
    assert f"\nversion = {version}\n" in (source / "setup.cfg").read_text()
    place = Path(file).parent
    assert place.parent == (source if options else packages)
    assert (place / "py.typed").exists()
