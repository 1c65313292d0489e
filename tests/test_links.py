"""Files that are written and read where another user may have put something; root's tests give files away."""

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest
from conftest import NOBODY, need_root, tree_of

from mlxpy_core import StorageError
from mlxpy_core._io._files import (
    append_line,
    read_bytes,
    whole_file,
    whole_stream,
    write_all_whole,
    write_whole,
)
from mlxpy_core._io._links import make_folder, open_below


def by_stream(path: Path, within: Path) -> None:
    with whole_stream(path, within) as file:
        file.write(b"ours")


def by_path(path: Path, within: Path) -> None:
    with whole_file(path, within) as temporary:
        temporary.write_text("ours")


def by_text(path: Path, within: Path) -> None:
    write_whole(path, "ours", within)


def together(path: Path, within: Path) -> None:
    write_all_whole({path: "ours"}, within)


def in_place(path: Path, within: Path) -> None:
    os.close(open_below(path, within, os.O_WRONLY | os.O_CREAT))


def folder(path: Path, within: Path) -> None:
    make_folder(path, within)


WRITERS = [by_stream, by_path, by_text, together, in_place, folder]
Write = Callable[[Path, Path], None]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    (tmp_path / "home/metadata").mkdir(parents=True)
    (tmp_path / "home/metadata/info.yaml").write_text("mine")
    (tmp_path / "logs/1").mkdir(parents=True)
    return tmp_path / "logs"


def link(place: Path, target: str, owner: int = NOBODY) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)
    os.chown(place, owner, owner, follow_symlinks=False)


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(("place", "target"), [("1/metadata", "../../home/metadata"), ("2", "../home")])
def test_nothing_is_written_through_a_directory_that_another_user_links(
    logs: Path, write: Write, place: str, target: str
) -> None:
    need_root()
    link(logs / place, target)
    before = tree_of(logs.parent)
    path = logs / place.partition("/")[0] / "metadata" / "new"
    with pytest.raises(OSError, match="is a symbolic link of user nobody, which is not followed"):
        write(path, logs)
    assert tree_of(logs.parent) == before


@pytest.mark.parametrize("write", [by_stream, by_path, by_text, together])
def test_a_file_replaces_the_link_that_another_user_put_there(logs: Path, write: Write) -> None:
    need_root()
    link(logs / "1/info.yaml", "../../home/metadata/info.yaml")
    write(logs / "1/info.yaml", logs)
    assert (logs / "1/info.yaml").read_text() == "ours"
    assert not (logs / "1/info.yaml").is_symlink()
    assert (logs.parent / "home/metadata/info.yaml").read_text() == "mine"


def test_no_file_is_opened_through_another_users_link(logs: Path) -> None:
    need_root()
    link(logs / "1/last_id", "../../home/metadata/info.yaml")
    with pytest.raises(OSError, match="last_id is a symbolic link of user nobody"):
        in_place(logs / "1/last_id", logs)
    link(logs / "1/new", "../../home/new")  # to nowhere: O_CREAT would make it
    with pytest.raises(OSError, match="new is a symbolic link of user nobody"):
        in_place(logs / "1/new", logs)
    assert os.listdir(logs.parent / "home") == ["metadata"]


@pytest.mark.parametrize("write", WRITERS)
def test_ones_own_links_are_followed(logs: Path, write: Write) -> None:
    """To scratch, as many have them; also where the directory that was named is one, and not one's own."""
    link(logs / "1/metadata", "../../home/metadata", os.getuid())
    write(logs / "1/metadata/new", logs)
    assert (logs.parent / "home/metadata/new").exists()
    link(logs.parent / "named", "logs", NOBODY if os.getuid() == 0 else os.getuid())
    write(logs.parent / "named/1/new", logs.parent / "named")
    assert (logs / "1/new").exists()


def test_what_is_left_half_written_is_removed(logs: Path) -> None:
    with pytest.raises(StorageError, match="cannot write"), whole_file(logs / "1/x", logs):
        pass  # nothing was written
    with pytest.raises(TypeError), whole_stream(logs / "1/x", logs) as file:
        file.write("no bytes")  # type: ignore[arg-type]  # as a saver's error would end it
    assert os.listdir(logs / "1") == []


