"""Programs that run from a copy of a repository import from the copy, whatever became of the repository."""

import ast
import json
import os
import py_compile
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, Project
from hypothesis import given
from hypothesis import strategies as st

from mlxpy_core._versioning._restart import import_paths
from mlxpy_core._versioning._startup import sitecustomize
from mlxpy_core._versioning._startup.sitecustomize import SafeCopy, hint, moved

STARTUP = Path(str(sitecustomize.__file__)).parent  # of the package as it is installed
NOT_COPIED = shutil.ignore_patterns(".workdir", ".venv", "build", "*.egg-info", "__pycache__")


class Repository(Project):
    """A development tree, and a copy of what it held once."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        path.mkdir()
        self.copy = Project(path / ".workdir" / path.name / "0abc")
        self.python = Path(sys.executable)

    def commit(self) -> None:
        """Makes the copy; from now on every module of the development tree can be told from the copy's."""
        shutil.copytree(self.path, self.copy.path, ignore=NOT_COPIED, symlinks=True)
        for module in self.path.rglob("*.py"):
            if not {".workdir", ".venv", "build"} & set(module.relative_to(self.path).parts):
                module.write_text(f"raise RuntimeError('{module.name} of the development tree')")

    def delete(self) -> None:
        """Deletes the development tree but the copy and the environment."""
        for path in self.path.iterdir():
            if path.name not in (".workdir", ".venv"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    @property
    def variable(self) -> dict[str, Any]:
        return {"repository": str(self.path), "copy": str(self.copy.path), "names": [], "later": 1}

    def in_copy(
        self,
        *arguments: str,
        pythonpath: tuple[Path | str, ...] = (),
        names: Any = (),
        paths: Any = (),
        **options: Any,
    ) -> Any:
        """Runs ``python arguments...`` in the copy."""
        variable = {**self.variable, "names": [*map(str, names)], "paths": [*map(str, paths)]}
        environment = {
            "MLXPY_SAFE_COPY": json.dumps(variable),
            "PYTHONPATH": os.pathsep.join(map(str, (STARTUP, *pythonpath))),
            **options.pop("env", {}),
        }
        command = [self.python, *arguments]
        exit_code = options.pop("exit_code", 0)
        options = {"cwd": self.copy.path, **options}
        done = subprocess.run(
            command,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            **options,
        )
        assert exit_code is None or done.returncode == exit_code, done.stdout + done.stderr
        return done

    def printed(self, *arguments: str, **options: Any) -> list[str]:
        done = self.in_copy(*arguments, **options)
        assert not done.stderr, done.stderr
        return str(done.stdout).splitlines()

    @property
    def safe_copy(self) -> SafeCopy:
        return SafeCopy(str(self.path), str(self.copy.path))


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "my dev")


def package(repository: Repository, folder: str = ".", name: str = "pkg") -> None:
    """Writes a package whose parts say where they are from."""
    repository.write(f"{folder}/{name}/__init__.py", "")
    repository.write(
        f"{folder}/{name}/part.py", "where = __file__\nif __name__ == '__main__': print(where)"
    )


IMPORT = "import pkg.part; print(pkg.part.where)"
STATES = pytest.mark.parametrize("state", ["edited", "deleted"])

# Where a path of the development tree is in the copy.

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1)
RELATIVE = st.lists(
    NAMES.filter(lambda name: name not in (".", "..", "site-packages", "dist-packages")), max_size=4
)


@given(RELATIVE, st.sampled_from(["/dev of/me", "/other/name"]))
def test_a_path_in_the_repository_has_one_place_in_the_copy(parts: list[str], name: str) -> None:
    copy = SafeCopy("/dev of/me", "/dev of/me/.workdir/me/0abc", ["/other/name"])
    if parts[:3] == [".workdir", "me", "0abc"]:
        return
    place = moved(os.path.join(name, *parts), copy)
    assert place == os.path.join("/dev of/me/.workdir/me/0abc", *parts)
    assert moved(place, copy) is None
    assert os.path.relpath(place, copy.copy) == os.path.join(*(parts or "."))
    assert moved(os.path.join("/other/name", os.path.relpath(place, "/dev of/me")), copy) is None


