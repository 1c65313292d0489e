"""Whether a process that a run names lives: never guessed where it cannot be seen."""

import os
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import Project

from mlxpy_core import dump_yaml
from mlxpy_core._runs import _process
from mlxpy_core._runs._process import describe_process, died_here, lives_here

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root makes namespaces")


def look(
    process: dict[str, Any], *setup: str, namespaces: str = "--mount", as_nobody: bool = False
) -> str:
    """Returns what another process, in namespaces of its own, says of a process."""
    program = (
        "import os, sys, yaml; from mlxpy_core._runs import _process as p; note = yaml.safe_load(sys.argv[1])\n"
        + ("os.setgroups([]); os.setgid(65534); os.setuid(65534)\n" if as_nobody else "")
        + "print(p.lives_here(note), p.died_here(note))"
    )
    command = shlex.join([sys.executable, "-c", program, dump_yaml(process)])
    script = " && ".join([*setup, command])
    done = subprocess.run(
        ["unshare", *namespaces.split(), "sh", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def ended_process() -> dict[str, Any]:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        return describe_process(process.pid)


def test_a_process_lives_until_it_has_ended() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        note = describe_process(process.pid)
        assert (lives_here(note), died_here(note)) == (True, False)
    assert (lives_here(note), died_here(note)) == (False, True)


def test_a_later_process_of_the_same_number_is_another() -> None:
    note = {**describe_process(), "process_start": 1}
    assert (lives_here(note), died_here(note)) == (False, True)


@needs_root
def test_a_process_that_proc_hides_is_alive() -> None:
    hide = "mount -t proc -o hidepid=2 proc /proc"
    assert look(describe_process(), hide, as_nobody=True) == "True False"
    assert look(ended_process(), hide, as_nobody=True) == "False True"


@needs_root
@pytest.mark.parametrize("namespaces", ["--pid --fork", "--pid --fork --mount-proc"])
def test_of_a_process_in_another_namespace_nothing_is_known(namespaces: str) -> None:
    assert look(describe_process(), namespaces=namespaces) == "False False"
    assert look(ended_process(), namespaces=namespaces) == "False False"


@needs_root
def test_where_proc_shows_another_namespace_a_process_is_found_by_its_signal() -> None:
    program = """if True:
        import subprocess
        from mlxpy_core._runs._process import describe_process, died_here
        print(died_here(describe_process()))
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
            note = {**describe_process(), "process_id": process.pid}
            print(died_here(note))
        print(died_here(note))
    """
    command = ["unshare", "--pid", "--fork", sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "True"]


BEFORE = {"boot_id": "another", "process_id": 1, "process_start": 1, "alive_at": 1}
CARDS = {"network_cards": "a card"}


@pytest.mark.parametrize(
    ("differs", "died"),
    [
        ({}, True),
        ({"alive_at": time.time()}, False),  # when this machine ran already
        ({"machine_id": None}, False),
        ({"machine_id": "other"}, False),
        ({"host": "other"}, False),
        ({"network_cards": "other"}, False),
        ({"network_cards": None}, False),
        ({"boot_id": None}, False),
        ({"process_namespace": "pid:[4026532000]"}, False),
    ],
)
def test_a_reboot_is_believed_of_the_very_machine_only(
    monkeypatch: pytest.MonkeyPatch, differs: dict[str, Any], died: bool
) -> None:
    monkeypatch.setattr(_process, "_network_cards", lambda: "a card")
    monkeypatch.setattr(_process, "_machine_id", lambda: "an id")
    monkeypatch.setattr(_process, "_process_namespace", lambda: "pid:[4026531836]")
    note = {**describe_process(), **BEFORE, **differs}
    assert (lives_here(note), died_here(note)) == (False, died)


@needs_root
def test_a_reboot_is_not_believed_without_a_machine_id(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    note = {**describe_process(), **BEFORE, "machine_id": None}
    assert (
        look(note, f"mount --bind {shlex.quote(str(tmp_path / 'empty'))} /etc/machine-id")
        == "False False"
    )


@needs_root
def test_the_status_of_another_users_live_run_stays(project: Project) -> None:
    project.open_to_all()
    project.write(
        "wait.py", "import mlxpy, sys; mlxpy.Logger('logs'); print(1, flush=True); sys.stdin.read()"
    )
    with project.start("wait.py", stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        attempt = project.info()["attempts"][-1]
        assert attempt["host"] == socket.gethostname()
        assert look(attempt, "mount -t proc -o hidepid=2 proc /proc", as_nobody=True) == "True False"
        process.communicate("")
    assert project.statuses() == ["COMPLETE"]
