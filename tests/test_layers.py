"""The layers of DESIGN.md section 1: faces import the engine, never the other way."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
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


# The faces.

PACKAGES = ("hydra_plugins/mlxpy", "mlxpy")
FACES = sorted(path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py"))
HYDRAS = REPOSITORY / "hydra_plugins" / "mlxpy" / "_hydra.py"
OF_HYDRA = ("hydra", "omegaconf")

# What the faces take from the engine although it is not public, and why.
TAKEN_FROM_THE_ENGINE = {
    name: reason
    for reason, names in {
        "submits a sweep, and waits for it": (
            "Grouping Job LocalScheduler ScriptOptions find_scheduler print_plan run_names settle submit_jobs "
            "wait_for_runs"
        ),
        "a job is a run, and a run may be a job": "next_run_directory place_run",
        "a launcher that waits returns what the task did": "Outcome keep_outcome kept_outcome",
        "skip_completed compares configs": "completed_runs config_key",
        "freeze_config copies the config files": "frozen_configs",
        "code is copied before Hydra composes a config, and jobs run the copy": (
            "current_copy find_version_manager job_environment original_place record_launch recorded_launch "
            "restart runs_from_copy"
        ),
    }.items()
    for name in names.split()
}


def relative(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


def imported_names(path: Path) -> Iterator[tuple[str, str | None]]:
    """Lists each import anywhere in a file, as an absolute module and a name of it, if any."""
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package.pop()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((module, alias.name) for alias in node.names)


def files_imported(path: Path, modules: dict[str, Path]) -> set[Path]:
    """Lists the files of the faces that a file imports, without the packages in which it lies."""
    found = set()
    for module, name in imported_names(path):
        imported = modules.get(f"{module}.{name}") or modules.get(module)
        if imported and not (imported.name == "__init__.py" and path.is_relative_to(imported.parent)):
            found.add(imported)
    return found


def test_no_files_of_the_faces_import_each_other_in_a_circle() -> None:
    modules = {module_name(path): path for path in FACES}
    graph = {path: files_imported(path, modules) for path in FACES}
    assert graph[HYDRAS.with_name("_callback.py")] >= {HYDRAS}
    TopologicalSorter(graph).prepare()


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("_")


def test_the_faces_take_from_the_engine_what_is_public_or_listed() -> None:
    taken = set()
    for path in FACES:
        for module, name in imported_names(path):
            parts = [*module.split("."), *([name] if name else [])]
            if parts[0] == "mlxpy_core" and any(map(is_private, parts)):
                taken.add(parts[-1])
    assert taken == set(TAKEN_FROM_THE_ENGINE)


def private_uses(code: str) -> list[str]:
    """Lists what a module uses of Hydra and OmegaConf that is not public, or depends on their versions.

    An attribute with an underscore counts whosesoever it is, but for those of ``self``: most are of nodes.
    """
    tree, found = ast.parse(code), []
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = node.module if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                parts = f"{module}.{alias.name}".strip(".").split(".")
                if parts[0] in OF_HYDRA and not (isinstance(node, ast.ImportFrom) and node.level):
                    imported.add(alias.asname or alias.name.split(".")[0])
                    if any(map(is_private, parts)):
                        found.append(".".join(parts))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            base = ast.unparse(node.value)
            own = base in ("self", "cls")
            replaced = isinstance(node.ctx, ast.Store) and base.split(".")[0] in imported
            if (
                ((is_private(node.attr) or node.attr == "__dict__") and not own)
                or replaced
                or (node.attr == "__version__" and base in imported)
            ):
                found.append(ast.unparse(node))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.search(rf"\b({'|'.join(OF_HYDRA)})(\.\w+)*\._[a-z]", node.value):
                found.append(node.value)
        elif isinstance(node, ast.Call):
            found += [one.arg for one in node.keywords if one.arg and is_private(one.arg)]
            if ast.unparse(node.func) in ("getattr", "setattr", "hasattr", "delattr"):
                names = [one.value for one in node.args[1:2] if isinstance(one, ast.Constant)]
                found += [str(name) for name in names if is_private(str(name))]
    return found


@pytest.mark.parametrize(
    "code",
    [
        "from hydra._internal.utils import get_args_parser",
        "import hydra._internal.utils as utils",
        "from omegaconf._utils import get_value_kind",
        "from omegaconf import _utils",
        "target = 'hydra._internal.core_plugins.basic_sweeper.BasicSweeper'",
        "config._get_node('x')",
        "config.a.b._metadata",
        "getattr(loader, '_check', None)",
        "vars = node.__dict__",
        "replace(override, _value=1)",
        "import hydra.core.utils as utils\nutils.env_override = None",
        "import hydra\nhydra.core.utils.run_job = None",
        "import hydra\nhydra.__version__ == '1.3.2'",
    ],
)
def test_private_uses_are_seen(code: str) -> None:
    assert private_uses(code)


@pytest.mark.parametrize("path", FACES, ids=relative)
def test_one_file_has_the_private_names_of_hydra(path: Path) -> None:
    if path == HYDRAS:
        assert private_uses(path.read_text())
        return
    allowed = {"os.environ._data"}  # Python's
    assert set(private_uses(path.read_text())) <= allowed


def test_hydras_scan_imports_nothing_of_the_folders() -> None:
    for folder in (path.parent for path in FACES if path.name == "__init__.py"):
        if folder not in [REPOSITORY / package for package in PACKAGES]:
            assert folder.name.startswith("_")
            assert not (folder / "__init__.py").read_bytes()
            assert all(path.name.startswith("_") for path in folder.iterdir())
    program = (
        "import sys; from hydra.core.plugins import Plugins; Plugins.instance()\n"
        "print(*[name for name in sys.modules if name.startswith('hydra_plugins.mlxpy.')])"
    )
    loaded = {name.removeprefix("hydra_plugins.mlxpy.") for name in output_of(program).split()}
    assert loaded == {"_composing", "_launching", "config_source", "launcher"}
