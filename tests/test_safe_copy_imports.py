"""Programs that run from a copy of a repository import from the copy, whatever became of the repository."""

import ast
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import REPOSITORY, Project
from hypothesis import given
from hypothesis import strategies as st
from safe_copy import IMPORT, NOT_COPIED, STARTUP, STATES, Repository, package

from mlxpy_core._versioning._startup import sitecustomize
from mlxpy_core._versioning._startup.sitecustomize import SafeCopy, moved


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "my dev")


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
