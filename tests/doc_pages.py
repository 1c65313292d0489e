"""Reads the pages of the documentation and runs what they show, as their reader would.

A page is a scenario in a directory of its own, from its top to its end. What a block is, its language says,
or its first line where it is indented:

- with a title (```` ```python title="main.py" ````) it is a file;
- in a `console`, a line that begins with ``$`` is a command, and the lines below it are what it prints;
- `sh` are commands that succeed, whatever they print;
- `python` is run by one interpreter for the page, `pycon` too, whose output is compared;
- `text` and `mermaid` are no code; `yaml` and `json` without a title are not either, but have to be such.

``...`` stands for anything; times, durations, sizes and widths of columns need not be equal. A comment in the
line above a block says what is different about it:

- ``<!-- not run: REASON -->``;
- ``<!-- needs: slurm -->``: it is run where that is, a cluster or a package such as ``optuna>=4``;
- ``<!-- unseen python`` begins a block that the page does not show, which ``-->`` ends.
"""

import configparser
import importlib.metadata
import io
import json
import os
import re
import shlex
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pexpect
import warm
import yaml
from conftest import ASK, MLXPY, REPOSITORY, Project, why_not
from packaging.requirements import Requirement

SHOWN = {"text", "mermaid"}
DATA = {"yaml": yaml.safe_load, "json": json.loads}
FENCE = re.compile(r"( *)```(\w*)(?: title=\"([^\"]+)\")?$")
COMMENT = re.compile(r" *<!-- (not run|needs|unseen)(?:: | )(.+?)(?: -->)?$")
_TITLE = re.compile(r"(\w+)(?: title=\"([^\"]+)\")?$")
_SETUP = configparser.ConfigParser()
_SETUP.read(REPOSITORY / "setup.cfg")
EXTRAS = set(_SETUP["options.extras_require"])
HOME = "/home/ada/project"
_SHELL = re.compile(r"[|&;<>*?~$`]|^\w+=|^cd |^export ")


@dataclass(frozen=True)
class Block:
    """A block of code of a page."""

    line: int
    language: str
    title: str | None
    text: str
    not_run: str = ""  # why
    needs: str = ""


def blocks_of(page: Path) -> Iterator[Block]:
    """Reads the blocks of a page, in their order."""
    lines = page.read_text().splitlines()
    said: dict[str, str] = {}  # by the comment above
    at = 0
    while at < len(lines):
        start, line = at, lines[at]
        at += 1
        if comment := COMMENT.match(line):
            said = {**said, comment[1]: comment[2]}
            if comment[1] == "unseen":
                end = lines.index("-->", at)
                language, title = _TITLE.match(comment[2]).groups()  # type: ignore[union-attr]  # or the page is wrong
                yield Block(
                    start + 1, language, title, _dedent(lines[at:end]), needs=said.get("needs", "")
                )
                at, said = end + 1, {}
            continue
        if fence := FENCE.match(line):
            end = lines.index(f"{fence[1]}```", at)
            language, title, inside, at = fence[2], fence[3], lines[at:end], end + 1
        elif line.startswith("    ") and (start == 0 or not lines[start - 1].strip() or said):
            while at < len(lines) and (not lines[at].strip() or lines[at].startswith("    ")):
                at += 1
            inside, title = lines[start:at], None
            while not inside[-1].strip():
                inside.pop()
            if _in_a_list(lines, start):
                continue
            language = _language(_dedent(inside))
        else:
            if line.strip():
                said = {}
            continue
        yield Block(
            start + 1, language, title, _dedent(inside), said.get("not run", ""), said.get("needs", "")
        )
        said = {}


def _in_a_list(lines: list[str], start: int) -> bool:
    """Returns whether an indented paragraph goes on with an item of a list."""
    above = next((line for line in reversed(lines[:start]) if line.strip()), "")
    return bool(re.match(r"(- |\d+\. |  )", above)) and not lines[start].startswith("      ")


def _dedent(lines: list[str]) -> str:
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "\n".join(line[margin:] for line in lines) + "\n"


def _language(text: str) -> str:
    if text.startswith("$ ") or "\n$ " in text:
        return "console"
    if text.startswith(">>> "):
        return "pycon"
    return "sh" if text.split()[0] in {"python", "mlxpy", "mlxpysub", "pip", "eval"} else ""


def why_without(need: str) -> str:
    """Returns why a block cannot be run here; nothing if it can."""
    if need in ASK:
        return why_not(need)
    wanted = Requirement(need)
    try:
        found = importlib.metadata.version(wanted.name)
    except importlib.metadata.PackageNotFoundError:
        return f"no {need} here"
    return "" if wanted.specifier.contains(found) else f"{wanted.name} {found} is here, not {need}"


