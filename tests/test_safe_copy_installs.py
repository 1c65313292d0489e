"""Editable installs, in an environment inside the repository: they are imported from the copy."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from safe_copy import NOT_COPIED, STARTUP, STATES, Repository, package

from mlxpy_core._versioning._restart import import_paths

SETUPTOOLS = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
HATCH = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[tool.hatch.build.targets.wheel]
packages = ["src/by_hatch"]
[tool.hatch.build]
dev-mode-exact = true
"""
PROJECTS = {
    # name: (where its package is, build, further metadata)
    "by_path": (
        "of_by_path/src/by_path",
        SETUPTOOLS,
        "[tool.setuptools.packages.find]\nwhere = ['src']\n",
    ),
    "by_finder": (
        "of_by_finder/code",
        SETUPTOOLS,
        "[tool.setuptools]\npackages=['by_finder']\npackage-dir={by_finder='code'}\n",
    ),
    "by_space": (
        "of_by_space/space/by_space",
        SETUPTOOLS,
        "[tool.setuptools]\npackages=['outer', 'outer.by_space']\npackage-dir={'outer'='space'}\n",
    ),
    "strict": ("of_strict/src/strict", SETUPTOOLS, "[tool.setuptools.packages.find]\nwhere = ['src']\n"),
    "by_hatch": ("of_by_hatch/src/by_hatch", HATCH, ""),
}
MODULES = {name: "outer.by_space" if name == "by_space" else name for name in PROJECTS}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository with an environment, in which its packages are installed to be edited."""
    repository = Repository(tmp_path_factory.mktemp("editable") / "my dev")
    environment = repository.path / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (site,) = environment.glob("lib/python*/site-packages")
    # The build backends and pip, before all other path files.
    (site / "0.pth").write_text(next(path for path in sys.path if path.endswith("site-packages")))
    repository.python = environment / "bin" / "python"
    for name, (folder, build, more) in PROJECTS.items():
        package(repository, str(Path(folder).parent), Path(folder).name)
        repository.write(
            f"of_{name}/pyproject.toml", f"{build}[project]\nname = '{name}'\nversion = '1'\n{more}"
        )

    def install(*arguments: str) -> None:
        pip = [repository.python, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
        subprocess.run([*pip, *arguments], check=True, cwd=repository.path)

    install(*(word for name in PROJECTS if name != "strict" for word in ("-e", f"./of_{name}")))
    install("--config-settings", "editable_mode=strict", "-e", "./of_strict")
    shutil.copytree(STARTUP.parent.parent, site / "mlxpy_core", ignore=NOT_COPIED)
    repository.write("early/early.py", "where = __file__")
    package(repository, "of_links", "linked")
    (site / "linked").symlink_to(repository.path / "of_links" / "linked")
    repository.write("of_links/single.py", "where = __file__")
    (site / "single.py").symlink_to(repository.path / "of_links" / "single.py")
    (site / "early.pth").write_text(f"{repository.path}/early\nimport early\n")
    repository.entries = ast.literal_eval(  # type: ignore[attr-defined] # of this fixture only
        subprocess.check_output([repository.python, "-c", "import sys; print(sys.path)"], text=True)
    )
    (repository.path / "early" / "early.py").write_text("where = __file__")
    repository.commit()
    (repository.path / "early" / "early.py").write_text("where = __file__")
    return repository


@contextmanager
def in_state(repository: Repository, state: str) -> Iterator[None]:
    """Moves the packages of the development tree away for a while, if they are to be deleted."""
    away = repository.path.parent / "away"
    away.mkdir(exist_ok=True)
    names = [f"of_{name}" for name in PROJECTS] if state == "deleted" else []
    for name in names:
        (repository.path / name).rename(away / name)
    try:
        yield
    finally:
        for name in names:
            (away / name).rename(repository.path / name)


@STATES
@pytest.mark.parametrize("name", PROJECTS)
def test_editable_installs(installed: Repository, name: str, state: str) -> None:
    folder = PROJECTS[name][0]
    paths = import_paths(installed.entries, installed.safe_copy)  # type: ignore[attr-defined] # as above
    program = f"import {MODULES[name]}.part as part, sys; print(part.where)"
    with in_state(installed, state):
        for arguments in (["-c", program], ["-m", f"{MODULES[name]}.part"]):
            printed = installed.printed(*arguments, paths=paths)
            assert printed == [str(installed.copy.path / folder / "part.py")]


def test_a_strict_editable_install_needs_to_be_told_where_its_links_lead(installed: Repository) -> None:
    done = installed.in_copy("-c", "import strict", exit_code=1)
    assert "ModuleNotFoundError: No module named 'strict'" in done.stderr
    assert (
        "mlxpy: of_strict/build/__editable__.strict-1-py3-none-any/strict is not in the copy"
        in done.stderr
    )


def test_a_module_that_is_missing_in_an_installed_package_is_hinted_at(installed: Repository) -> None:
    installed.write("of_by_finder/code/fast.py", "")
    done = installed.in_copy("-c", "import by_finder.fast", exit_code=1)
    assert "mlxpy: of_by_finder/code/fast.py is not in the copy" in done.stderr


def test_an_environment_in_the_repository_is_not_moved(installed: Repository) -> None:
    program = (
        "import sys, mlxpy_core, hypothesis; print(mlxpy_core.__file__); print(*sys.path, sep='\\n')"
    )
    file, *path = installed.printed("-c", program)
    (site,) = (installed.path / ".venv").glob("lib/python*/site-packages")
    assert file == str(site / "mlxpy_core" / "__init__.py")
    assert str(site) in path


def test_links_from_an_environment_into_the_repository_are_moved(installed: Repository) -> None:
    program = "import linked.part, single; print(linked.part.where); print(single.where)"
    folder = installed.copy.path / "of_links"
    assert installed.printed("-c", program) == [
        str(folder / "linked" / "part.py"),
        str(folder / "single.py"),
    ]


def test_links_from_an_environment_to_what_is_not_tracked_are_not(installed: Repository) -> None:
    """A cache of packages, as installers keep, may lie in the repository, too."""
    installed.write(".cache/cached.py", "where = __file__")
    (site,) = (installed.path / ".venv").glob("lib/python*/site-packages")
    (site / "cached.py").symlink_to(installed.path / ".cache" / "cached.py")
    assert installed.printed("-c", "import cached; print(cached.where)") == [str(site / "cached.py")]


def test_what_a_path_file_imported_is_imported_again(installed: Repository) -> None:
    for program in ("import early; print(early.where)", "from early import where; print(where)"):
        assert installed.printed("-c", program) == [str(installed.copy.path / "early" / "early.py")]
