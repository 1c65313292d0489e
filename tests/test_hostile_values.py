"""What runs hold is data to every command that shows it: nothing of it steers a terminal or a spreadsheet."""

import csv
import re
import subprocess
from pathlib import Path

import pexpect
import pytest
from conftest import MLXPY
from hostile import ESCAPED, FORMULAS, HOSTILE, make_hostile_run

import mlxpy

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
CONTROLS = {chr(code) for code in (*range(32), *range(127, 160), 0x202E)} - set("\n\r\t")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose runs, tags, notes, logs and exceptions hold hostile values."""
    project = tmp_path_factory.mktemp("project")
    make_hostile_run(project / "logs")
    formulas = {f"f{number}": text for number, text in enumerate(FORMULAS)}
    with mlxpy.Logger(
        project / "logs", config=formulas, tags=["=1+1", "<script>alert(1)</script>"]
    ) as logger:
        Path(logger.log_dir, "log.stdout").write_text(HOSTILE[5] + "\n")
    subprocess.run([MLXPY, "note", "2", HOSTILE[5] + "=1"], cwd=project, check=True)
    return project


@pytest.mark.parametrize(
    ("command", "seen"),
    [
        ("ls -c config.t -c config.lr", ESCAPED),
        ("ls -c tags -c note", ESCAPED),
        ("ls --json -c config.t", r"\u001b]0;title"),
        ("show 1", "</script><script>alert(2)"),
        ("show 2", ESCAPED),
        ("logs 1 --stderr", ESCAPED),
        ("logs 2", ESCAPED),
        ("diff 1 2", "\\x1b]0;title"),
        ("status", "FAILED"),
        ("export -o -", "=1+1"),
    ],
)
def test_nothing_steers_a_terminal(project: Path, command: str, seen: str) -> None:
    terminal = pexpect.spawn(
        MLXPY, command.split(), cwd=str(project), dimensions=(40, 2000), encoding="utf-8", timeout=60
    )
    shown = terminal.read()
    terminal.close()
    assert terminal.exitstatus == command.startswith("diff"), shown
    assert seen in shown
    assert not CONTROLS & set(COLOURS.sub("", shown))


def test_no_cell_of_a_csv_file_is_a_formula(project: Path, tmp_path: Path) -> None:
    exported = tmp_path / "runs.csv"
    subprocess.run([MLXPY, "export", "--metrics", "-o", exported], cwd=project, check=True)
    head, *rows = csv.reader(exported.open(newline=""))
    cells = [*head, *(cell for row in rows for cell in row)]
    assert {f"'{formula}" for formula in FORMULAS} <= set(cells)
    numbers = re.compile(r"-?[\d.]+(e-?\d+)?")
    assert [one for one in cells if one[:1] in set("=+-@\t\r") and not numbers.fullmatch(one)] == []
