"""What the shell completes, in a real bash at a terminal: the command ``mlxpy``, and options of Hydra apps."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import MLXPY

pexpect = pytest.importorskip("pexpect", reason="pexpect is not installed")

APP = """
import hydra
@hydra.main(config_path=None, version_base="1.3")
def main(cfg): pass
main()
"""


@pytest.fixture
def bash(tmp_path: Path) -> Iterator[Any]:
    bins = f"{Path(MLXPY).parent}:{Path(sys.executable).parent}"
    shell = pexpect.spawn(
        "bash",
        ["--norc", "--noprofile", "-i"],
        cwd=tmp_path,
        encoding="utf-8",
        timeout=60,
        dimensions=(24, 200),
    )
    shell.sendline(f"bind 'set enable-bracketed-paste off'; PATH={bins}:$PATH HISTFILE= PS1='rea''dy> '")
    shell.expect("ready> ")
    yield shell
    shell.close(force=True)


def test_commands_and_options_of_mlxpy(bash: Any) -> None:
    bash.sendline('eval "$(_MLXPY_COMPLETE=bash_source mlxpy)"; echo "se""t up"')
    bash.expect("set up")
    bash.send("mlxpy resu\t")
    bash.expect("mlxpy resubmit ")
    bash.send("--comp\t")
    bash.expect("--complete ")


def test_launchers_and_callbacks_in_a_hydra_app(bash: Any, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(APP)
    bash.sendline('eval "$(python main.py -sc install=bash)"; echo "se""t up"')
    bash.expect("set up")
    bash.send("python main.py hydra/launcher=mlxp_sl\t")
    bash.expect("hydra/launcher=mlxp_slurm")
    bash.send(" hydra/callbacks=mlxp_l\t")
    bash.expect("hydra/callbacks=mlxp_logger")


def test_the_list_of_commands_is_not_cut_off() -> None:
    command = [MLXPY, "--help"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"COLUMNS": "80", "LANG": "C.UTF-8"}
    )
    listed = done.stdout.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert len(listed) > 15
    assert [line for line in listed if not line.endswith(".") or line.endswith("...")] == []
