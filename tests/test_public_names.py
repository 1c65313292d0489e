"""What a user imports from ``mlxpy``, and what that costs."""

import ast
import builtins
import configparser
import contextlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution
from pathlib import Path

import pytest
from conftest import MLXPY, REPOSITORY

import mlxpy
import mlxpy_core

HEAVY = ("hydra", "omegaconf", "pyarrow", "pandas", "numpy", "pluggy")


def output_of(program: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def docstrings(name: str) -> Iterator[str]:
    """Lists the docstrings of a public object and, of a class, of its public members."""
    public = getattr(mlxpy, name)
    yield inspect.getdoc(public) or ""
    if inspect.isclass(public):
        for member, value in inspect.getmembers(public):
            if not member.startswith("_"):
                yield inspect.getdoc(value) or ""


def raised(docstring: str) -> set[str]:
    """Lists the exceptions of the section "Raises"."""
    section = re.search(r"^Raises:\n((?:    .*\n?)+)", docstring, re.MULTILINE)
    return set(re.findall(r"^    (\w+):", section[1], re.MULTILINE)) if section else set()


def test_every_public_name_can_be_imported() -> None:
    assert set(mlxpy.__all__) <= set(dir(mlxpy))
    for name in mlxpy.__all__:
        exec(f"from mlxpy import {name}")
    with pytest.raises(AttributeError, match="module 'mlxpy' has no attribute 'nothing'"):
        mlxpy.nothing  # noqa: B018  # looking is what is tested


def test_what_docstrings_say_is_raised_can_be_imported_from_mlxpy() -> None:
    names = {
        error for name in mlxpy.__all__ for docstring in docstrings(name) for error in raised(docstring)
    }
    promised = names - set(dir(builtins))
    assert promised >= {"MlxpyError", "QueryError", "StorageError", "SubmissionError"}
    assert promised <= set(mlxpy.__all__)


def test_every_error_of_the_engine_can_be_imported_from_mlxpy() -> None:
    public = {}
    tree = ast.walk(ast.parse(inspect.getsource(mlxpy_core)))
    imports = [node for node in tree if isinstance(node, ast.ImportFrom) and node.level]
    for name in (alias.name for node in imports for alias in node.names):
        with contextlib.suppress(ImportError):  # an extra is not installed, or too old
            public[name] = getattr(mlxpy_core, name)
    errors = {
        name for name, value in public.items() if inspect.isclass(value) and issubclass(value, Exception)
    }
    assert "RunEndedError" in errors
    assert errors <= set(mlxpy.__all__)


def test_what_the_documentation_names_can_be_imported_from_mlxpy() -> None:
    texts = [
        path.read_text() for path in (REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md"))
    ]
    named = {name for text in texts for name in re.findall(r"\bmlxpy\.([A-Z]\w+)", text)}
    assert "Reader" in named
    assert named <= set(mlxpy.__all__)


def test_a_program_without_hydra_imports_neither_hydra_nor_the_reader() -> None:
    program = f"import sys, mlxpy; print(*set({HEAVY}) & set(sys.modules))"
    assert output_of(program).split() == []


def test_a_run_is_logged_where_hydra_and_the_reader_cannot_be_imported(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules.update(dict.fromkeys(['hydra', 'pyarrow', 'pandas']))\n"
        "import mlxpy\n"
        f"with mlxpy.Logger({str(tmp_path)!r}, config={{'lr': 1}}) as logger:\n"
        "    logger.log_metrics({'loss': 0.5}, 'train')\n"
    )
    output_of(program)
    assert (tmp_path / "1/metrics/train.json").read_text() == '{"loss": 0.5}\n'


@pytest.mark.parametrize("name", ["launch", "Context"])
def test_hydra_is_imported_when_its_names_are_asked_for(name: str) -> None:
    program = f"import sys, mlxpy; mlxpy.{name}; print('omegaconf' in sys.modules)"
    assert output_of(program).split() == ["True"]


def test_the_version_is_that_of_the_distribution() -> None:
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    # Taken from the metadata that was built, not from the file that it was built from.
    assert mlxpy.__version__ == Distribution.from_name("mlxpy").version == setup["metadata"]["version"]
    told = subprocess.run([MLXPY, "--version"], capture_output=True, text=True, check=True).stdout
    assert told.split()[-1] == mlxpy.__version__


def test_the_version_stands_in_one_file() -> None:
    version = re.compile(rf"version.*[\"' =]{re.escape(mlxpy.__version__)}\b", re.IGNORECASE)
    packages = [REPOSITORY / name for name in ("mlxpy", "mlxpy_core", "hydra_plugins")]
    files = [path for package in packages for path in package.rglob("*.py")]
    files += [REPOSITORY / name for name in ("setup.cfg", "pyproject.toml")]
    assert [path.name for path in files if version.search(path.read_text())] == ["setup.cfg"]
