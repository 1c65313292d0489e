"""Installing the project, in both ways, gives Hydra its plugins."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import hydra
import pytest
from conftest import REPOSITORY

APP = """
import hydra, mlxpy
@hydra.main(config_path=None, version_base="1.3")
def main(cfg): mlxpy.get_logger().log_metrics({"a": 1}, "train")
main()
"""


@pytest.mark.parametrize("options", [[], ["-e"]], ids=["install", "editable"])
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
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    same_hydra = f"hydra-core=={hydra.__version__}"
    subprocess.run([python, "-m", "pip", "install", "-q", same_hydra, *options, source], check=True)

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

    assert "MlxpyConfigSource" in run("--info", "plugins")
    assert "hydra/callbacks: mlxp_git, mlxp_logger\n" in run("--hydra-help")
    assert "could not discover plugins" not in run("hydra/callbacks=mlxp_logger")
    assert (tmp_path / "logs" / "1" / "metrics" / "train.json").read_text() == '{"a": 1}\n'
    typed = subprocess.run(
        [python, "-c", "import mlxpy, mlxpy_core, hydra_plugins.mlxpy as h; print(mlxpy.__file__)"],
        cwd=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (Path(typed.stdout.strip()).parent / "py.typed").exists()
