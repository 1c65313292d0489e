"""What the documentation names is there."""

import ast
import re
from pathlib import Path

import pytest
from conftest import REPOSITORY

ARCHITECTURE = REPOSITORY / "docs" / "architecture.md"
PAGES = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md")])
PACKAGES = ("mlxpy_core", "hydra_plugins/mlxpy", "mlxpy")
SOURCES = [path for package in PACKAGES for path in sorted((REPOSITORY / package).rglob("*.py"))]
# Between backquotes; blocks of code (which begin with three) name files of the user.
CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


def named_files(page: Path) -> list[str]:
    """Lists the files and folders of the repository that a page names by their paths."""
    ignored = {line.strip("/") for line in (REPOSITORY / ".gitignore").read_text().splitlines()}
    top = {path.name for path in REPOSITORY.iterdir()} - ignored
    named = [code.split()[0] for code in CODE.findall(page.read_text())]  # a command has arguments
    return [name for name in named if "/" in name and name.split("/")[0] in top and "<" not in name]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    assert [name for name in named_files(page) if not (REPOSITORY / name).exists()] == []


def test_the_architecture_names_every_folder_of_the_engine_or_each_module_in_it() -> None:
    named = set(named_files(ARCHITECTURE))
    unnamed = {
        str(path.relative_to(REPOSITORY))
        for path in SOURCES
        if f"{path.parent.relative_to(REPOSITORY)}/" not in named
        and str(path.relative_to(REPOSITORY)) not in named
    }
    assert unnamed == set()


def test_every_module_that_the_architecture_names_without_its_folder_exists() -> None:
    named = {name for name in CODE.findall(ARCHITECTURE.read_text()) if re.fullmatch(r"_\w+\.py", name)}
    assert named - {path.name for path in SOURCES} == set()


def test_every_function_that_the_architecture_names_exists() -> None:
    named = re.findall(r"([\w.]+)\(\)", " ".join(CODE.findall(ARCHITECTURE.read_text())))
    defined = {
        node.name
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    }
    assert named
    assert [name for name in named if not defined.issuperset(name.split("."))] == []


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_within_the_documentation_leads_somewhere(page: Path) -> None:
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if "://" in link:
            continue
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []
