"""What a process has imported, as the lines of a requirements file."""

import functools
import http.server
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import GitProject, environment_of_its_own

ASK = "import json, os, sys\nfrom mlxpy_core._versioning._requirements import imported_requirements\n"
HATCHLING = "[build-system]\nrequires = ['hatchling']\nbuild-backend = 'hatchling.build'\n"
SETUPTOOLS = "[build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n"


class Installed:
    """A virtual environment in a repository, as many have it, with what pip installed from everywhere."""

    def __init__(self, base: Path, address: str) -> None:
        self.base = base
        self.address = address  # of a server that gives what lies in `base`
        self.repository = GitProject(base / "repository")
        self.python = environment_of_its_own(self.repository.path / ".venv")
        self._without = set(self._run(""))

    def make(self, folder: str, name: str, *files: str, build: str = HATCHLING, more: str = "") -> str:
        path = self.base / folder
        for file in files:
            (path / file).parent.mkdir(parents=True, exist_ok=True)
            (path / file).write_text("")
        text = f"{build}[project]\nname = '{name}'\nversion = '0.1.0'\n{more}"
        (path / "pyproject.toml").write_text(text)
        return str(path)

    def install(self, *sources: str) -> None:
        options = ["-q", "--no-deps", "--no-build-isolation", "--no-compile"]
        subprocess.run([self.python, "-m", "pip", "install", *options, *sources], check=True)

    def listed(self, program: str, **options: Any) -> list[str]:
        """Gives the lines that a program's imports add to those of the function itself."""
        return [line for line in self._run(program, **options) if line not in self._without]

    def _run(self, program: str, arguments: str = "", **environment: str) -> list[str]:
        text = f"{ASK}{textwrap.dedent(program)}\nprint(json.dumps(imported_requirements({arguments})))"
        done = subprocess.run(
            [self.python, "-c", text],
            cwd="/",
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        lines = json.loads(done.stdout)
        assert lines == sorted(lines, key=str.lower)
        return list(lines)


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    base = tmp_path_factory.mktemp("installed")
    handler = functools.partial(QuietHandler, directory=base)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        one = Installed(base, f"127.0.0.1:{server.server_port}")
        fill(one)
        yield one
        server.shutdown()


def fill(one: Installed) -> None:
    only = "[tool.hatch.build.targets.wheel]\ninclude = ['{}']\n"
    where = "[tool.setuptools]\npackages = ['flat_package']\n"
    flat = one.make("repository", "flat", "flat_package/__init__.py", build=SETUPTOOLS, more=where)
    nested = one.make("repository/nested", "nested", "src/nested/__init__.py", build=SETUPTOOLS)
    one.repository.write(".gitignore", ".venv\n*.egg-info\nbuild\n__pycache__\n")
    one.repository.commit()
    hatch = one.make("hatch", "hatch-package", "src/hatch_package/__init__.py")
    module = one.make("module", "Odd.Name", "plain_module.py", more=only.format("plain_module.py"))
    spaces = [
        one.make(name, f"space-{name}", f"shared_space/{name}.py", more=only.format("shared_space"))
        for name in ("one", "two")
    ]
    one.make("remote", "remote", "remote/__init__.py")
    shutil.make_archive(str(one.base / "remote"), "zip", one.base / "remote")
    one.make("from_git/below", "from-git", "from_git/__init__.py")
    from_git = GitProject(one.base / "from_git")
    from_git.commit()
    from_git.git("update-server-info")
    secret = f"http://user:secret@{one.address}"
    remote = f"remote @ {secret}/remote.zip?token=secret"
    by_git = f"from-git @ git+{secret}/from_git/.git#subdirectory=below"
    one.install("-e", flat, "-e", nested, "-e", hatch, module, *spaces, remote, by_git)


def test_nothing_is_listed_that_is_only_installed(installed: Installed) -> None:
    assert installed.listed("import argparse, _decimal") == []


def test_names_that_differ_and_extensions(installed: Installed) -> None:
    names = ["duckdb", "pillow"]
    assert installed.listed("import PIL, _duckdb") == [
        f"{name}=={importlib.metadata.version(name)}" for name in names
    ]


def test_a_local_directory(installed: Installed) -> None:
    assert installed.listed("import plain_module") == [f"Odd.Name==0.1.0 # from {installed.base}/module"]


def test_only_the_imported_parts_of_a_namespace(installed: Installed) -> None:
    line = f"space-two==0.1.0 # from {installed.base}/two"
    assert installed.listed("import shared_space.two") == [line]
    assert installed.listed("import shared_space") == []


def test_addresses_without_their_secrets(installed: Installed) -> None:
    commit = GitProject(installed.base / "from_git").git("rev-parse", "HEAD")
    assert installed.listed("import remote, from_git") == [
        f"from-git @ git+http://{installed.address}/from_git/.git@{commit}#subdirectory=below",
        f"remote @ http://{installed.address}/remote.zip",
    ]


def test_editable_installs_name_their_commit(installed: Installed) -> None:
    repository = installed.repository
    commit = repository.git("rev-parse", "HEAD")
    flat = f"flat==0.1.0 # editable, {repository.path}, commit {commit}"
    nested = f"nested==0.1.0 # editable, {repository.path}/nested, commit {commit}"
    assert installed.listed("import flat_package, nested") == [flat, nested]
    assert installed.listed("import nested") == [nested]
    repository.write("flat_package/__init__.py", "x = 1")
    try:
        changed = installed.listed("import flat_package, nested")
    finally:
        repository.git("checkout", "-q", ".")
    assert changed == [f"{flat}, with uncommitted changes", nested]


def test_editable_installs_without_a_commit(installed: Installed, tmp_path: Path) -> None:
    hatch = f"hatch-package==0.1.0 # editable, {installed.base}/hatch"
    assert installed.listed("import hatch_package") == [hatch]
    flat = f"flat==0.1.0 # editable, {installed.repository.path}"
    without_git = installed.listed("import flat_package", PATH=str(tmp_path))
    assert [line for line in without_git if line.startswith("flat")] == [flat]


def test_modules_of_a_copy_stand_for_the_repository_which_may_be_gone(
    installed: Installed, tmp_path: Path
) -> None:
    shutil.copytree(installed.repository.path / "nested", tmp_path / "copy" / "nested")
    here, gone = str(tmp_path / "copy"), str(installed.repository.path)
    arguments = f"Path({here!r}), Path({gone!r}), 'c0ffee'"
    program = f"from pathlib import Path\nsys.path.insert(0, '{here}/nested/src')\nimport nested"
    assert installed.listed(program, arguments=arguments) == [
        f"nested==0.1.0 # editable, {gone}/nested, commit c0ffee"
    ]


def test_pip_reads_the_lines(installed: Installed, tmp_path: Path) -> None:
    lines = installed.listed(
        "import flat_package, nested, plain_module, shared_space.one, from_git, remote"
    )
    assert len(lines) == 6
    (tmp_path / "requirements.txt").write_text("\n".join(lines))
    dry = ["install", "-q", "--dry-run", "--no-deps", "--no-index", "--no-build-isolation"]
    command = [installed.python, "-m", "pip", *dry, "-r", str(tmp_path / "requirements.txt")]
    subprocess.run(command, check=True)


def test_a_later_run_of_a_process_looks_at_no_metadata_again(installed: Installed) -> None:
    program = """
        import flat_package, plain_module
        first, events = imported_requirements(), []
        sys.addaudithook(lambda event, _: events.append(event))
        second = imported_requirements()
        assert first == second
        assert not {"open", "subprocess.Popen", "os.listdir"} & set(events), events
    """
    installed.listed(program)


def test_modules_are_looked_at_without_running_their_code(installed: Installed) -> None:
    program = """
        import importlib.util, types
        class Careful(types.ModuleType):
            def __getattr__(self, name):
                raise SystemExit(f"asked for {name}")
        sys.modules["careful"] = Careful("careful")
        sys.modules["nothing"] = None
        sys.modules["number"] = 7
        spec = importlib.util.find_spec("plain_module")
        spec.loader = importlib.util.LazyLoader(spec.loader)
        lazy = sys.modules["plain_module"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(lazy)
    """
    assert installed.listed(program) == []


# Metadata as they should not be.


def test_damaged_metadata(tmp_path: Path) -> None:
    record, version = {"RECORD": "{name}.py,,\n"}, "Version: 1.1\n"
    # files of the metadata: what is listed; each of a module of its own.
    cases: list[tuple[dict[str, str], str | None]] = [
        ({"METADATA": "Name: my-{name}\n" + version, "top_level.txt": "{name}\n"}, "my-{name}==1.1"),
        ({"METADATA": "Name: my-{name}\n" + version, **record}, "my-{name}==1.1"),
        ({"METADATA": "Name: my-{name}\n", **record}, "my-{name}"),
        ({"METADATA": version, **record}, None),
        ({"METADATA": "Name: my-{name}\n" + version}, None),
        (record, None),
        ({"METADATA": "Name: t-{name}\n" + version, **record, "direct_url.json": "[broken"}, "t-{name}==1.1"),
        ({"METADATA": "Name: t-{name}\n" + version, **record, "direct_url.json": "[]"}, "t-{name}==1.1"),
    ]  # fmt: skip
    names = [f"thing{number}" for number in range(len(cases))]
    for name, (files, _) in zip(names, cases, strict=True):
        (tmp_path / f"{name}.py").write_text("")
        (tmp_path / f"{name}-1.dist-info").mkdir()
        for file, content in files.items():
            (tmp_path / f"{name}-1.dist-info" / file).write_text(content.replace("{name}", name))
    program = f"{ASK}import {', '.join(names)}\nprint(json.dumps(imported_requirements()))"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    printed = subprocess.check_output([sys.executable, "-c", program], env=environment)
    lines = {one for one in json.loads(printed) if "thing" in one or one.startswith("None")}
    assert lines == {
        line.format(name=name) for name, (_, line) in zip(names, cases, strict=True) if line
    }