def test_of_files_that_are_written_together_none_has_its_name_before_all_are_on_disk(
    logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        logs / "1/.keys/job.yaml": "a",
        logs / "1/script.sh": "b",
        logs / "1/metadata/info.yaml": "c",
    }
    seen: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noting(descriptor: int) -> None:
        assert not any(path.exists() for path in files)
        fsync(descriptor)
        seen.append("fsync")

    def naming(temporary: str, name: str, **folders: int) -> None:
        replace(temporary, name, **folders)
        seen.append(name)

    monkeypatch.setattr(os, "fsync", noting)
    monkeypatch.setattr(os, "replace", naming)
    write_all_whole(files, logs, [logs / "1/script.sh"], unsynced=[logs / "1/.keys/job.yaml"])
    assert seen == ["fsync"] * 2 + ["job.yaml", "script.sh", "info.yaml"]
    assert [path.read_text() for path in files] == ["a", "b", "c"]
    assert [os.access(path, os.X_OK) for path in files] == [False, True, False]


def test_what_is_refused_leaves_nothing_of_files_that_are_written_together(logs: Path) -> None:
    (logs / "1/metadata").write_text("in the way")
    before = tree_of(logs)
    with pytest.raises(StorageError, match=r"cannot write .*info\.yaml"):
        write_all_whole({logs / "1/script.sh": "a", logs / "1/metadata/info.yaml": "b"}, logs)
    assert tree_of(logs) == before


def test_a_line_is_added_whole_or_not_at_all(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = logs / "1/.keys/job.yaml"
    write_all_whole({path: "first\n"}, logs)
    append_line(path, "second\n", logs)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(os, "fsync", Mock(side_effect=full))
    with pytest.raises(StorageError, match=r"cannot write .*job\.yaml: No space"):
        append_line(path, "third\n", logs)
    assert path.read_text() == "first\nsecond\n"


def test_a_new_file_is_never_one_that_is_there(logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if somebody could guess its name."""
    monkeypatch.setattr("secrets.token_hex", lambda size: "0" * 2 * size)
    guessed = logs / "1/.mlxpy-tmp-0000000000000000-x"
    for planted in (
        lambda: guessed.write_text("theirs"),
        lambda: guessed.symlink_to(logs.parent / "home/x"),
    ):
        planted()
        with pytest.raises(StorageError, match="File exists"):
            write_whole(logs / "1/x", "ours", logs)
        guessed.unlink(missing_ok=True)
    assert os.listdir(logs.parent / "home") == ["metadata"]


def test_what_a_link_of_another_user_leads_to_is_read_if_it_is_theirs(logs: Path) -> None:
    need_root()
    link(logs / "1/metadata", "../../home/metadata")
    path = logs / "1/metadata/info.yaml"
    with pytest.raises(OSError, match="metadata is a symbolic link of user nobody"):
        read_bytes(path, logs)
    os.chown(logs.parent / "home/metadata", NOBODY, NOBODY)
    assert read_bytes(path, logs) == b"mine"
    with pytest.raises(OSError, match="metadata is a symbolic link of user nobody"):
        in_place(path, logs)
    link(logs / "1/info.yaml", "../../home/metadata/info.yaml")
    with pytest.raises(OSError, match=r"info.yaml is a symbolic link of user nobody"):
        read_bytes(logs / "1/info.yaml", logs)


@pytest.mark.parametrize("kind", ["pipe", "directory", "device", "socket"])
def test_what_is_no_file_is_not_waited_for(
    logs: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = logs / "1/x"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        monkeypatch.chdir(path.parent)  # paths of sockets are short
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
    with pytest.raises(OSError, match=r"no regular file|No such device"):
        read_bytes(path)


def test_a_file_that_is_larger_than_memory_is_not_read(logs: Path) -> None:
    with open(logs / "1/x", "wb") as file:
        file.truncate(10 * 2**30)
    with pytest.raises(OSError, match="it has more than"):
        read_bytes(logs / "1/x", logs)
