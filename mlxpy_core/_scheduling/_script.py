"""The script of a job: directives for the scheduler, then what a shell runs; it also runs by hand."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlxpy_core._errors import MlxpyError

from ._scheduler import Scheduler


class ShellLine(str):
    """A command as the user wrote it for the shell; it is not quoted, and not evaluated before the job.

    Its script changes to the working directory first, so that set-up commands may change it again.
    """

    __slots__ = ()


@dataclass(frozen=True)
class ScriptOptions:
    """What the user says about scripts.

    Attributes:
        name: what the job is called; empty: the name of its run.
        directives: directives of the scheduler, one string each.
        option_cmd: more of them, as the user wrote them; written last, so that they win.
        shell_path: the shell that runs the script.
        shell_config_cmd: commands that set up the shell.
        env_cmd: commands that activate the environment.
        setup: more commands before the program.
        start_by: words before the program's that start it as several tasks; left out when the script
            runs by hand.
        stderr_to_stdout: whether both outputs go to log.stdout.
        cleanup_cmd: commands after the program; the exit status stays the program's.
        max_requeues: how often the job puts itself back into the queue when its run was interrupted.
    """

    name: str = ""
    directives: tuple[str, ...] = ()
    option_cmd: tuple[str, ...] = ()
    shell_path: str = "/bin/bash"
    shell_config_cmd: str = ""
    env_cmd: str = ""
    setup: tuple[str, ...] = ()
    start_by: tuple[str, ...] = ()
    stderr_to_stdout: bool = False
    cleanup_cmd: str = ""
    max_requeues: int = 0

    def __post_init__(self) -> None:
        for option in self.option_cmd:
            if not isinstance(option, str) or "\n" in option:
                raise MlxpyError(f"option_cmd: each directive is a string of one line, not {option!r}")
        for directive in self.directives:
            if "\n" in directive:
                raise MlxpyError(f"a directive is one line, not {directive!r}")
        # An argument may follow, as in "/bin/bash -l".
        if not self.shell_path.startswith("/") or re.search(r"[^\S ]", self.shell_path):
            raise MlxpyError(f"shell_path={self.shell_path!r} is no absolute path of a shell")


def job_script(
    scheduler: Scheduler,
    options: ScriptOptions,
    *,
    run: Path,
    work_dir: str,
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
) -> str:
    """Writes the script of one job.

    Args:
        scheduler: whose directives it starts with.
        options: what the user says about scripts.
        run: the run's directory; log.stdout and log.stderr are there.
        work_dir: where the command runs.
        command: the words of the command, quoted here; or a `ShellLine`.
        environment: variables that the command gets; a path of folders starts with these.
    """
    output = scheduler.output_directives(run, "log.stdout", "log.stderr")
    change_directory = f"cd {_quoted(work_dir)} || exit 1"
    written_by_user = isinstance(command, ShellLine)
    redirection = f"exec > {_quoted(run / 'log.stdout')} 2> {_quoted(run / 'log.stderr')}"
    lines = [
        *_head(scheduler, options, f"{run.parent.name}/{run.name}", output or []),
        *([redirection] if output is None else []),
        *(["exec 2>&1"] if options.stderr_to_stdout else []),
        *([change_directory] if written_by_user else []),
        *filter(None, (options.shell_config_cmd, options.env_cmd, *options.setup)),
        *(_export(name, value) for name, value in (environment or {}).items()),
        *([] if written_by_user else [change_directory]),
        "",
        _started_by(scheduler, options.start_by) + _wrapped(command),
    ]
    after = [*filter(None, [options.cleanup_cmd]), *_requeue(scheduler, options.max_requeues, run)]
    if after:
        lines += ["mlxpy_status=$?", *after, "exit $mlxpy_status"]
    return "\n".join(lines) + "\n"


def array_script(
    scheduler: Scheduler,
    options: ScriptOptions,
    *,
    runs: Sequence[Path],
    runs_per_task: int = 1,
    parallelism: int | None = None,
    directory: Path,
) -> str:
    """Writes the script of an array: each of its tasks runs the scripts of some of `runs`.

    Args:
        scheduler: whose directives it starts with.
        options: what the user says about scripts.
        runs: the runs' directories.
        runs_per_task: how many of them a task runs at once.
        parallelism: at most so many tasks at once; None for no bound.
        directory: where the scheduler writes what it says itself about each task.
    """
    parent = runs[0].parent
    tasks = -(-len(runs) // runs_per_task)
    output_name = scheduler.task_output if tasks > 1 else "job"
    output = scheduler.output_directives(directory, f"{output_name}.stdout", f"{output_name}.stderr")
    array = scheduler.array_directives(tasks, parallelism) if tasks > 1 else []
    name = f"{parent.name}/{runs[0].name}-{runs[-1].name}"
    # Positional parameters, so that any POSIX shell can count.
    lines = [
        *_head(scheduler, options, name, [*(output or []), *array]),
        f"set -- {' '.join(run.name for run in runs)}",
    ]
    if tasks > 1:
        lines += [
            f"shift $(((${{{scheduler.array_index}}} - {scheduler.first_index}) * {runs_per_task}))"
        ]
    redirected = '"$run/script.sh" > "$run/log.stdout" 2> "$run/log.stderr"'
    if runs_per_task == 1:
        linked = output is not None and scheduler.output_by_index
        lines += [
            f"run={_quoted(parent)}/$1",
            f"exec {redirected.partition(' ')[0] if linked else redirected}",
        ]
    else:
        lines += [
            "processes=",
            "started=0",
            "for id; do",
            f"    [ $started -lt {runs_per_task} ] || break",
            f"    run={_quoted(parent)}/$id",
            f"    {redirected} &",
            '    processes="$processes $!"',
            "    started=$((started + 1))",
            "done",
            "status=0",
            "for process in $processes; do",
            "    wait $process || status=$?",
            "done",
            "exit $status",
        ]
    return "\n".join(lines) + "\n"


def _head(
    scheduler: Scheduler, options: ScriptOptions, name: str, directives: Sequence[str]
) -> list[str]:
    plain_name = re.sub(r"[^\w./-]", "_", options.name or name, flags=re.ASCII)
    own = [*scheduler.name_directives(plain_name), *directives, *options.directives]
    users = [option.strip().removeprefix(scheduler.directive).strip() for option in options.option_cmd]
    return [
        f"#!{options.shell_path}",
        *(f"{scheduler.directive} {directive}" for directive in [*own, *filter(None, users)]),
        "",
    ]


def _started_by(scheduler: Scheduler, words: Sequence[str]) -> str:
    # Nothing but a job has the variable: by hand the program is started once, as it is.
    return f"${{{scheduler.job_variable}:+{' '.join(map(shlex.quote, words))}}} " if words else ""


def _requeue(scheduler: Scheduler, most: int, run: Path) -> list[str]:
    if not most:
        return []
    info = _quoted(run / "metadata" / "info.yaml")
    interrupted = f"grep -qx 'status: INTERRUPTED' {info}"
    again = f'[ "${{{scheduler.restart_count}:-0}}" -lt {most} ]'
    in_job = f'[ -n "${scheduler.job_variable}" ]'
    return [f"if {in_job} && {interrupted} && {again}; then", f"    {scheduler.requeue}", "fi"]


def _export(name: str, value: str) -> str:
    # What the job's environment has there stays.
    rest = f'"${{{name}:+:${name}}}"' if name.endswith("PATH") else ""
    return f"export {name}={_quoted(value)}{rest}"


def _wrapped(command: Sequence[str]) -> str:
    """Writes a command with its program on the first line and an argument on each other."""
    if isinstance(command, ShellLine):
        return command
    words = list(map(shlex.quote, command))
    arguments = next((i for i, word in enumerate(command) if i and "=" in word), len(words))
    return " \\\n    ".join([" ".join(words[:arguments]), *words[arguments:]])


def _quoted(path: Path | str) -> str:
    return shlex.quote(str(path))
