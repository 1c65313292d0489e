"""Snapshots: the working tree as it stands, as a commit that nothing of the user's notices."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from conftest import GitProject, tree_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlxpy_core import MlxpyError
from mlxpy_core._versioning._git_manager import GitVM
from mlxpy_core._versioning._repository import find_repository, without_credentials
from mlxpy_core._versioning._version_manager import Version


def prepare(project: GitProject, **options: Any) -> Version:
    manager = GitVM(parent_work_dir=project.path / ".workdir", interactive_mode=False, **options)
    return manager.prepare([project.path])


def checked_out(project: GitProject, commit: str, to: Path) -> dict[str, Any]:
    """What anybody gets who checks a commit out with git alone."""
    project.git("worktree", "add", "-q", "--detach", str(to), commit)
    try:
        return tree_of(to)
    finally:
        project.git("worktree", "remove", "--force", str(to))


@pytest.mark.smoke
@pytest.mark.smoke_long
def test_the_working_tree_comes_back_exactly(repository: GitProject, tmp_path: Path) -> None:
    repository.write("kept.py", "1")
    repository.write("changed.py", "1")
    repository.write("deleted.py", "1")
    repository.write("staged.py", "1")
    repository.write("folder/becomes_file", "1")
    repository.write("becomes_folder", "1")
    repository.write("script.sh", "1").chmod(0o644)
    repository.write(".gitignore", "ignored\n")
    repository.commit()
    repository.git("stash", "list")
    repository.write("changed.py", "2")
    repository.write("staged.py", "2")
    repository.git("add", "staged.py")
    repository.write("staged.py", "3")
    (repository.path / "deleted.py").unlink()
    (repository.path / "folder/becomes_file").unlink()
    (repository.path / "folder").rmdir()
    repository.write("folder", "now a file")
    (repository.path / "becomes_folder").unlink()
    repository.write("becomes_folder/inside", "now a folder")
    (repository.path / "script.sh").chmod(0o755)
    repository.write("untracked/new file é\n.py", "new")
    repository.write("ignored", "no code")
    (repository.path / "link").symlink_to("kept.py")
    (repository.path / "broken").symlink_to("/nowhere")
    (repository.path / os.fsdecode(b"no utf-8 \xff")).write_text("x")
    before = repository.state()

    version = prepare(repository)
    commit = version.description["commit_hash"]
    assert repository.state() == before
    expected = tree_of(repository.path, leave_out={".git", ".workdir"})
    del expected["ignored"]
    assert version.copy
    assert tree_of(version.copy) == expected
    assert repository.git("rev-parse", f"refs/mlxpy/snapshots/{commit}") == commit
    assert repository.git("rev-parse", f"{commit}^") == repository.git("rev-parse", "HEAD")
    assert checked_out(repository, commit, tmp_path / "elsewhere") == expected
    assert (version.description["dirty"], version.description["snapshot"]) == (True, True)


NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8
)
PATHS = (
    st.lists(NAMES, min_size=1, max_size=3)
    .filter(lambda parts: not {".", "..", "__pycache__", ".hydra", "multirun.yaml"} & set(parts))
    .filter(lambda parts: not any(part.casefold().startswith((".git", "git~")) for part in parts))
    .map("/".join)
)
FILES = st.dictionaries(PATHS, st.tuples(st.binary(max_size=9), st.booleans()), max_size=5)


def lay(root: Path, files: dict[str, tuple[bytes, bool]]) -> None:
    for name, (content, executable) in files.items():
        path = root / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o755 if executable else 0o644)
        except (NotADirectoryError, FileExistsError, IsADirectoryError):
            pass  # a folder here is a file there


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(committed=FILES, staged=FILES, working=FILES, deleted=st.sets(st.integers(0, 20)))
def test_any_tree_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    committed: dict[str, Any],
    staged: dict[str, Any],
    working: dict[str, Any],
    deleted: set[int],
) -> None:
    project = GitProject(tmp_path_factory.mktemp("repository"))
    lay(project.path, committed)
    project.commit()
    lay(project.path, staged)
    project.git("add", "-A")
    lay(project.path, working)
    names = sorted(tree_of(project.path))
    for number in deleted:
        if number < len(names):
            (project.path / names[number]).unlink()
    before = project.state()
    version = prepare(project, include=[*working, *staged])
    assert project.state() == before
    assert version.copy
    assert tree_of(version.copy) == tree_of(project.path, leave_out={".git", ".workdir"})


def test_the_same_tree_is_the_same_snapshot(repository: GitProject) -> None:
    repository.write("a.py", "1")
    repository.commit()
    repository.write("a.py", "2")
    first = prepare(repository).description["commit_hash"]
    assert prepare(repository).description["commit_hash"] == first
    repository.write("a.py", "3")
    assert prepare(repository).description["commit_hash"] != first


def test_a_file_changed_within_the_clocks_tick_is_noticed(repository: GitProject) -> None:
    path = repository.write("a.py", "1")
    repository.commit()
    stamp = path.stat()
    path.write_text("2")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    os.utime(repository.path / ".git" / "index", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    repository.write("b.py", "so that there is a snapshot")
    copy = prepare(repository).copy
    assert copy
    assert (copy / "a.py").read_text() == "2"


@pytest.mark.parametrize(
    "name", [".env", "conf/.env.local", "id_rsa", "server.pem", "secrets.yaml", "credentials.json"]
)
def test_what_looks_like_a_secret_is_named_and_left_out(
    repository: GitProject, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    repository.write("main.py", "1")
    repository.commit()
    repository.write("main.py", "2")
    repository.write(name, "password")
    version = prepare(repository)
    assert version.copy
    assert not (version.copy / name).exists()
    assert version.description["left_out"] == [name]
    assert f"left out of the snapshot: {name} (looks like a secret)" in capsys.readouterr().err
    assert "password" not in repository.git("log", "--all", "-p", "--format=")
    told_otherwise = prepare(repository, include=[name]).copy
    assert told_otherwise
    assert (told_otherwise / name).read_text() == "password"


def test_an_example_of_a_secret_is_none(repository: GitProject) -> None:
    repository.commit()
    repository.write(".env.example", "PASSWORD=")
    assert prepare(repository).description["left_out"] == []


def test_a_large_file_is_named_and_left_out(
    repository: GitProject, capsys: pytest.CaptureFixture[str]
) -> None:
    large = repository.write("data/large.bin", "")
    repository.write("tracked.bin", "small")
    repository.commit()
    for path in (large, repository.path / "tracked.bin"):
        with path.open("wb") as file:
            file.truncate(51_000_000)
    repository.write("main.py", "1")
    copy = prepare(repository).copy
    assert copy
    assert (copy / "data/large.bin").read_text() == ""
    assert (copy / "tracked.bin").read_text() == "small"
    assert "data/large.bin (51 MB), tracked.bin (51 MB)" in capsys.readouterr().err
    copy = prepare(repository, include=["data"], max_file_mb=100).copy
    assert copy
    assert (copy / "data/large.bin").stat().st_size == 51_000_000


def test_nothing_but_what_is_left_out_needs_no_snapshot(repository: GitProject) -> None:
    commit = repository.commit()
    repository.write(".env", "password")
    description = prepare(repository).description
    assert (description["commit_hash"], description["snapshot"]) == (commit, False)


def test_results_are_no_code(repository: GitProject) -> None:
    commit = repository.commit()
    repository.write("old_logs/3/metadata/info.yaml", "status: COMPLETE")  # by MLXP, without .gitignore
    repository.write("old_logs/3/metrics/train.json", "{}")
    repository.write("outputs/2026/.hydra/config.yaml", "")
    repository.write("outputs/2026/main.log", "")
    repository.write("multirun/2026/multirun.yaml", "")
    repository.write("package/__pycache__/a.pyc", "")
    repository.write(".workdir/by hand", "")  # made without mlxpy, so without .gitignore
    description = prepare(repository).description
    assert (description["commit_hash"], description["dirty"]) == (commit, False)
    repository.write("multirun/code.py", "")
    assert prepare(repository).description["dirty"] is True


def test_snapshots_and_copies_survive_a_collection(repository: GitProject, tmp_path: Path) -> None:
    repository.write("main.py", "1")
    repository.commit()
    repository.write("main.py", "2")
    snapshot = prepare(repository)
    repository.commit("to be amended")
    amended = prepare(repository)
    repository.git("commit", "-q", "--amend", "-m", "amended")
    repository.git("reset", "-q", "--hard", "HEAD~1")
    repository.git("reflog", "expire", "--expire=now", "--all")
    repository.git("gc", "-q", "--prune=now")
    for version in (snapshot, amended):
        assert version.copy
        commit = version.description["commit_hash"]
        assert checked_out(repository, commit, tmp_path / "elsewhere")["main.py"][0] == b"2"
        assert repository.git("status", "--short", cwd=version.copy) == ""
        assert repository.git("log", "-1", "--format=%H", cwd=version.copy) == commit
        assert repository.git("fsck", "--no-dangling", cwd=version.copy) == ""


def test_submodules_come_along_with_their_changes(repository: GitProject, tmp_path: Path) -> None:
    library = GitProject(tmp_path / "library")
    library.write("lib.py", "1")
    library.write("other.py", "1")
    library.commit()
    repository.add_submodule(library, "lib")
    repository.commit()
    copy = prepare(repository).copy
    assert copy
    assert (copy / "lib" / "lib.py").read_text() == "1"

    (repository.path / "lib" / "lib.py").write_text("2")
    (repository.path / "lib" / "new.py").write_text("3")
    before = tree_of(repository.path / ".git" / "modules" / "lib" / "refs" / "heads")
    dirty = prepare(repository)
    assert dirty.copy
    assert tree_of(dirty.copy / "lib") == tree_of(repository.path / "lib")
    assert tree_of(repository.path / ".git" / "modules" / "lib" / "refs" / "heads") == before
    assert repository.git("status", "--short", cwd=dirty.copy / "lib") == ""
    assert prepare(repository).copy == dirty.copy


def test_a_repository_that_git_does_not_track_comes_along(repository: GitProject) -> None:
    repository.commit()
    inner = GitProject(repository.path / "vendor" / "inner")
    inner.write("inner.py", "1")
    inner.commit()
    inner.write("inner.py", "2")
    empty = GitProject(repository.path / "empty")
    empty.write("never_committed.py", "1")
    version = prepare(repository)
    assert version.copy
    assert (version.copy / "vendor/inner/inner.py").read_text() == "2"
    assert version.description["left_out"] == ["empty/"]


def test_a_submodule_that_was_fetched_later_is_added_to_the_copy(
    repository: GitProject, tmp_path: Path
) -> None:
    library = GitProject(tmp_path / "library")
    library.write("lib.py", "1")
    library.commit()
    repository.add_submodule(library, "lib")
    repository.commit()
    clone = GitProject(tmp_path / "clone")
    clone.git("pull", "-q", str(repository.path))
    copy = prepare(clone).copy
    assert copy
    assert not (copy / "lib" / "lib.py").exists()
    clone.git("-c", "protocol.file.allow=always", "submodule", "update", "-q", "--init")
    assert prepare(clone).copy == copy
    assert (copy / "lib" / "lib.py").read_text() == "1"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://user:token@host.org/a/b.git", "https://host.org/a/b.git"),
        ("https://token@host.org:8080/a.git?private_token=x", "https://host.org:8080/a.git"),
        ("ssh://git:password@host.org/a.git", "ssh://git@host.org/a.git"),
        ("git@host.org:a/b.git", "git@host.org:a/b.git"),
        ("/a/path", "/a/path"),
    ],
)
def test_the_remote_is_told_without_credentials(
    repository: GitProject, address: str, shown: str
) -> None:
    repository.commit()
    repository.git("remote", "add", "origin", address)
    assert without_credentials(address) == shown
    assert prepare(repository).description["remote"] == shown


def test_the_remote_is_that_of_the_branch(repository: GitProject) -> None:
    repository.commit()
    assert prepare(repository).description["remote"] is None
    repository.git("remote", "add", "origin", "/origin")
    repository.git("remote", "add", "fork", "/fork")
    repository.git("config", "branch.main.remote", "fork")
    assert prepare(repository).description["remote"] == "/fork"


def test_what_a_hook_of_another_repository_has_set_is_not_used(
    repository: GitProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = repository.commit()
    other = GitProject(tmp_path / "other")
    monkeypatch.setenv("GIT_DIR", str(other.path / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other.path / ".git" / "index"))
    found = find_repository(repository.path)
    assert found
    assert found.root == repository.path
    assert found.work_tree().commit == commit


# What cannot be run is told in words.


def test_on_dirty_error_names_what_is_not_committed(repository: GitProject) -> None:
    repository.commit()
    prepare(repository, on_dirty="error")
    for number in range(7):
        repository.write(f"{number}.py", "")
    with pytest.raises(
        MlxpyError, match=r"not committed in .*: 0.py, 1.py, 2.py, 3.py, 4.py and 2 more;"
    ):
        prepare(repository, on_dirty="error")


def test_on_dirty_ignore_runs_the_last_commit(
    repository: GitProject, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.write("main.py", "1")
    commit = repository.commit()
    repository.write("main.py", "2")
    version = prepare(repository, on_dirty="ignore")
    assert version.copy
    assert (version.copy / "main.py").read_text() == "1"
    assert (version.description["commit_hash"], version.description["dirty"]) == (commit, True)
    assert capsys.readouterr().err == "mlxpy: not committed, so not in the code that runs: main.py\n"


def test_on_dirty_commit_commits(repository: GitProject) -> None:
    repository.write("main.py", "1")
    first = repository.commit()
    repository.write("main.py", "2")
    repository.write("new.py", "1")
    repository.write(".env", "password")
    version = prepare(repository, on_dirty="commit")
    assert version.copy
    assert version.description["commit_hash"] == repository.git("rev-parse", "main") != first
    assert version.description["left_out"] == [".env"]
    assert repository.git("status", "--short") == "?? .env"
    assert (version.copy / "new.py").exists()
    assert (
        prepare(repository, on_dirty="commit").description["commit_hash"]
        == version.description["commit_hash"]
    )


def test_a_commit_on_no_branch_is_refused(repository: GitProject) -> None:
    repository.commit()
    repository.git("checkout", "-q", "--detach")
    repository.write("main.py", "1")
    with pytest.raises(MlxpyError, match=r"HEAD is detached .* git switch -c NAME"):
        prepare(repository, on_dirty="commit")
    assert prepare(repository).description["branch"] is None


def test_changes_inside_a_submodule_are_not_committed_here(
    repository: GitProject, tmp_path: Path
) -> None:
    library = GitProject(tmp_path / "library")
    library.write("lib.py", "1")
    library.commit()
    repository.add_submodule(library, "lib")
    repository.commit()
    repository.write("lib/lib.py", "2")
    with pytest.raises(MlxpyError, match=r"changes inside of submodules are committed there, .*: lib"):
        prepare(repository, on_dirty="commit")


def test_a_commit_without_a_name_is_refused_in_gits_words(
    repository: GitProject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    repository.commit()
    repository.write("main.py", "1")
    repository.git("config", "user.name", "")
    with pytest.raises(MlxpyError, match=r"git commit in .*empty ident name"):
        prepare(repository, on_dirty="commit")
    assert prepare(repository).description["snapshot"]  # needs no name


def test_no_commit_yet(repository: GitProject) -> None:
    repository.write("main.py", "1")
    with pytest.raises(MlxpyError, match=r"no commit yet in .*: make one, as in git add"):
        prepare(repository)
    prepare(repository, on_dirty="commit")
    assert repository.git("log", "--format=%s") == "Automatic commit by mlxpy"


@pytest.mark.parametrize("on_dirty", ["commit", "snapshot", "error"])
def test_a_merge_in_progress(repository: GitProject, on_dirty: str) -> None:
    merge(repository)
    with pytest.raises(MlxpyError, match=r"a merge is in progress in .* \(git merge --abort\)"):
        prepare(repository, on_dirty=on_dirty)
    repository.git("add", "-A")  # resolved, but not concluded
    with pytest.raises(MlxpyError, match="a merge is in progress"):
        prepare(repository, on_dirty=on_dirty)
    assert prepare(repository, on_dirty="ignore").copy


def test_conflicts_of_a_stash(repository: GitProject) -> None:
    repository.write("main.py", "1")
    repository.commit()
    repository.write("main.py", "2")
    repository.git("stash")
    repository.write("main.py", "3")
    repository.commit()
    with pytest.raises(AssertionError, match="CONFLICT"):
        repository.git("stash", "pop")
    with pytest.raises(MlxpyError, match=r"conflicts in .*: resolve main.py, then git add"):
        prepare(repository)


def merge(repository: GitProject) -> None:
    repository.write("main.py", "1")
    repository.commit()
    repository.git("checkout", "-q", "-b", "other")
    repository.write("main.py", "2")
    repository.commit()
    repository.git("checkout", "-q", "main")
    repository.write("main.py", "3")
    repository.commit()
    with pytest.raises(AssertionError, match="CONFLICT"):
        repository.git("merge", "other")


def test_no_repository(tmp_path: Path) -> None:
    with pytest.raises(MlxpyError, match=r"is not in a git repository, .*: run git init"):
        GitVM(parent_work_dir=tmp_path / ".workdir").prepare([tmp_path])


def test_no_git(repository: GitProject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    repository.commit()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MlxpyError, match=r"git is not on the PATH.*: install git"):
        prepare(repository)


def test_an_unknown_word_for_on_dirty(repository: GitProject) -> None:
    with pytest.raises(
        MlxpyError, match="on_dirty=stash is unknown: give one of ignore, commit, snapshot"
    ):
        prepare(repository, on_dirty="stash")


def test_files_keep_no_other_mode_than_gits(repository: GitProject) -> None:
    repository.write("main.py", "1").chmod(0o600)
    repository.commit()
    copy = prepare(repository).copy
    assert copy
    assert stat.S_IMODE((copy / "main.py").stat().st_mode) & 0o111 == 0
