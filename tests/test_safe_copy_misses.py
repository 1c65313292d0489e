"""What a copy of a repository has not: it is not found in the repository, and a sentence says how to have it."""

import py_compile
from pathlib import Path

import pytest
from conftest import Project
from safe_copy import Repository, package

from mlxpy_core._versioning._startup.sitecustomize import SafeCopy, hint


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "my dev")


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
