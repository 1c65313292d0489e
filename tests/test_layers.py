"""The layers of DESIGN.md section 1: faces import the engine, never the other way."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REPOSITORY

ENGINE = sorted((REPOSITORY / "mlxpy_core").rglob("*.py"))
PLUGINS = sorted((REPOSITORY / "hydra_plugins" / "mlxpy").rglob("*.py"))
SCANNED = [path for path in PLUGINS if not path.name.startswith("_") or path.name == "__init__.py"]


def imported_packages(path: Path, *, at_import: bool = False) -> Iterator[str]:
    """Lists the top-level packages that a module imports (when it is itself imported)."""
    tree = ast.parse(path.read_text())
    for node in tree.body if at_import else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module).split(".")[0]


@pytest.mark.parametrize("path", ENGINE, ids=lambda path: path.name)
def test_the_engine_knows_no_face_and_no_hydra(path: Path) -> None:
    assert not {"hydra", "hydra_plugins", "mlxpy"} & set(imported_packages(path))


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: path.name)
def test_the_plugins_do_not_import_the_tutorials_face(path: Path) -> None:
    assert "mlxpy" not in set(imported_packages(path))


@pytest.mark.parametrize("path", SCANNED, ids=lambda path: path.name)
def test_what_every_hydra_app_imports_needs_nothing_but_hydra(path: Path) -> None:
    allowed = {*sys.stdlib_module_names, "hydra", "omegaconf"}
    assert set(imported_packages(path, at_import=True)) <= allowed


def output_of(program: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_an_app_that_does_not_use_mlxpy_does_not_load_its_engine() -> None:
    program = (
        "import sys; from hydra.core.plugins import Plugins; Plugins.instance()\n"
        "print(*[name for name in sys.modules if name.split('.')[0] in ('mlxpy', 'mlxpy_core')])\n"
        "print('hydra_plugins.mlxpy.config_source' in sys.modules)"
    )
    assert output_of(program).split() == ["True"]


def test_a_program_that_trains_does_not_wait_for_the_reader() -> None:
    program = (
        "import sys, mlxpy, hydra_plugins.mlxpy._callback\n"
        "print(*{'pyarrow', 'numpy', 'pandas', 'lark', 'rich', 'matplotlib'} & set(sys.modules))\n"
        "from mlxpy import Reader\n"
        "print(*{'rich', 'matplotlib'} & set(sys.modules), 'pyarrow' in sys.modules)"
    )
    assert output_of(program).splitlines() == ["", "True"]