@given(RELATIVE)
def test_a_python_within_the_repository_is_not_moved(parts: list[str]) -> None:
    for prefix in {sys.prefix, sys.exec_prefix, sys.base_prefix}:
        copy = SafeCopy(os.path.dirname(prefix), "/elsewhere", ["/other/name"])
        assert moved(os.path.join(prefix, *parts), copy) is None
        assert moved(os.path.join("/other/name", os.path.basename(prefix), *parts), copy) is None
        other = SafeCopy("/dev", "/elsewhere", [os.path.dirname(prefix)])
        assert moved(os.path.join("/dev", os.path.basename(prefix), *parts), other) is None
        assert moved(prefix + "-not", copy) == f"/elsewhere/{os.path.basename(prefix)}-not"
    copy = SafeCopy("/dev", "/dev/copy")
    assert moved(os.path.join("/dev/env/lib/python3/site-packages", *parts), copy) is None


@given(RELATIVE)
def test_a_path_outside_the_repository_is_not_moved(parts: list[str]) -> None:
    copy = SafeCopy("/dev", "/dev/copy")
    for path in ("/development", "dev", "", "/dev/../development"):
        assert moved(os.path.join(path, *parts), copy) is None


def test_a_repository_within_pythons_prefix_is_moved() -> None:
    copy = SafeCopy(f"{sys.base_prefix}/src/app", "/copy")
    assert moved(f"{sys.base_prefix}/src/app/pkg", copy) == "/copy/pkg"
    assert moved(f"{sys.base_prefix}/src/../src/app", copy) == "/copy"


