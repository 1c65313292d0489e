"""The script of a job: directives for the scheduler, then what a shell runs; it also runs by hand."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlxpy_core._errors import MlxpyError

from ._scheduler import Scheduler


@dataclass(frozen=True)
class ScriptOptions:
    """What the user says about scripts.

    Attributes:
        option_cmd: directives of the scheduler, one string each; written last, so that they win.
        shell_path: the shell that runs the script.
        shell_config_cmd: commands that set up the shell.
        env_cmd: commands that activate the environment.
        cleanup_cmd: commands after the program; the exit status stays the program's.
    """

    option_cmd: Sequence[str] = ()
    shell_path: str = "/bin/bash"
    shell_config_cmd: str = ""
    env_cmd: str = ""
    cleanup_cmd: str = ""

    def __post_init__(self) -> None:
        for option in self.option_cmd:
            if not isinstance(option, str) or "\n" in option:
                raise MlxpyError(f"option_cmd: each directive is a string of one line, not {option!r}")
        if not self.shell_path.startswith("/") or re.search(r"\s", self.shell_path):
            raise MlxpyError(f"shell_path={self.shell_path!r} is no absolute path of a shell")


def job_script(
    scheduler: Scheduler,
    options: ScriptOptions,
    *,
    run: Path,
    work_dir: str,
    command: Sequence[str],
) -> str:
    """Writes the script of one job.

    Args:
        scheduler: whose directives it starts with.
        options: what the user says about scripts.
        run: the run's directory; log.stdout and log.stderr are there.
        work_dir: where the command runs.
        command: the words of the command, quoted here.
    """
    output = scheduler.output_directives(run, "log.stdout", "log.stderr")
    redirection = f"exec > {_quoted(run / 'log.stdout')} 2> {_quoted(run / 'log.stderr')}"
    lines = [
        *_head(scheduler, options, f"{run.parent.name}/{run.name}", output or []),
        *([] if output else [redirection]),
        *filter(None, (options.shell_config_cmd, options.env_cmd)),
        f"cd {_quoted(work_dir)} || exit 1",
        "",
        _wrapped(command),
    ]
    if options.cleanup_cmd:
        lines += ["mlxpy_status=$?", options.cleanup_cmd, "exit $mlxpy_status"]
    return "\n".join(lines) + "\n"


def array_script(
    scheduler: Scheduler,
    options: ScriptOptions,
    *,
    runs: Sequence[Path],
    parallelism: int | None,
    directory: Path,
) -> str:
    """Writes the script of an array: each of its tasks runs the script of one of `runs`.

    Args:
        scheduler: whose directives it starts with.
        options: what the user says about scripts.
        runs: the runs' directories.
        parallelism: at most so many tasks at once; None for no bound.
        directory: where the scheduler writes what it says itself about each task.
    """
    parent = runs[0].parent
    suffixes = (".stdout", ".stderr")
    output = scheduler.output_directives(directory, *(scheduler.task_output + end for end in suffixes))
    index = f"${{{scheduler.array_index}}}"
    start = '"$run/script.sh"'
    if not (output and scheduler.output_by_index):
        start += ' > "$run/log.stdout" 2> "$run/log.stderr"'
    lines = [
        *_head(
            scheduler,
            options,
            f"{parent.name}/{runs[0].name}-{runs[-1].name}",
            [*(output or []), *scheduler.array_directives(len(runs), parallelism)],
        ),
        # Positional parameters, so that any POSIX shell can count.
        f"set -- {' '.join(run.name for run in runs)}",
        f"shift $(({index} - {scheduler.first_index}))",
        f"run={_quoted(parent)}/$1",
        f"exec {start}",
    ]
    return "\n".join(lines) + "\n"


def _head(
    scheduler: Scheduler, options: ScriptOptions, name: str, directives: Sequence[str]
) -> list[str]:
    own = [*scheduler.name_directives(re.sub(r"[^\w./-]", "_", name, flags=re.ASCII)), *directives]
    users = [option.strip().removeprefix(scheduler.directive).strip() for option in options.option_cmd]
    return [
        f"#!{options.shell_path}",
        *(f"{scheduler.directive} {directive}" for directive in [*own, *filter(None, users)]),
        "",
    ]


def _wrapped(command: Sequence[str]) -> str:
    """Writes a command with its program on the first line and an argument on each other."""
    words = list(map(shlex.quote, command))
    arguments = next((i for i, word in enumerate(command) if i and "=" in word), len(words))
    return " \\\n    ".join([" ".join(words[:arguments]), *words[arguments:]])


def _quoted(path: Path | str) -> str:
    return shlex.quote(str(path))
