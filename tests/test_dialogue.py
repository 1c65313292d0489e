"""The version manager's questions, answered at a real terminal."""

import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pexpect
import pytest
from conftest import GitProject

MAIN = """
import mlxpy as expy

@expy.launch(config_path="./configs")
def train(ctx: expy.Context) -> None:
    import helper
    print("lr", ctx.config.lr, "helper", helper.version)

if __name__ == "__main__":
    train()
"""
UNTRACKED = r"\[Untracked files\] .*\(a/b/c\): "
CHANGES = r"\[Uncommitted changes\] .*\(a/b/c\): "
COPY = r"\[Safe copy\] .*\(y/n\): "


@pytest.fixture
def app(repository: GitProject) -> GitProject:
    repository.write("main.py", MAIN.lstrip())
    repository.write("helper.py", "version = 1\n")
    repository.write("configs/config.yaml", "lr: 0.1\n")
    repository.write("configs/mlxpy.yaml", "use_version_manager: true\n")
    repository.commit()
    return repository


@contextmanager
def terminal(app: GitProject, *arguments: str, **environment: str) -> Iterator[Any]:
    """Starts the program at a terminal."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", **environment}
    child = pexpect.spawn(
        sys.executable,
        ["main.py", *arguments],
        cwd=app.path,
        env=environment,
        encoding="utf-8",
        timeout=60,
    )
    try:
        yield child
    finally:
        child.close(force=True)


def end(child: Any, exit_code: int = 0) -> str:
    """Waits for the end of the program and gives what it said since the last answer."""
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == exit_code, child.before
    return str(child.before).replace("\r\n", "\n")


@pytest.mark.smoke
@pytest.mark.smoke_long
def test_the_dialogue_of_the_tutorial(app: GitProject) -> None:
    app.write("notes.txt", "untracked")
    app.write("helper.py", "version = 2\n")
    first = app.git("rev-parse", "HEAD")
    with terminal(app) as child:
        child.expect(UNTRACKED)
        assert "notes.txt" in child.before
        child.sendline("c")
        child.expect(CHANGES)
        assert "helper.py" in child.before
        child.sendline("a")
        child.expect(COPY)
        child.sendline("y")
        assert end(child).endswith("lr 0.1 helper 2\n")
    commit = app.git("rev-parse", "HEAD")
    assert app.git("rev-parse", "HEAD~1") == first
    assert app.git("show", "--format=", "--name-only", "HEAD") == "helper.py"
    assert app.git("status", "--short") == "?? notes.txt"
    (copy,) = app.copies()
    assert copy.name == commit
    assert not (copy / "notes.txt").exists()
    info = app.info()
    assert info["work_dir"] == str(copy)
    assert info["version_manager"]["commit_hash"] == commit
    assert "snapshots" not in app.git("for-each-ref")


def test_a_clean_tree_is_asked_for_the_copy_alone_and_once_a_sweep_until_it_is_answered(
    app: GitProject,
) -> None:
    with terminal(app, "+lr=1,2") as child:
        child.expect(COPY)
        child.sendline("perhaps")
        child.expect("'perhaps' is none of y, n.")
        child.expect(COPY)
        child.sendline(" Y ")
        said = end(child)
    assert "Please enter" not in said
    assert re.findall(r"^lr.*", said, re.MULTILINE) == ["lr 1 helper 1", "lr 2 helper 1"]
    assert len(app.copies()) == 1


def test_without_the_copy_the_code_runs_where_it_is(app: GitProject) -> None:
    app.write("helper.py", "version = 2\n")
    with terminal(app) as child:
        child.expect(CHANGES)
        child.sendline("c")
        child.expect(COPY)
        child.sendline("n")
        assert end(child).endswith("lr 0.1 helper 2\n")
    assert app.copies() == []
    info = app.info()
    assert info["work_dir"] == str(app.path)
    version = info["version_manager"]
    assert version["commit_hash"] == app.git("rev-parse", "HEAD")
    assert (version["dirty"], version["safe_copy"]) == (True, None)
    assert any(line.startswith("hydra-core") for line in version["requirements"])


def test_what_changes_elsewhere_is_seen_and_what_is_not_committed_does_not_run(app: GitProject) -> None:
    app.write("new/a.py", "")
    app.write("b.py", "")
    app.write("helper.py", "version = 2\n")
    with terminal(app) as child:
        child.expect(UNTRACKED)
        app.write(".git/info/exclude", "b.py\n")
        child.sendline("b")
        child.expect(UNTRACKED)
        assert "b.py" not in child.before
        child.sendline("a")
        child.expect(CHANGES)  # an added file is not committed yet
        assert "new/a.py" in child.before
        app.git("commit", "-q", "-m", "from elsewhere")
        child.sendline("b")
        child.expect(CHANGES)
        assert "new/a.py" not in child.before
        child.sendline("c")
        child.expect(COPY)
        child.sendline("y")
        assert end(child).endswith("lr 0.1 helper 1\n")
    assert (app.copies()[0] / "new" / "a.py").exists()


def test_what_git_refuses_is_told_and_asked_again(app: GitProject, tmp_path: Any) -> None:
    library = GitProject(tmp_path / "library")
    library.write("lib.py", "1")
    library.commit()
    app.add_submodule(library, "lib")
    app.commit()
    app.write("lib/lib.py", "2")
    app.write("helper.py", "version = 2\n")
    GitProject(app.path / "vendor").write("inside.py", "")
    hook = app.write(".git/hooks/pre-commit", "#!/bin/sh\necho 'the linter says no' >&2\nexit 1\n")
    hook.chmod(0o755)
    with terminal(app) as child:
        child.expect(UNTRACKED)
        assert "vendor/" in child.before
        child.sendline("a")
        child.expect("mlxpy: git update-index in ")
        child.expect(UNTRACKED)
        GitProject(app.path / "vendor").commit()
        child.sendline("a")
        child.expect(CHANGES)
        child.sendline("a")
        child.expect("mlxpy: changes inside of submodules are committed there, not in .*: lib")
        child.expect(CHANGES)
        app.git("commit", "-q", "-a", "-m", "in the library", cwd=app.path / "lib")
        app.git("checkout", "-q", "--detach")
        child.sendline("a")
        child.expect("HEAD is detached in .*, so a commit would be on no branch")
        child.expect(CHANGES)
        app.git("checkout", "-q", "main")
        child.sendline("a")
        child.expect("mlxpy: git commit in .*: the linter says no")
        child.expect(CHANGES)
        hook.unlink()
        child.sendline("a")  # the two repositories' commits, and the helper
        child.expect(COPY)
    assert app.git("status", "--short") == ""
    assert app.git("ls-files", "-s", "vendor").startswith("160000")


def test_no_answer_runs_nothing(app: GitProject) -> None:
    with terminal(app) as child:
        child.expect(COPY)
        child.sendeof()
        assert end(child, exit_code=1).endswith("mlxpy: no answer, so nothing was run\n")
    assert app.run_ids() == []


def test_ctrl_c_runs_nothing_and_shows_no_traceback(app: GitProject) -> None:
    before = app.state()
    app.write("helper.py", "version = 2\n")
    with terminal(app) as child:
        child.expect(CHANGES)
        child.sendintr()
        assert "Traceback" not in end(child, exit_code=130)
    assert app.run_ids() == []
    app.write("helper.py", "version = 1\n")
    assert app.state()["commits"] == before["commits"]


# Nobody is asked.


@pytest.mark.parametrize("how", ["pipe", "setting", "background"])
def test_nobody_is_asked(app: GitProject, how: str) -> None:
    app.write("helper.py", "version = 2\n")
    if how == "pipe":
        done = app.run("main.py", stdin=-3)  # subprocess.DEVNULL
        assert done.stdout == "lr 0.1 helper 2\n"
        assert done.stderr == "mlxpy: kept as a snapshot: helper.py\n"
    elif how == "setting":
        with terminal(app, "+mlxpy.interactive_mode=false") as child:
            assert end(child).endswith("kept as a snapshot: helper.py\nlr 0.1 helper 2\n")
    else:  # a shell at the terminal, the program behind it: to read would stop it
        shell = pexpect.spawn(
            "/bin/bash",
            ["--norc", "-i"],
            cwd=app.path,
            encoding="utf-8",
            timeout=60,
            env={**os.environ, "PYTHONWARNINGS": "ignore", "PS1": "$ "},
        )
        shell.sendline(f"{sys.executable} main.py & wait $!; echo ended with $?")
        shell.expect("ended with 0")
        assert "lr 0.1 helper 2" in shell.before
        shell.close(force=True)
    (copy,) = app.copies()
    assert app.git("rev-parse", f"refs/mlxpy/snapshots/{copy.name}") == copy.name


def test_a_killed_dialogue_leaves_nothing(app: GitProject) -> None:
    before = app.state()
    with terminal(app) as child:
        child.expect(COPY)
        child.kill(signal.SIGKILL)
        child.expect(pexpect.EOF)
    assert app.state() == before
    assert app.run_ids() == []
