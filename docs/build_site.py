"""Builds the site from these pages, the others of the repository, and the reference, which is generated.

``python docs/build_site.py`` writes it to build/site, and ends with code 1 where a link leads nowhere.
The pages read the same on GitHub: what is a link between files there is one between pages here.
"""

import dataclasses
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

REPOSITORY = Path(__file__).parent.parent
SOURCES = REPOSITORY / "build" / "site-sources"  # see docs_dir in mkdocs.yml

# Where the pages outside of docs/ are on the site.
ELSEWHERE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/README.md": "benchmarks.md",
    "examples/custom_scheduler/README.md": "custom_scheduler.md",
}
LINK = re.compile(r"(?<=\]\()([^)\s#]+)((?:#[^)\s]*)?)(?=\))")
ERRORS = "Every error is a `mlxpy.MlxpyError`, whose message is one sentence for the user."


def main() -> None:
    shutil.rmtree(SOURCES, ignore_errors=True)
    shutil.copytree(REPOSITORY / "docs", SOURCES, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for page in [*(REPOSITORY / "docs").glob("**/*.md"), *map(REPOSITORY.joinpath, ELSEWHERE)]:
        write(place_of(page), with_links_of_the_site(page))
    plot = SOURCES / "benchmarks.svg"
    run("-m", "benchmarks.plots", str(plot))
    with (SOURCES / "benchmarks.md").open("a") as page:
        page.write(f"\n## Plots\n\n    python -m benchmarks.plots {plot.name}\n\n")
        page.write(f"draws the numbers of the table above, each beside its bound:\n\n![]({plot.name})\n")
    write("reference/options.md", options_page())
    write("reference/commands.md", commands_page())
    write("reference/api.md", api_page())
    run("-m", "zensical", "build", "--clean", "--strict")


def run(*arguments: str) -> None:
    if code := subprocess.run([sys.executable, *arguments], cwd=REPOSITORY).returncode:
        sys.exit(code)


def write(name: str, text: str) -> None:
    place = SOURCES / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


# The pages that are written by hand.


def place_of(page: Path) -> str:
    name = str(page.relative_to(REPOSITORY))
    return ELSEWHERE.get(name) or name.removeprefix("docs/")


def with_links_of_the_site(page: Path) -> str:
    """Returns a page's text, whose links lead to where its targets are on the site."""
    here = Path(place_of(page)).parent

    def link(match: re.Match[str]) -> str:
        if "://" in match[1]:
            return match[0]
        target = (page.parent / match[1]).resolve()
        if target.is_dir():
            target /= "README.md"
        return os.path.relpath(place_of(target), here) + match[2]

    return LINK.sub(link, page.read_text())


# Options.


def options_page() -> str:
    from hydra_plugins.mlxpy import _nodes, _submitit_nodes, _sweeper_nodes
    from mlxpy import _settings

    chapters = [
        ("hydra/callbacks=mlxp_logger", "hydra.callbacks.mlxp_logger", _nodes.MlxpLoggerNode),
        ("hydra/callbacks=mlxp_git", "hydra.callbacks.mlxp_git", _nodes.MlxpGitNode),
        ("hydra/launcher=mlxp_local", "hydra.launcher", _nodes.LocalLauncherNode),
        ("hydra/launcher=mlxp_slurm", "hydra.launcher", _submitit_nodes.SlurmLauncherNode),
        ("hydra/launcher=mlxp_submitit", "hydra.launcher", _submitit_nodes.SubmititLauncherNode),
        ("hydra/launcher=mlxp_oar, and all others", "hydra.launcher", _nodes.MlxpLauncherNode),
        ("hydra/sweeper=mlxp_optuna", "hydra.sweeper", _sweeper_nodes.OptunaSweeperNode),
        ("mlxpy.yaml, for mlxpy.launch", "+mlxpy", _settings.Settings),
        ("logger in mlxpy.yaml", "+mlxpy.logger", _nodes.LoggerSettings),
        ("scheduler in mlxpy.yaml", "+mlxpy.scheduler", _settings.SchedulerSettings),
        ("version_manager in mlxpy.yaml", "+mlxpy.version_manager", _nodes.VersionManagerSettings),
    ]
    parts = ["# Options\n\nEach with its default, as the program has them."]
    for title, place, node in chapters:
        meanings = comments_of(node)
        rows = [
            f"| `{option.name}` | {default_of(option)} | {meanings[option.name]} |"
            for option in dataclasses.fields(node)
            if not option.name.startswith("_")
        ]
        head = f"## {title}\n\nAt `{place}`.\n\n| option | default | meaning |\n|---|---|---|\n"
        parts.append(head + "\n".join(rows))
    return "\n\n".join(parts) + "\n"


def default_of(option: dataclasses.Field[Any]) -> str:
    """Returns an option's default as YAML has it; nothing where the option has none, or is a group."""
    default = option.default
    if option.default_factory is not dataclasses.MISSING:
        default = option.default_factory()
    if default is dataclasses.MISSING or default == "???" or dataclasses.is_dataclass(default):
        return ""
    return f"`{json.dumps(default) if not isinstance(default, str) or not default else default}`"


def comments_of(node: type) -> dict[str, str]:
    """Returns the comments above the options in the source of a node and its bases, by their names."""
    found: dict[str, str] = {}
    for base in [one for one in reversed(node.__mro__) if dataclasses.is_dataclass(one)]:
        previous = comment = ""  # that of the option above is meant for this one, too
        for line in inspect.getsource(base).splitlines():
            if line.lstrip().startswith("# "):
                comment += line.strip()[1:]
            elif option := re.match(r"    (\w+): ", line):
                above = comment or found.get(option[1]) or previous
                found[option[1]] = above.strip().replace("|", "\\|")
                previous, comment = comment or previous, ""
            elif not line.strip():
                previous = ""
    return found


# Commands.


def commands_page() -> str:
    from mlxpy_core._cli import main as command

    head = (
        "# Commands\n\nWhat `mlxpy COMMAND --help` says; with examples: [the command line](../cli.md)."
    )
    return "\n\n".join([head, *command_sections(command)]) + "\n"


def command_sections(group: Any) -> Iterator[str]:
    context = click.Context(group, info_name="mlxpy", terminal_width=100, max_content_width=100)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command.hidden:
            continue
        with click.Context(command, parent=context, info_name=name) as own:
            yield f"## {name}\n\n```text\n{command.get_help(own)}\n```"


# The API.


def api_page() -> str:
    import mlxpy

    parts = ["# API\n\nThe names of `import mlxpy`. " + ERRORS]
    for name in sorted(mlxpy.__all__, key=str.lower):
        value = getattr(mlxpy, name)
        # Not another name for one of these, nor pluggy's marker.
        if getattr(value, "__name__", None) == name:
            parts.append(f"::: {value.__module__}.{name}")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