def test_a_link_to_the_repository_is_moved_though_it_leads_nowhere(
    repository: Repository, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(repository.path)
    (tmp_path / "far").symlink_to(repository.path / "src")
    by_link = SafeCopy(str(tmp_path / "link"), str(repository.copy.path))
    assert moved(f"{repository.path}/src", by_link) == f"{repository.copy.path}/src"
    repository.path.rmdir()
    copy = repository.safe_copy
    assert moved(f"{tmp_path}/link/src", copy) == f"{copy.copy}/src"
    assert moved(f"{tmp_path}/far/pkg", copy) == f"{copy.copy}/src/pkg"
    assert moved(f"{tmp_path}/link/.workdir/my dev/0abc/src", copy) is None


def test_the_engine_imports_it_without_effect() -> None:
    assert sitecustomize.__name__ == "mlxpy_core._versioning._startup.sitecustomize"
    program = (
        "import sys; before = sys.meta_path[:]; import mlxpy_core._versioning._startup.sitecustomize\n"
    )
    program += "print(sys.meta_path == before, sys.excepthook is sys.__excepthook__)"
    environment = {**os.environ, "MLXPY_SAFE_COPY": '{"repository": "/x", "copy": "/y"}'}
    command = [sys.executable, "-c", program]
    assert subprocess.check_output(command, env=environment, text=True, cwd=REPOSITORY).split() == [
        "True",
        "True",
    ]


@pytest.mark.long  # noxfile.py compares all that is in the wheel with what is tracked
def test_a_wheel_holds_it(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("mlxpy_core", "mlxpy", "hydra_plugins"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=NOT_COPIED)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    build = ["-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", tmp_path, source]
    subprocess.run([sys.executable, *build], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert "mlxpy_core/_versioning/_startup/sitecustomize.py" in zipfile.ZipFile(wheel).namelist()


# PYTHONPATH


@pytest.mark.smoke
@pytest.mark.smoke_long(".")
@STATES
@pytest.mark.parametrize("layout", ["src", "."])
def test_pythonpath_into_the_repository(repository: Repository, state: str, layout: str) -> None:
    package(repository, layout)
    repository.commit()
    if state == "deleted":
        repository.delete()
    printed = repository.printed(
        "-c", IMPORT, pythonpath=["/before", repository.path / layout, "/after"]
    )
    assert printed == [str(repository.copy.path / layout / "pkg" / "part.py")]
    show = "import sys; print(sys.path[2:5])"
    assert ast.literal_eval(
        repository.printed("-c", show, pythonpath=["/before", repository.path / "src", "/after"])[0]
    ) == ["/before", str(repository.copy.path / "src"), "/after"]


def test_folders_of_the_copy_are_added_if_they_are_missing(repository: Repository) -> None:
    repository.commit()
    paths = [repository.copy.path / name for name in ("src", "lib")]
    program = "import sys; print(*sys.path, sep='\\n')"
    printed = repository.printed("-c", program, pythonpath=[repository.path / "src"], paths=paths)
    assert [printed.index(str(path)) for path in paths] == [2, len(printed) - 1]
    assert printed.count(str(paths[0])) == 1


@pytest.mark.smoke
@pytest.mark.parametrize(
    "arguments", [["main.py"], ["-m", "main"], ["-m", "pkg.part"], ["-c", IMPORT]], ids=" ".join
)
def test_every_way_to_start_a_program(repository: Repository, arguments: list[str]) -> None:
    package(repository)
    repository.write("main.py", IMPORT)
    repository.commit()
    expected = str(repository.copy.path / "pkg" / "part.py")
    assert repository.printed(*arguments, pythonpath=[repository.path]) == [expected]
    assert repository.printed(*arguments) == [expected]


@STATES
def test_pythonpath_through_links_and_other_names(
    repository: Repository, tmp_path: Path, state: str
) -> None:
    package(repository, "src")
    repository.commit()
    (tmp_path / "link").symlink_to(repository.path)
    if state == "deleted":
        repository.delete()
    expected = [str(repository.copy.path / "src" / "pkg" / "part.py")]
    assert repository.printed("-c", IMPORT, pythonpath=[tmp_path / "link" / "src"]) == expected
    # A mount that is not there any more.
    assert repository.printed("-c", IMPORT, pythonpath=["/gone/src"], names=["/gone"]) == expected


def test_children_import_from_the_copy_too(repository: Repository) -> None:
    package(repository, "src")
    repository.write(
        "main.py",
        """
        import multiprocessing, subprocess, sys
        def where(_):
            import pkg.part
            return pkg.part.where
        if __name__ == "__main__":
            subprocess.run([sys.executable, "-c", "import pkg.part; print(pkg.part.where)"], check=True, cwd="/")
            for method in ("spawn", "forkserver"):
                with multiprocessing.get_context(method).Pool(1) as pool:
                    print(*pool.map(where, [1]), flush=True)
        """,
    )
    repository.commit()
    printed = repository.printed("main.py", pythonpath=[repository.path / "src"])
    assert printed == [str(repository.copy.path / "src" / "pkg" / "part.py")] * 3


def test_an_archive_on_pythonpath(repository: Repository) -> None:
    for text in ("'copy'", "'dev'"):
        with zipfile.ZipFile(repository.path / "lib.zip", "w") as archive:
            archive.writestr("pkg/__init__.py", "")
            archive.writestr("pkg/part.py", f"where = {text}")
        if text == "'copy'":
            repository.commit()
    assert repository.printed("-c", IMPORT, pythonpath=[repository.path / "lib.zip"]) == ["copy"]


@STATES
def test_what_a_program_puts_on_its_path(repository: Repository, state: str) -> None:
    package(repository, "src")
    repository.commit()
    if state == "deleted":
        repository.delete()
    source = str(repository.path / "src")
    program = f"import sys; sys.path.insert(0, {source!r}); {IMPORT}; sys.path.remove({source!r})"
    assert repository.printed("-c", program) == [str(repository.copy.path / "src" / "pkg" / "part.py")]


def test_a_program_that_goes_to_the_repository_and_on(repository: Repository, tmp_path: Path) -> None:
    package(repository)
    repository.commit()
    (tmp_path / "other.py").touch()
    program = f"import os; os.chdir({str(repository.path)!r}); {IMPORT}; os.chdir('..'); import other"
    assert repository.printed("-c", program) == [str(repository.copy.path / "pkg" / "part.py")]


@pytest.mark.parametrize("kind", ["package", "namespace"])
def test_a_repository_that_is_a_package_itself(tmp_path: Path, kind: str) -> None:
    repository = Repository(tmp_path / "pkg")
    repository.write("part.py", "where = __file__")
    if kind == "package":
        repository.write("__init__.py", "")
    repository.commit()
    printed = repository.printed("-c", f"{IMPORT}; print(*pkg.__path__)", pythonpath=[tmp_path])
    assert printed == [str(repository.copy.path / "part.py"), str(repository.copy.path)]


def test_what_looks_at_modules_sees_the_copys(repository: Repository, tmp_path: Path) -> None:
    for folder, name in (("src", "pkg"), ("src", "space/inner")):
        package(repository, folder, name)
        repository.write(f"{folder}/{name}/data.txt", "from the copy")
    repository.commit()
    for data in repository.path.glob("src/**/data.txt"):
        data.write_text("from the development tree")
    program = f"""
import importlib, importlib.resources, importlib.util, inspect, pkgutil, sys
sys.path.append({str(repository.path / "src")!r})
import pkg.part, space.inner.part
for one in ("pkg", "space.inner"):
    print((importlib.resources.files(one) / "data.txt").read_text())
    print([module.name for module in pkgutil.iter_modules(sys.modules[one].__path__)])
print(len(list(importlib.resources.files("space").iterdir())))
importlib.invalidate_caches()
pkg.part.where = None
print(importlib.reload(pkg.part).where, inspect.getsourcefile(pkg.part))
print(importlib.util.find_spec("pkg.part").origin, importlib.util.find_spec("nothing"))
"""
    part = str(repository.copy.path / "src" / "pkg" / "part.py")
    assert repository.printed("-c", program) == [
        *["from the copy", "['part']"] * 2,
        "1",
        f"{part} {part}",
        f"{part} None",
    ]


def test_pytest_rewrites_the_copys_tests(repository: Repository) -> None:
    package(repository, "src")
    repository.write(
        "tests/test_it.py",
        """
        from pkg.part import where
        def test_where(): assert where == 1
        """,
    )
    repository.commit()
    arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    done = repository.in_copy(*arguments, pythonpath=[repository.path / "src"], exit_code=1)
    assert f"assert '{repository.copy.path}/src/pkg/part.py' == 1" in done.stdout


# What the copy has not


@pytest.mark.parametrize("kind", ["module", "bytecode", "package", "namespace"])
def test_a_module_that_is_not_tracked_is_not_found(repository: Repository, kind: str) -> None:
    package(repository, "src")
    repository.commit()
    new = {
        "module": "fast.py",
        "bytecode": "x.py",
        "package": "fast/__init__.py",
        "namespace": "fast/x.py",
    }[kind]
    path = repository.write(f"src/{new}", "print('the development tree')")
    if kind == "bytecode":
        py_compile.compile(str(path), str(path.with_name("fast.pyc")))
    source = repository.path / "src"
    for program in ("import fast", f"import sys; sys.path.insert(0, {str(source)!r}); import fast"):
        done = repository.in_copy("-c", program, pythonpath=[source], exit_code=1)
        lines = done.stderr.splitlines()
        assert lines[-2] == "ModuleNotFoundError: No module named 'fast'"
        assert lines[-1].startswith("mlxpy: src/fast")
        assert lines[-1].endswith(
            "link=[src/fast" + {"module": ".py]", "bytecode": ".pyc]"}.get(kind, "]")
        )
        assert not done.stdout


def test_no_finder_finds_what_the_copy_has_not(repository: Repository, tmp_path: Path) -> None:
    repository.write("odd/here.py", "where = __file__")
    repository.commit()
    repository.write("odd/fast.py", "print('the development tree')")
    finder = f"""
    import importlib.util, sys
    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name in ("here", "fast"):
                return importlib.util.spec_from_file_location(name, f"{repository.path}/odd/{{name}}.py")
            if name == "void":
                spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
                spec.submodule_search_locations = [{str(repository.path / "void")!r}]
                return spec
    sys.meta_path += [Finder, Finder()]
    """
    Project(tmp_path / "other").write("sitecustomize.py", finder)
    for name in ("fast", "void"):
        program = f"import here; print(here.where); import {name}"
        done = repository.in_copy("-c", program, pythonpath=[tmp_path / "other"], exit_code=1)
        assert done.stdout == f"{repository.copy.path}/odd/here.py\n"
        assert done.stderr.endswith(f"ModuleNotFoundError: No module named '{name}'\n")


def test_an_extension_that_is_not_tracked_is_not_found(repository: Repository) -> None:
    package(repository, "src")
    repository.write("src/pkg/user.py", "from . import fast")
    repository.commit()
    suffix = sitecustomize_suffix()
    (repository.path / "src" / "pkg" / f"fast{suffix}").write_bytes(b"")
    for program in ("import pkg.user", "from pkg import fast", "import pkg.fast"):
        done = repository.in_copy("-c", program, pythonpath=[repository.path / "src"], exit_code=1)
        assert f"mlxpy: src/pkg/fast{suffix} is not in the copy of the repository" in done.stderr


def sitecustomize_suffix() -> str:
    from importlib.machinery import EXTENSION_SUFFIXES

    return EXTENSION_SUFFIXES[0]


@pytest.mark.parametrize(
    ("program", "missing", "link"),
    [
        ("open('data/a b/x.csv')", "data/a b/x.csv", "data"),
        ("open(os.path.abspath('data/a b/x.csv'))", "data/a b/x.csv", "data"),
        ("pathlib.Path('sub/x.csv').read_text()", "sub/x.csv", "sub/x.csv"),
        ("os.chdir('sub'); open(b'x.csv')", "sub/x.csv", "sub/x.csv"),
        ("open('data/new.csv', 'w')", "data", "data"),
        ("os.listdir('my data')", "my data", "'my data'"),
    ],
)
def test_a_file_that_is_not_tracked_is_hinted_at(
    repository: Repository, program: str, missing: str, link: str
) -> None:
    repository.write("sub/tracked", "")
    repository.commit()
    for name in ("data/a b/x.csv", "sub/x.csv", "my data/x"):
        repository.write(name, "")
    done = repository.in_copy("-c", f"import os, pathlib; {program}", exit_code=1)
    error, sentence = done.stderr.splitlines()[-2:]
    assert error.startswith("FileNotFoundError")
    assert sentence == (
        f"mlxpy: {missing} is not in the copy of the repository that this program runs from, because git does "
        f"not track it; it is in {repository.path}/{missing}: commit it, or link it into the copy with link=[{link}]"
    )


@pytest.mark.parametrize(
    "program",
    [
        "open('nowhere')",
        "open('/nowhere/x')",
        "import nowhere",
        "import os; os.chdir('/'); open('data/x')",
        "1 / 0",
    ],
)
def test_other_errors_have_no_hint(repository: Repository, program: str) -> None:
    repository.write("src/pkg/__init__.py", "")
    repository.commit()
    repository.write("data/x", "")
    done = repository.in_copy("-c", program, pythonpath=[repository.path / "build"], exit_code=1)
    assert "Error" in done.stderr
    assert "mlxpy" not in done.stderr


def test_the_engine_asks_for_a_hint(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    repository.commit()
    repository.write("data.csv", "")
    monkeypatch.chdir(repository.copy.path)
    error = FileNotFoundError(2, "No such file", "data.csv")
    assert "link=[data.csv]" in str(hint(error, repository.safe_copy))
    (repository.path.parent / "link").symlink_to(repository.path)
    by_link = repository.path.parent / "link" / repository.copy.path.relative_to(repository.path)
    assert "link=[data.csv]" in str(hint(error, SafeCopy(str(repository.path), str(by_link))))
    gone = repository.copy.path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert hint(error, repository.safe_copy) is None


def test_the_hint_keeps_other_hooks(repository: Repository, tmp_path: Path) -> None:
    repository.commit()
    repository.write("data.csv", "")
    site = Project(tmp_path / "site")
    site.write(
        "sitecustomize.py",
        "import sys; sys.excepthook = lambda *error: print('before', file=sys.stderr)",
    )
    done = repository.in_copy("-c", "open('data.csv')", pythonpath=[site.path], exit_code=1)
    assert done.stderr.startswith("before\nmlxpy: data.csv is not in the copy")
    program = (
        "import sys; sys.excepthook = lambda *error: print('after', file=sys.stderr); open('data.csv')"
    )
    assert repository.in_copy("-c", program, pythonpath=[site.path], exit_code=1).stderr == "after\n"


# Other sitecustomize modules


def test_another_sitecustomize_is_run(repository: Repository, tmp_path: Path) -> None:
    other = Project(tmp_path / "other")
    other.write(
        "sitecustomize.py",
        "import sys; print(__name__, __file__, sys.modules[__name__].__spec__.origin)",
    )
    repository.commit()
    (tmp_path / "link").symlink_to(STARTUP)
    expected = [f"sitecustomize {other.path}/sitecustomize.py {other.path}/sitecustomize.py"]
    show = "import sitecustomize; assert sitecustomize.__file__.startswith(sys.argv[1])"
    for pythonpath in ([other.path], [STARTUP, tmp_path / "link", other.path], [other.path, other.path]):
        for variable in ({}, {"MLXPY_SAFE_COPY": ""}):
            arguments = ("-c", f"import sys; {show}", str(other.path))
            assert repository.printed(*arguments, pythonpath=tuple(pythonpath), env=variable) == expected


def test_a_sitecustomize_of_the_repository_comes_from_the_copy(repository: Repository) -> None:
    repository.write("site/sitecustomize.py", "print(__file__)")
    repository.commit()
    printed = repository.printed("-c", "", pythonpath=[repository.path / "site"])
    assert printed == [str(repository.copy.path / "site" / "sitecustomize.py")]


def test_a_sitecustomize_that_imports_the_next_one_finds_an_end(
    repository: Repository, tmp_path: Path
) -> None:
    package(repository, "src")
    repository.commit()
    other = Project(tmp_path / "other")
    other.write(
        "sitecustomize.py",
        """
        import os, sys
        print("other")
        sys.path.remove(os.path.dirname(__file__))
        del sys.modules["sitecustomize"]
        import sitecustomize
        """,
    )
    program = (
        f"{IMPORT}; import sys; print(len([f for f in sys.meta_path if 'SafeCopy' in type(f).__name__]))"
    )
    printed = repository.printed("-c", program, pythonpath=[other.path, repository.path / "src"])
    assert printed == ["other", str(repository.copy.path / "src" / "pkg" / "part.py"), "1"]


def test_an_error_of_another_sitecustomize_is_told(repository: Repository, tmp_path: Path) -> None:
    package(repository, "src")
    repository.commit()
    Project(tmp_path / "other").write("sitecustomize.py", "1 / 0")
    done = repository.in_copy("-c", IMPORT, pythonpath=[tmp_path / "other", repository.path / "src"])
    assert done.stderr.startswith(
        "Error in sitecustomize; set PYTHONVERBOSE for traceback:\nZeroDivisionError"
    )
    assert done.stdout == f"{repository.copy.path}/src/pkg/part.py\n"


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        "1 2",
        '{"repository": "x", "copy": "/y"}',
        '{"repository": "/x", "copy": "/y"} more',
        '{"repository": "/x", "copy": "/y", "paths": [1]}',
    ],
)
def test_a_damaged_variable_is_one_line(repository: Repository, text: str) -> None:
    repository.commit()
    done = repository.in_copy("-c", "print('on')", env={"MLXPY_SAFE_COPY": text})
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "mlxpy: imports do not come from the copy of the repository: the environment variable"
    )
    assert done.stdout == "on\n"


def test_nothing_slow_is_imported_at_the_start(repository: Repository) -> None:
    repository.commit()
    show = "import sys; print(*sys.modules)"
    command = [sys.executable, "-I", "-c", show]
    plain = subprocess.check_output(command, text=True).split()
    extra = set(repository.printed("-c", show)[0].split()) - set(plain)
    assert extra <= {"sitecustomize", "_json"}


# Editable installs, in an environment inside the repository


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
