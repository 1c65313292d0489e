"""Lists every sentence in which mlxpy tells a user that something is wrong: ``python tests/messages.py``.

It reads the source, not a run: what is raised as one of the errors that a user can cause or that end a
command, and what is warned of, logged or printed on standard error. What is put in shows as ``{…}``.
"""

import ast
import functools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
PACKAGES = ("mlxpy_core", "hydra_plugins/mlxpy", "mlxpy")
BUILTIN = {"AttributeError", "ImportError", "KeyError", "TypeError", "ValueError"}
"""Of Python's own errors those that are raised at users of the API; others speak to mlxpy itself."""
CALLS = {"warn", "warning", "error", "exit", "usage", "note", "fail"}


@dataclass(frozen=True)
class Message:
    """What a user reads, and where the source says it."""

    file: str
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.kind}: {self.text}"


@functools.cache
def messages() -> list[Message]:
    """Lists all messages in the order of files and lines."""
    files = [path for name in PACKAGES for path in sorted((REPOSITORY / name).rglob("*.py"))]
    trees = {str(path.relative_to(REPOSITORY)): ast.parse(path.read_text()) for path in files}
    errors = error_classes(list(trees.values()))
    found = [
        Message(file, node.lineno, kind, text)
        for file, tree in trees.items()
        for node, kind in told(tree, errors)
        for text in texts(node)
    ]
    return sorted(found, key=lambda message: (message.file, message.line))


def error_classes(trees: list[ast.Module]) -> set[str]:
    """Names the error classes that a user can meet: of mlxpy, of click, and some of Python's."""
    named = {"MlxpyError", "UsageError", "ClickException", "BadParameter", "SystemExit", *BUILTIN}
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    while True:
        more = {one.name for one in classes if any(name(base) in named for base in one.bases)} - named
        if not more:
            return named
        named |= more


def told(tree: ast.Module, errors: set[str]) -> Iterator[tuple[ast.Call, str]]:
    """Finds the calls whose argument a user reads: of an error's class, of a warning, to standard error."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = name(node.func)
        to_stderr = any(
            (keyword.arg == "file" and ast.unparse(keyword.value) == "sys.stderr")
            or (keyword.arg == "err" and ast.unparse(keyword.value) == "True")
            for keyword in node.keywords
        )
        written = ast.unparse(node.func) == "sys.stderr.write"
        if called in errors or called in CALLS or to_stderr or written:
            yield node, called


def texts(call: ast.Call) -> Iterator[str]:
    """Gives what the first argument of a call can be, as far as the source says: not of a variable."""
    for argument in call.args[:1]:
        yield from ways(argument)


def ways(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr():
            yield "".join(map(part, node.values))
        case ast.BinOp(op=ast.Add()):
            yield from (
                left + right
                for left in (*ways(node.left),) or ("{…}",)
                for right in (*ways(node.right),) or ("{…}",)
            )
        case ast.IfExp():
            yield from ways(node.body)
            yield from ways(node.orelse)


def part(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    assert isinstance(node, ast.FormattedValue)
    return "{" + ast.unparse(node.value) + "}"


def name(node: ast.expr) -> str:
    return (
        node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    )


if __name__ == "__main__":
    sys.stdout.writelines(f"{message}\n" for message in messages())
