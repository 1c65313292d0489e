"""What runs hold is data to every command that shows it: nothing of it steers a terminal or a spreadsheet."""

import csv
import io
import re
import sys
from pathlib import Path

import pexpect
import pytest
from click.testing import CliRunner
from conftest import Project
from hostile import ESCAPED, FORMULAS, HOSTILE, make_hostile_run

from mlxpy_core import Logger, MlxpyError, Reader, dump_yaml, load_yaml
from mlxpy_core._cli import main
from mlxpy_core._io._terminal_text import TerminalText
from mlxpy_core._reading._tables._warnings import UnreadableRunWarning

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
CONTROLS = {chr(code) for code in (*range(32), *range(127, 160), 0x202E)} - set("\n\r\t")
# Does commands one after the other.
COMMANDS = """
import sys
from mlxpy_core._cli import main
for command in sys.argv[1:]:
    try:
        main(command.split())
    except SystemExit as end:
        print(f"{command} ended with {end.code or 0}", flush=True)
"""


def at_terminal(directory: Path, *commands: str, columns: int) -> str:
    """Returns what commands show at a terminal."""
    terminal = pexpect.spawn(
        sys.executable,
        ["-c", COMMANDS, *commands],
        cwd=str(directory),
        timeout=120,
        encoding="utf-8",
        dimensions=(50, columns),
    )
    return str(terminal.read())


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A directory whose runs, tags, notes, logs and exceptions hold hostile values."""
    project = Project(tmp_path_factory.mktemp("project"))
    make_hostile_run(project.path / "logs")
    formulas = {f"f{number}": text for number, text in enumerate(FORMULAS)}
    with Logger(
        project.path / "logs", config=formulas, tags=["=1+1", "<script>alert(1)</script>"]
    ) as logger:
        Path(logger.log_dir, "log.stdout").write_text(HOSTILE[5] + "\n")
    project.mlxpy("note", "2", HOSTILE[5] + "=1")
    return project


def test_nothing_steers_a_terminal(project: Project) -> None:
    seen = {
        "ls -c config.t -c config.lr": ESCAPED,
        "ls -c tags -c note": ESCAPED,
        "ls --json -c config.t": r"\u001b]0;title",
        "show 1": "</script><script>alert(2)",
        "show 2": ESCAPED,
        "logs 1 --stderr": ESCAPED,
        "logs 2": ESCAPED,
        "diff 1 2": "\\x1b]0;title",
        "status": "FAILED",
        "export -o -": "=1+1",
    }
    rest = at_terminal(project.path, *seen, columns=2000)
    assert not CONTROLS & set(COLOURS.sub("", rest))
    for command, text in seen.items():
        shown, end, rest = rest.partition(f"{command} ended with {int(command == 'diff 1 2')}\r\n")
        assert end, rest
        assert text in shown, command


def test_no_cell_of_a_csv_file_is_a_formula(project: Project, tmp_path: Path) -> None:
    exported = tmp_path / "runs.csv"
    project.mlxpy("export", "--metrics", "-o", str(exported))
    head, *rows = csv.reader(exported.open(newline=""))
    cells = [*head, *(cell for row in rows for cell in row)]
    assert {f"'{formula}" for formula in FORMULAS} <= set(cells)
    numbers = re.compile(r"-?[\d.]+(e-?\d+)?")
    assert [one for one in cells if one[:1] in set("=+-@\t\r") and not numbers.fullmatch(one)] == []


SEQUENCES = [
    "\x1b]0;title\x07",
    "\x1b]52;c;aGk=\x07",
    "\x1b[2J",
    "\x1b[1A",
    "\x1bc",
    "\x1b[?1049h",
    "\x9b2J",
    "\x08",
    "\u202e",
]
SHOWN = ["ls", "ls -c config.a", "status", "show 1", "diff 1 2 --info", "export --metrics -o -", "clean", "logs 1",
         "logs 1 --stderr", "ls config.b==1", "cancel 1-2", "resubmit 1-2", "rerun 1", "ls --json"]  # fmt: skip


def test_nothing_of_damaged_runs_steers_a_terminal(tmp_path: Path) -> None:
    evil = "".join(SEQUENCES)
    logs = tmp_path / "logs"
    for number in (1, 2):
        with Logger(logs, config={"a": f"{evil}{number}", f"k{evil}": number}) as logger:
            logger.log_metrics({"loss": 1, f"m{evil}": evil}, "train")
            path = Path(logger.log_dir)
        for end in ("stdout", "stderr"):
            (path / f"log.{end}").write_text(f"\x1b[31mred\x1b[0m {evil}\r\n\x1b[2")
        info = load_yaml((path / "metadata/info.yaml").read_text())
        info.update(hostname=evil, cmd=evil, user=evil, exception={"type": evil, "message": evil})
        info["scheduler"] = {"name": evil, "scheduler_job_id": evil, "may_come_back": True}
        if number == 2:
            info.update(status="SUBMITTED", attempts=[])
        (path / "metadata/info.yaml").write_text(dump_yaml(info))
    (logs / "3/metadata").mkdir(parents=True)
    (logs / "3/metadata/info.yaml").write_text(f"status: {{{evil!r}: 1}}")
    (logs / "4").mkdir()
    (logs / "4/metadata").symlink_to(evil.replace("/", ""))
    shown = at_terminal(tmp_path, *SHOWN, columns=200)
    assert "red" in shown
    assert "\\x1b]0;title" in shown
    for colour in ("\x1b[31m", "\x1b[0m"):
        assert colour in shown
    assert not CONTROLS & set(COLOURS.sub("", shown))
    with pytest.warns(UnreadableRunWarning) as warned:
        reader = Reader(logs)
    for text in (repr(reader.fields), repr(reader.searchable), repr(reader.search()), *map(str, warned)):
        assert text.replace("\n", "").isprintable()
    with pytest.raises(MlxpyError) as refused:
        reader.search("config.nothing == 1")
    assert str(refused.value).replace("\n", "").isprintable()


def test_a_terminal_gets_colours_and_text_whatever_the_parts() -> None:
    text = "\x1b[1;31mred\x1b[m \x1b[38;2;1;2;3mé\u200d\x1b[K|\x1b[9999999999999999999999999999999999999999999m\x9b\r\n"
    whole = "\x1b[1;31mred\x1b[m \x1b[38;2;1;2;3mé\u200d\\x1b[K|\\x1b[9999999999999999999999999999999999999999999m\\x9b\r\n"
    content = text.encode()
    for size in (1, 2, 3, len(content)):
        shown = TerminalText()
        parts = [shown.feed(content[i : i + size]) for i in range(0, len(content), size)]
        assert b"".join(parts).decode() == whole
        assert shown.finish() == b"\x1b[0m"
    shown = TerminalText()
    assert shown.feed(b"\xff\x1b[3") + shown.finish() == b"\\xff\\x1b[3"


def test_a_pipe_gets_what_a_run_printed_as_it_is(tmp_path: Path) -> None:
    with Logger(tmp_path / "logs") as logger:
        Path(logger.log_dir, "log.stdout").write_bytes(b"\x1b[2J\r\n")
    assert Project(tmp_path).mlxpy("logs", "1")[0] == "\x1b[2J\n"  # text=True reads \r\n so


CELLS = ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1"]
NO_FORMULAS = ["-1", "+1e-3", "-0.5", "-inf", "a=1", "", "'=1"]


@pytest.mark.parametrize(
    ("arguments", "safe"),
    [
        (["-o", "runs.csv"], True),
        (["--no-spreadsheet", "-o", "runs.csv"], False),
        (["-o", "-"], False),
        (["--spreadsheet", "-o", "-"], True),
    ],
)
def test_cells_for_a_spreadsheet_are_no_formulas(
    in_directory: Path, arguments: list[str], safe: bool
) -> None:
    texts = {f"text{number}": text for number, text in enumerate([*CELLS, *NO_FORMULAS])}
    with Logger(config={**texts, "number": -5}):
        pass
    printed = CliRunner().invoke(main, ["export", *arguments], catch_exceptions=False).stdout
    written = (in_directory / "runs.csv").read_bytes().decode() if "runs.csv" in arguments else printed
    found = dict(zip(*csv.reader(io.StringIO(written, newline="")), strict=True))
    for name, text in texts.items():
        assert found[f"config.{name}"] == (f"'{text}" if safe and text in CELLS else text)
    assert found["config.number"] == "-5"
