"""Copies of commits: made once, whole or not at all, whoever asks and whatever happens."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import GitProject, tree_of, wait_until

from mlxpy_core import MlxpyError, StorageError
from mlxpy_core._versioning._copy import link_into, safe_copy, written_into
from mlxpy_core._versioning._repository import Repository, find_repository

COPY = """
import sys
from pathlib import Path
from mlxpy_core._versioning._copy import safe_copy
from mlxpy_core._versioning._repository import find_repository
repository = find_repository(Path.cwd())
print(safe_copy(repository, sys.argv[1], Path(sys.argv[2])))
"""


def found(project: GitProject) -> Repository:
    repository = find_repository(project.path)
    assert repository
    return repository


def fill(project: GitProject, files: int) -> str:
    for number in range(files):
        project.write(f"{number % 10}/{number}.py", f"x = {number}\n")
    return project.commit()


def start_copy(project: GitProject, commit: str, parent: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", COPY, commit, str(parent)]
    return subprocess.Popen(command, cwd=project.path, stdout=subprocess.PIPE, text=True)


def test_many_at_once_make_one_copy(
    repository: GitProject, tmp_path: Path, times: Callable[[int, int], int]
) -> None:
    commit = fill(repository, 300)
    # Each checkout of a file is counted by a filter of the user's.
    repository.write(".gitattributes", "counted filter=count\n")
    repository.write("counted", "x")
    repository.git("config", "filter.count.smudge", f"echo >> '{tmp_path}/count'; cat")
    commit = repository.commit()
    processes = [start_copy(repository, commit, tmp_path / "copies") for _ in range(times(6, 16))]
    printed = {process.communicate(timeout=120)[0] for process in processes}
    place = tmp_path / "copies" / "project" / commit
    assert printed == {f"{place}\n"}
    assert tree_of(place) == tree_of(repository.path)
    assert (tmp_path / "count").read_text() == "\n"
    assert sorted(path.name for path in place.parent.iterdir()) == sorted([".lock", commit])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_copy_that_was_killed_is_not_there_and_the_next_is_whole(
    repository: GitProject, tmp_path: Path, number: signal.Signals
) -> None:
    # A filter that holds the checkout of one file up.
    repository.write(".gitattributes", "slow filter=slow\n")
    os.mkfifo(tmp_path / "fifo")
    repository.write("slow", "x")
    repository.git("config", "filter.slow.smudge", f"cat '{tmp_path}/fifo'")
    commit = fill(repository, 50)
    parent = tmp_path / "copies"
    process = start_copy(repository, commit, parent)
    wait_until(lambda: list(parent.glob("project/.mlxpy-tmp-*/*")))
    process.send_signal(number)
    process.wait(timeout=60)
    (tmp_path / "fifo").open("w").close()  # lets the filter go
    # The git of the one that was killed goes on for a while, and would write what is being removed.
    wait_until(lambda: subprocess.run(["pgrep", "-f", f"work-tree={parent}"]).returncode)
    assert not (parent / "project" / commit).exists()
    repository.git("config", "filter.slow.smudge", "cat")
    place = safe_copy(found(repository), commit, parent)
    assert tree_of(place) == tree_of(repository.path)
    assert sorted(path.name for path in place.parent.iterdir()) == sorted([".lock", commit])


def test_what_another_machine_makes_is_left_alone_while_it_may_live(
    repository: GitProject, tmp_path: Path
) -> None:
    commit = fill(repository, 1)
    of_this_boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    folder = tmp_path / "copies/project"
    old, young, dead = (
        folder / f".mlxpy-tmp-{number:016x}-{mark}"
        for number, mark in enumerate(("another", "another", of_this_boot))
    )
    for path in (old, young, dead, folder / ".tmp-mine"):
        path.mkdir(parents=True)
    os.utime(old, (0, 0))
    safe_copy(found(repository), commit, tmp_path / "copies")
    left = sorted(path.name for path in folder.iterdir())
    assert left == sorted([".lock", commit, young.name, ".tmp-mine"])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    directory = tmp_path / "disk"
    directory.mkdir()
    options = ["-t", "tmpfs", "-o", "size=300k", "tmpfs", str(directory)]
    if os.getuid() or subprocess.run(["mount", *options], capture_output=True).returncode:
        pytest.skip("only root can mount a small disk, and not everywhere")
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


def test_no_space_is_said_and_leaves_nothing(repository: GitProject, small_disk: Path) -> None:
    commit = fill(repository, 300)
    with pytest.raises(
        StorageError, match=r"cannot make a copy of the code in .*: No space left on device"
    ):
        safe_copy(found(repository), commit, small_disk / "copies")
    assert [path.name for path in (small_disk / "copies" / "project").iterdir()] == [".lock"]


def test_all_committed_files_are_there(repository: GitProject, tmp_path: Path) -> None:
    repository.write("a/a.py", "1")
    repository.write("b/b.py", "1")
    repository.write(".gitattributes", "a/a.py export-ignore\nb/b.py export-subst\n")
    commit = repository.commit()
    repository.git("sparse-checkout", "set", "b")
    assert not (repository.path / "a").exists()
    place = safe_copy(found(repository), commit, tmp_path / "copies")
    assert set(tree_of(place)) == {"a/a.py", "b/b.py", ".gitattributes"}


def test_the_users_templates_and_hooks_do_not_run(
    repository: GitProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (tmp_path / "template" / "hooks", repository.path / ".git" / "hooks"):
        place.mkdir(parents=True, exist_ok=True)
        hook = place / "post-checkout"
        hook.write_text(f"#!/bin/sh\ntouch '{tmp_path}/ran'\n")
        hook.chmod(0o755)
    repository.git("config", "init.templateDir", str(tmp_path / "template"))
    commit = fill(repository, 1)
    place = safe_copy(found(repository), commit, tmp_path / "copies")
    assert not (tmp_path / "ran").exists()
    assert not (place / ".git" / "hooks").exists()


@pytest.mark.parametrize("name", ["project", "with spaces and é"])
def test_a_linked_working_tree(tmp_path: Path, name: str) -> None:
    project = GitProject(tmp_path / name)
    fill(project, 3)
    project.git("worktree", "add", "-q", "-b", "other", str(tmp_path / "linked tree"))
    linked = find_repository(tmp_path / "linked tree")
    assert linked
    commit = linked.work_tree().commit
    assert commit
    place = safe_copy(linked, commit, tmp_path / "copies")
    assert place == tmp_path / "copies" / "linked tree" / commit
    assert tree_of(place) == tree_of(tmp_path / "linked tree")
    assert project.git("status", "--short", cwd=place) == ""


def test_a_shallow_clone(repository: GitProject, tmp_path: Path) -> None:
    fill(repository, 2)
    commit = fill(repository, 3)
    repository.git("clone", "-q", "--depth=1", f"file://{repository.path}", str(tmp_path / "clone"))
    clone = find_repository(tmp_path / "clone")
    assert clone
    place = safe_copy(clone, commit, tmp_path / "copies")
    assert repository.git("log", "--format=%H", cwd=place) == commit


def test_hashes_of_256_bits(tmp_path: Path) -> None:
    path = tmp_path / "project"
    subprocess.run(["git", "init", "-q", "--object-format=sha256", str(path)], check=True)
    project = GitProject(path)
    commit = fill(project, 3)
    place = safe_copy(found(project), commit, tmp_path / "copies")
    assert project.git("status", "--short", cwd=place) == ""
    assert tree_of(place) == tree_of(project.path)


def test_a_copy_outlives_the_repository(repository: GitProject, tmp_path: Path) -> None:
    commit = fill(repository, 3)
    before = tree_of(repository.path)
    place = safe_copy(found(repository), commit, tmp_path / "copies")
    repository.path.rename(tmp_path / "moved away")
    assert tree_of(place) == before


def test_a_submodule_without_its_commit_is_named(repository: GitProject, tmp_path: Path) -> None:
    library = GitProject(tmp_path / "library")
    library.commit()
    repository.add_submodule(library, "lib")
    repository.git("update-index", "--cacheinfo", f"160000,{'1' * 40},lib")
    repository.git("commit", "-q", "-m", "a commit that nobody has")
    commit = repository.git("rev-parse", "HEAD")
    with pytest.raises(MlxpyError, match=r"the submodule lib of .* run git submodule update --init"):
        safe_copy(found(repository), commit, tmp_path / "copies")
    assert not (tmp_path / "copies" / "project" / commit).exists()


def test_results_that_a_submodule_ignores_are_told(repository: GitProject, tmp_path: Path) -> None:
    library = GitProject(tmp_path / "library")
    library.write(".gitignore", "out\n")
    library.commit()
    repository.add_submodule(library, "lib")
    place = safe_copy(found(repository), repository.commit(), tmp_path / "copies")
    assert written_into(place) == []
    (place / "lib" / "out").mkdir()
    (place / "lib" / "out" / "table.csv").write_text("")
    assert written_into(place) == ["lib/out/table.csv"]


# Links.


def test_what_git_ignores_can_be_linked(repository: GitProject, tmp_path: Path) -> None:
    repository.write(".gitignore", "data\n")
    repository.write("data/x.csv", "1")
    repository.write("a/data/y.csv", "2")
    place = safe_copy(found(repository), repository.commit(), tmp_path)
    for _ in range(2):  # the second launch finds the links of the first
        link_into(place, repository.path, ["data", "a/data"])
    assert (place / "data" / "x.csv").read_text() == "1"
    assert (place / "a" / "data" / "y.csv").read_text() == "2"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("nothing", "link: there is no nothing in .*; give a path below it"),
        ("lost", "link: there is no lost in .*: it leads to nowhere; give a path below it"),
        ("../project/data", "link: ../project/data is no path below .*: give a relative one"),
        ("/tmp", "link: /tmp is no path below .*: give a relative one"),
    ],
)
def test_a_link_to_nothing_in_the_repository(
    repository: GitProject, tmp_path: Path, path: str, reason: str
) -> None:
    place = safe_copy(found(repository), fill(repository, 1), tmp_path)
    (repository.path / "lost").symlink_to("nowhere")
    with pytest.raises(MlxpyError, match=reason):
        link_into(place, repository.path, [path])


def test_of_a_folder_that_is_in_the_commit_the_rest_is_linked(
    repository: GitProject, tmp_path: Path
) -> None:
    repository.write(".gitignore", "data/*\n!data/.gitkeep\n!data/sub\ndata/sub/*\n!data/sub/.gitkeep\n")
    for name in ("data/.gitkeep", "data/x.csv", "data/sub/.gitkeep", "data/sub/y.csv", "data/raw/z.csv"):
        repository.write(name, name)
    place = safe_copy(found(repository), repository.commit(), tmp_path)
    for _ in range(2):
        link_into(place, repository.path, ["data", "data/raw"])
    assert (place / "data/raw").readlink() == repository.path / "data/raw"
    assert (place / "data/sub/y.csv").readlink() == repository.path / "data/sub/y.csv"
    assert (place / "data/x.csv").read_text() == "data/x.csv"
    assert not (place / "data/.gitkeep").is_symlink()
    assert written_into(place) == []


def test_a_link_to_what_is_committed(repository: GitProject, tmp_path: Path) -> None:
    place = safe_copy(found(repository), fill(repository, 1), tmp_path)
    with pytest.raises(MlxpyError, match=r"link: 0/0.py is in the commit, .*: leave it out"):
        link_into(place, repository.path, ["0/0.py"])


def test_a_link_of_another_clone(repository: GitProject, tmp_path: Path) -> None:
    repository.write("data", "1")
    (tmp_path / "clone").mkdir()
    (tmp_path / "clone" / "data").write_text("2")
    place = safe_copy(found(repository), fill(repository, 1), tmp_path)
    (place / "data").unlink()
    link_into(place, repository.path, ["data"])
    with pytest.raises(MlxpyError, match=r"leads to .* already, .*: set parent_work_dir"):
        link_into(place, tmp_path / "clone", ["data"])