class Scenario:
    """A directory in which the blocks of a page are run one after the other."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._python: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Scenario":
        return self

    def __exit__(self, *_: object) -> None:
        if list(self.project.path.glob("logs/*/.keys/job.yaml")):  # jobs of a page that has failed, say
            under_way = "info.status in ['SUBMITTED', 'RUNNING']"
            command = [MLXPY, "cancel", "--yes", under_way]
            subprocess.run(command, cwd=self.project.path, capture_output=True, timeout=300)
        if self._python and self._python.stdin:
            self._python.stdin.close()
            assert self._python.wait(60) == 0

    def run(self, block: Block) -> None:
        """Runs a block, and compares what it prints."""
        if block.title:
            self.project.write(block.title, block.text)
        elif block.language in DATA:
            DATA[block.language](block.text)
        elif block.language == "sh":
            for command in _commands(block.text):
                code, output = self._shell(command)
                assert code == 0, f"$ {command}\n{output}"
        elif block.language == "console":
            for command, expected in _session(block.text):
                _, output = self._shell(command, re.findall(r"\]: (\S+)$", expected, re.MULTILINE))
                self._compare(expected, output, f"$ {command}")
        elif block.language in ("python", "pycon"):
            self._interpret(block)
        else:
            assert block.language in SHOWN, f"a block of what? {block.language or block.text}"

    def _shell(self, command: str, answers: list[str] | None = None) -> tuple[int, str]:
        """Runs a command as a shell does, where answers are given at a terminal; its code and output."""
        subprocess.run(["bash", "-n", "-c", command], check=True)  # that it is one
        if command.startswith("pip install "):  # the sessions of noxfile.py install
            assert set(re.findall(r"mlxpy\[(\w+)\]", command)) <= EXTRAS, command
            return 0, ""
        own = self.project.path / "bin"
        path = os.pathsep.join([str(own), *warm.directories(), os.environ["PATH"]])
        environment = {
            **os.environ,
            "PATH": path,
            "PYTHONWARNINGS": "ignore",
            "REPOSITORY": str(REPOSITORY),
        }
        if answers:
            terminals = {**environment, "NO_COLOR": "1"}
            options = {"cwd": str(self.project.path), "env": terminals, "dimensions": (50, 300)}
            with pexpect.spawn(
                "bash", ["-c", command], timeout=300, encoding="utf-8", **options
            ) as terminal:
                terminal.logfile_read = io.StringIO()
                for answer in answers:
                    terminal.expect_exact("]: ")
                    terminal.sendline(answer)
                terminal.expect(pexpect.EOF)
                return 0, terminal.logfile_read.getvalue()
        merged = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
        words = [] if _SHELL.search(command) or own.exists() else shlex.split(command)
        if words[:1] == ["python"] and words[1].endswith(".py"):
            process = self.project.start(*words[1:], **merged)
        elif words[:1] == ["mlxpy"]:
            env = {
                "PYTHONWARNINGS": "ignore"
            }  # as apps have it: one process forks both, see tests/warm.py
            process = self.project.start_mlxpy(*words[1:], env=env, **merged)
        else:
            process = subprocess.Popen(
                ["bash", "-c", command], cwd=self.project.path, env=environment, text=True, **merged
            )
        with process:
            output, _ = process.communicate(timeout=300)
        return process.returncode, output

    def _interpret(self, block: Block) -> None:
        if self._python is None:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
            self._python = self.project.start(str(Path(__file__).with_name("doc_python.py")), **pipes)
        assert self._python.stdin
        assert self._python.stdout
        print(json.dumps([block.language, block.text]), file=self._python.stdin, flush=True)
        for answer in iter(self._python.stdout.readline, ""):
            if answer.startswith("\0"):
                break
        else:
            raise AssertionError("the interpreter has ended")
        error, examples = json.loads(answer[1:])
        assert not error, f"{block.text}\n{error}"
        for source, expected, output in examples:
            self._compare(expected, output, f">>> {source}")

    def _compare(self, expected: str, output: str, what: str) -> None:
        output = output.replace(os.path.realpath(self.project.path), HOME).replace(
            str(self.project.path), HOME
        )
        pattern = re.escape(_normal(expected)).replace(re.escape("..."), "(.*)")
        if not re.fullmatch(pattern, _normal(output), re.DOTALL):
            raise AssertionError(f"{what}\nshown:\n{expected}\nbut it prints:\n{output}")


def commands_of(block: Block) -> list[str]:
    """Lists the commands of a block, none if it is not for a shell."""
    if block.language == "console":
        return [command for command, _ in _session(block.text)]
    return _commands(block.text) if block.language == "sh" else []


def _commands(text: str) -> list[str]:
    return [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def _session(text: str) -> Iterator[tuple[str, str]]:
    for command, expected in re.findall(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
        yield command.replace("\\\n", " ").split("  # ")[0], expected


_VARYING = [
    (r"\d{4}-\d\d-\d\d[ T_]\d\d[:-]\d\d[:-]\d\d([.,]\d+)?([+-]\d\d:\d\d)?", "TIME"),
    (r"\b\d+(\.\d+)?s\b", "SECONDS"),
    (r"\b[\d.]+ ([KMG]i?)?B\b", "SIZE"),
    (r"\b(process|user) \w+", r"\1 ID"),
    (r"(SLURMScheduler\s+|\"job\": \")\d+", r"\1JOB"),
    (rf"\b({re.escape(socket.gethostname())}|node3)\b", "HOST"),
    (r"-{2,}", "--"),
    (r"…", "..."),
    (r"(\.\.\.\s*)+", "..."),
    (r"\s+", " "),
    (r"^ | $", ""),
]


def _normal(text: str) -> str:
    for pattern, instead in _VARYING:
        text = re.sub(pattern, instead, text)
    # A terminal gets as many digits.
    return re.sub(r"\d+\.\d{5,}(e-?\d+)?", lambda number: f"{float(number[0]):.6g}", text)
