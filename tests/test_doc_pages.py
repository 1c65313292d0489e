"""What the documentation shows is run, and prints what is shown: see `doc_pages`."""

import subprocess
from pathlib import Path

import pytest
from conftest import REPOSITORY, Project
from doc_pages import Scenario, blocks_of, commands_of, why_without
from test_docs import PAGES

MOST_NOT_RUN = 47
"""Rather give a block what it needs than raise this."""


OTHERS = [REPOSITORY / "benchmarks" / "README.md", REPOSITORY / "examples/custom_scheduler/README.md"]
BLOCKS = {str(page.relative_to(REPOSITORY)): list(blocks_of(page)) for page in [*PAGES, *OTHERS]}
SCENARIOS = [
    (name, need)
    for name, blocks in BLOCKS.items()
    for need in sorted({block.needs for block in blocks if not block.not_run})
]


@pytest.mark.parametrize(("name", "need"), SCENARIOS)
def test_a_page_does_what_it_shows(name: str, need: str, tmp_path: Path) -> None:
    if need and (reason := why_without(need)):
        pytest.skip(reason)
    directory = tmp_path / "project"
    directory.mkdir()
    with Scenario(Project(directory)) as scenario:
        for block in BLOCKS[name]:
            if not block.not_run and (block.needs == need or block.title):
                try:
                    scenario.run(block)
                except AssertionError as error:
                    raise AssertionError(f"{name}:{block.line}: {error}") from error


def test_few_blocks_are_not_run_and_each_says_why() -> None:
    not_run = [block for blocks in BLOCKS.values() for block in blocks if block.not_run]
    assert [block for block in not_run if len(block.not_run) < 20] == []
    assert len(not_run) <= MOST_NOT_RUN


def test_commands_that_are_not_run_are_ones_to_a_shell() -> None:
    for blocks in BLOCKS.values():
        for command in (one for block in blocks if block.not_run for one in commands_of(block)):
            if "..." not in command and "<" not in command:
                subprocess.run(["bash", "-n", "-c", command], check=True)
