"""The floors of docs/architecture.md: faces import the engine, never the other way."""

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import REPOSITORY

ENGINE = sorted((REPOSITORY / "mlxpy_core").rglob("*.py"))
PLUGINS = sorted((REPOSITORY / "hydra_plugins" / "mlxpy").rglob("*.py"))
SCANNED = [path for path in PLUGINS if not path.name.startswith("_") or path.name == "__init__.py"]


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imported_packages(path: Path, *, at_import: bool = False) -> Iterator[str]:
    """Lists the top-level packages that a module imports (when it is itself imported)."""
    tree = parsed(path)
    for node in tree.body if at_import else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield str(node.module).split(".")[0]


def test_the_engine_knows_no_face_and_no_hydra() -> None:
    for path in ENGINE:
        assert not {"hydra", "hydra_plugins", "mlxpy"} & set(imported_packages(path)), path


def test_the_plugins_do_not_import_the_tutorials_face() -> None:
    for path in PLUGINS:
        assert "mlxpy" not in set(imported_packages(path)), path


def test_what_every_hydra_app_imports_needs_nothing_but_hydra() -> None:
    allowed = {*sys.stdlib_module_names, "hydra", "omegaconf"}
    for path in SCANNED:
        assert set(imported_packages(path, at_import=True)) <= allowed, path


def output_of(program: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_an_app_that_does_not_use_mlxpy_does_not_load_its_engine() -> None:
    program = (
        "import sys; from hydra.core.plugins import Plugins; Plugins.instance()\n"
        "print(*[name for name in sys.modules if name.split('.')[0] in ('mlxpy', 'mlxpy_core', 'submitit')])\n"
        "print('hydra_plugins.mlxpy.config_source' in sys.modules)"
    )
    assert output_of(program).split() == ["True"]


def test_a_program_that_trains_does_not_wait_for_the_reader() -> None:
    program = (
        "import sys, mlxpy, hydra_plugins.mlxpy._callback\n"
        "later = {'pyarrow', 'numpy', 'pandas', 'lark', 'rich', 'matplotlib', 'submitit'}\n"
        "print(*later & set(sys.modules))\n"
        "from mlxpy import Reader\n"
        "print(*{'rich', 'matplotlib'} & set(sys.modules), 'pyarrow' in sys.modules)"
    )
    assert output_of(program).splitlines() == ["", "True"]


# The floors of the engine, from the ground up; those of one row stand beside each other.
FLOORS = (
    ("_errors",),
    ("_io",),
    ("_runs",),
    ("_plugins",),
    ("_scheduling", "_versioning"),
    ("_tracking",),
    ("_operations",),
    ("_search",),
    ("_reading",),
    ("_report", "_top"),
    ("_cli",),
)
LEVELS = {floor: level for level, row in enumerate(FLOORS) for floor in row}
# Old pickles name them; they stand outside of the floors.
ALIASES = {"mlxpy_core._info", "mlxpy_core._outcome"}
PACKAGES = ("mlxpy_core", "hydra_plugins", "mlxpy")
MODULES = {
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((REPOSITORY / package).rglob("*.py"))
}


def imported_modules(module: str) -> set[str]:
    """Lists the project's modules that one imports, anywhere in it: under TYPE_CHECKING and in functions, too.

    ``from package import name`` imports ``package.name`` where that is a module, else the package; a package
    that the module lies in is not counted.
    """
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join(filter(None, [*above, node.module]))
            names = {f"{base}.{alias.name}" for alias in node.names}
            found.update(name if name in MODULES else base for name in names)
    return {
        name for name in found & MODULES.keys() if name != module and not module.startswith(f"{name}.")
    }


@functools.cache
def imports() -> dict[str, set[str]]:
    return {module: imported_modules(module) for module in MODULES}


def circles(imports: dict[str, set[str]]) -> list[set[str]]:
    """Lists the groups of modules each of which imports, in the end, all others of its group."""
    reached = {module: set(targets) for module, targets in imports.items()}
    for through in imports:
        for targets in reached.values():
            if through in targets:
                targets |= reached[through]
    groups = {frozenset(b for b in reached[a] if a in reached[b]) for a in reached if a in reached[a]}
    return [set(group) for group in groups]


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [{"b", "c"}]


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circles(imports()) == []


def floor_of(module: str) -> str:
    return module.split(".")[1]


ENGINE_MODULES = sorted(
    name for name in MODULES if name.startswith("mlxpy_core.") and name not in ALIASES
)


def test_a_floor_imports_only_from_floors_below() -> None:
    for module in ENGINE_MODULES:
        own = floor_of(module)
        others = {name for name in imports()[module] if floor_of(name) != own}
        assert {name for name in others if LEVELS[floor_of(name)] >= LEVELS[own]} == set(), module


# What a face takes from the engine besides its public names, each for a reason.
PRIVATE_NAMES: dict[str, str] = {}


def test_faces_take_public_names_from_the_engine() -> None:
    private = {
        f"{module}: {name}"
        for module, targets in imports().items()
        if not module.startswith("mlxpy_core")
        for name in targets
        if name.startswith("mlxpy_core.")
    }
    assert private == set(PRIVATE_NAMES)


def test_only_one_module_opens_info_yaml() -> None:
    door = REPOSITORY / "mlxpy_core" / "_runs" / "_info_file.py"
    naming = {
        str(path.relative_to(REPOSITORY))
        for path in MODULES.values()
        if path != door
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Constant) and re.search(r"(^|/)info\.yaml$", str(node.value))
    }
    assert naming == set()


# The faces.

FACES = sorted(path for name, path in MODULES.items() if not name.startswith("mlxpy_core"))
HYDRAS = REPOSITORY / "hydra_plugins" / "mlxpy" / "_hydra.py"
OF_HYDRA = ("hydra", "omegaconf")


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("_")


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


def test_one_file_has_the_private_names_of_hydra() -> None:
    assert private_uses(HYDRAS.read_text())
    allowed = {"os.environ._data", "os._exit"}  # Python's
    for path in FACES:
        assert path == HYDRAS or set(private_uses(path.read_text())) <= allowed, path


PRIVATE_OF_OMEGACONF = re.compile(
    r"\._(get_node|value|is_interpolation|is_none|is_missing|resolvers|metadata|parent|content|set_value)\b"
)


def test_one_file_of_the_engine_has_the_private_names_of_omegaconf() -> None:
    for path in ENGINE:
        text = path.read_text()
        if path.name != "_omegaconf.py" and "omegaconf" in text:
            assert not PRIVATE_OF_OMEGACONF.findall(text), path


def test_hydras_scan_imports_nothing_of_the_folders() -> None:
    for folder in (path.parent for path in FACES if path.name == "__init__.py"):
        if "hydra_plugins" in folder.parts and folder.name != "mlxpy":
            assert folder.name.startswith("_")
            assert not (folder / "__init__.py").read_bytes()
            assert all(path.name.startswith("_") for path in folder.iterdir())
    program = (
        "import sys; from hydra.core.plugins import Plugins; Plugins.instance()\n"
        "print(*[name for name in sys.modules if name.startswith('hydra_plugins.mlxpy.')])"
    )
    loaded = {name.removeprefix("hydra_plugins.mlxpy.") for name in output_of(program).split()}
    assert loaded == {"_composing", "_launching", "_searching", "config_source", "launcher", "sweeper"}


def test_a_launcher_imports_no_reader() -> None:
    """Which would take half a second of each sweep."""
    program = (
        "import sys; import hydra_plugins.mlxpy._launching._submit\n"
        "print(*[name for name in sys.modules if name in ('pyarrow', 'numpy', 'mlxpy_core._reading')])"
    )
    assert not output_of(program).split()
