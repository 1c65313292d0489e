"""The script of a job: directives for the scheduler, then what a shell runs; it also runs by hand."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from mlxpy_core._errors import MlxpyError
from mlxpy_core._plugins._scheduler import Scheduler
from mlxpy_core._runs._info import CONTAINER_VARIABLE, RUN_ID_VARIABLE
from mlxpy_core._runs._info_file import INFO_FILE, info_path
from mlxpy_core._runs._status import ENDED, Status

from ._bundle import is_still_the_run, lines_of_bundle
from ._container import CONTAINER_COMMAND, check_starter, container_lines

_WARNING_S = 120  # submitit's signal_delay_s
_CONTINUED = " \\\n    "
_FAILED = "|".join(sorted(status.value for status in ENDED - {Status.COMPLETE}))


class ShellLine(str):
    """A command as the user wrote it for the shell; it is not quoted, and not evaluated before the job.

    Its script changes to the working directory first, so that set-up commands may change it again.
    """

    __slots__ = ()


@dataclass(frozen=True)
class ScriptOptions:
    """What the user chose for scripts.

    Attributes:
        name: what the job is called; empty: the name of its run.
        directives: directives of the scheduler, one string each.
        option_cmd: more of them, as the user wrote them; written last, so that they win.
        shell_path: the shell that runs the script.
        shell_config_cmd: commands that set up the shell.
        env_cmd: commands that activate the environment.
        setup: more commands before the program.
        start_by: arguments before the program's that start it as several tasks; left out when the script
            runs by hand.
        stderr_to_stdout: whether both outputs go to log.stdout.
        cleanup_cmd: commands after the program; the exit status stays the program's.
        requeue: whether the job puts itself back into the queue when a warning that its time is nearly
            up has ended its run.
        max_requeues: how often at most; None for no bound.
        warn_s: how many seconds before the end the warning is to come; None for 120, and for no warning
            where nothing is put back.
        container: the image of a container that the program runs in; empty: it runs in none.
        container_command: the command that starts one.
        container_args: more arguments of that command.
        dependencies: directives of this one submission, by which the job waits for others.
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
    requeue: bool = False
    max_requeues: int | None = None
    warn_s: int | None = None
    container: str = ""
    container_command: str = CONTAINER_COMMAND
    container_args: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for option in self.option_cmd:
            if not isinstance(option, str) or "\n" in option:
                raise MlxpyError(
                    f"option_cmd holds {option!r}: give each directive as a string of one line"
                )
        for directive in self.directives:
            if "\n" in directive:
                raise MlxpyError(f"the directive {directive!r} has several lines: give it in one")
        if self.container:
            check_starter(self.container_command)
        # An argument may follow, as in "/bin/bash -l".
        if not self.shell_path.startswith("/") or re.search(r"[^\S ]", self.shell_path):
            raise MlxpyError(
                f"shell_path={self.shell_path!r} is no absolute path of a shell: "
                "give one such as /bin/bash"
            )


def job_script(
    scheduler: Scheduler,
    options: ScriptOptions,
    *,
    run: Path,
    work_dir: str,
    command: Sequence[str],
    environment: Mapping[str, str] = MappingProxyType({}),
    after: Sequence[str] = (),
) -> str:
    """Writes the script of one job.

    Args:
        scheduler: whose directives it starts with.
        options: what the user chose for scripts.
        run: the run's directory; log.stdout and log.stderr are there.
        work_dir: where the command runs.
        command: the arguments of the command, the program first, quoted here; or a `ShellLine`.
        environment: variables that the command gets; a path of folders starts with these.
        after: the runs that must be complete, each a number and an identity, ``3:r0123``.
    """
    output = scheduler.output_directives(run, "log.stdout", "log.stderr")
    change_directory = f"cd {_quoted(work_dir)} || exit 1"
    written_by_user = isinstance(command, ShellLine)
    container: list[str] = []
    if options.container and not written_by_user:
        environment = {**environment, CONTAINER_VARIABLE: options.container}
        container = container_lines(
            options.container,
            options.container_command,
            options.container_args,
            run=run,
            work_dir=work_dir,
            command=command,
            environment=environment,
        )
    # A job that comes back writes on where it was.
    redirection = f"exec >> {_quoted(run / 'log.stdout')} 2>> {_quoted(run / 'log.stderr')}"
    lines = [
        *_head(scheduler, options, f"{run.parent.name}/{run.name}", output or []),
        *([redirection] if output is None else []),
        *(_keep_away(run, environment[RUN_ID_VARIABLE]) if RUN_ID_VARIABLE in environment else []),
        *(_check_earlier(run, after) if after else []),
        *(["exec 2>&1"] if options.stderr_to_stdout else []),
        *([change_directory] if written_by_user else []),
        *filter(None, (options.shell_config_cmd, options.env_cmd, *options.setup)),
        *(_export(name, value) for name, value in environment.items()),
        *scheduler.export_lines(run),
        *([] if written_by_user else [change_directory]),
        "",
        _started_by(scheduler, options.start_by) + _CONTINUED.join([*container, _wrapped(command)]),
    ]
    last_lines = [*filter(None, [options.cleanup_cmd]), *_requeue(scheduler, options, run)]
    if scheduler.asks_for_warning(_directives(scheduler, options)):
        lines[-1] += " &"
        lines += _PASSING_SIGNALS_ON
    elif last_lines:
        lines += ["mlxpy_status=$?"]
    else:
        return "\n".join(lines) + "\n"
    return "\n".join([*lines, *last_lines, "exit $mlxpy_status"]) + "\n"


# Some schedulers send the warning to this shell alone. It reads a signal only while it waits, which then
# ends early; a program in the background does not hear Ctrl-C, so that becomes a SIGTERM.
_PASSING_SIGNALS_ON = [
    "mlxpy_program=$!",
    "for mlxpy_signal in USR1 USR2; do",
    '    trap "kill -s $mlxpy_signal $mlxpy_program" $mlxpy_signal',
    "done",
    'trap "kill -s TERM $mlxpy_program" INT TERM',
    "while",
    "    wait $mlxpy_program",
    "    mlxpy_status=$?",
    "    kill -0 $mlxpy_program 2> /dev/null",
    "do :; done",
]


def array_script(
    scheduler: Scheduler,
    options: ScriptOptions,
    *,
    runs: Mapping[Path, str],
    runs_per_task: int = 1,
    parallelism: int | None = None,
    directory: Path,
) -> str:
    """Writes the script of an array: each of its tasks runs the scripts of some of `runs`.

    Args:
        scheduler: whose directives it starts with.
        options: what the user chose for scripts.
        runs: the identity of each run, by its directory.
        runs_per_task: how many of them a task runs at once.
        parallelism: at most so many tasks at once; None for no bound.
        directory: where the scheduler writes its own output about each task.
    """
    paths = list(runs)
    parent = paths[0].parent
    tasks = -(-len(runs) // runs_per_task)
    output_name = scheduler.task_output if tasks > 1 else "job"
    output = scheduler.output_directives(directory, f"{output_name}.stdout", f"{output_name}.stderr")
    array = scheduler.array_directives(tasks, parallelism) if tasks > 1 else []
    name = f"{parent.name}/{paths[0].name}-{paths[-1].name}"
    # Positional parameters, so that any POSIX shell can count.
    lines = [
        *_head(scheduler, options, name, [*(output or []), *array]),
        f"set -- {' '.join(f'{path.name}:{run_id}' for path, run_id in runs.items())}",
    ]
    if tasks > 1:
        lines += [
            f"shift $(((${{{scheduler.array_index}}} - {scheduler.first_index}) * {runs_per_task}))"
        ]
    redirected = '"$run/script.sh" >> "$run/log.stdout" 2>> "$run/log.stderr"'
    if runs_per_task == 1:
        linked = output is not None and scheduler.output_by_index
        lines += [
            f"run={_quoted(parent)}/${{1%:*}}",
            # Its directory was moved, or is another run's by now: nothing may be written there.
            f"{is_still_the_run('$1')} || exit 1",
            f"exec {redirected.partition(' ')[0] if linked else redirected}",
        ]
    else:
        lines += lines_of_bundle(scheduler, directory, runs_per_task, redirected)
    return "\n".join(lines) + "\n"


def runs_of_array(script: str) -> list[list[tuple[str, str]]]:
    """Returns the runs of each task, each run's number and identity, by what `array_script` returned."""
    listed = re.search(r"^set -- (.+)$", script, flags=re.MULTILINE)
    words = listed[1].split() if listed else []
    runs = [(name, run_id) for name, _, run_id in (word.partition(":") for word in words)]
    each = re.search(r"^shift \$\(\(.* \* (\d+)\)\)$", script, flags=re.MULTILINE)
    size = int(each[1]) if each else max(1, len(runs))  # all in one task
    return [runs[start : start + size] for start in range(0, len(runs), size)]


def _head(
    scheduler: Scheduler, options: ScriptOptions, name: str, directives: Sequence[str]
) -> list[str]:
    plain_name = re.sub(r"[^\w./-]", "_", options.name or name, flags=re.ASCII)
    own = [*scheduler.name_directives(plain_name), *directives]
    return [
        f"#!{options.shell_path}",
        *(f"{scheduler.directive} {line}" for line in [*own, *_directives(scheduler, options)]),
        "",
    ]


def _directives(scheduler: Scheduler, options: ScriptOptions) -> list[str]:
    """Returns the directives that the options ask for, the user's own last."""
    users = [option.strip().removeprefix(scheduler.directive).strip() for option in options.option_cmd]
    chosen = [*options.dependencies, *options.directives, *filter(None, users)]
    requeue = (
        [one for one in scheduler.requeue_directives() if one not in chosen] if options.requeue else []
    )
    wanted = options.requeue or options.warn_s is not None
    if not wanted or scheduler.asks_for_warning(chosen):
        return [*requeue, *chosen]
    return [*requeue, *scheduler.warning_directives(options.warn_s or _WARNING_S), *chosen]


def _started_by(scheduler: Scheduler, arguments: Sequence[str]) -> str:
    # Nothing but a job has the variable: by hand the program is started once, as it is.
    return (
        f"${{{scheduler.job_variable}:+{' '.join(map(shlex.quote, arguments))}}} " if arguments else ""
    )


def _requeue(scheduler: Scheduler, options: ScriptOptions, run: Path) -> list[str]:
    if not options.requeue:
        return []
    info = _quoted(info_path(run))
    lines = ("status: INTERRUPTED", "signal: SIGUSR[12]")
    in_job = [f'[ -n "${scheduler.job_variable}" ]'] if scheduler.job_variable else []
    conditions = [*in_job, *(f"grep -qx '{line}' {info}" for line in lines)]
    if options.max_requeues is not None:
        conditions.append(f'[ "${{{scheduler.restart_count}:-0}}" -lt {options.max_requeues} ]')
    return [f"if {' && '.join(conditions)}; then", f"    {scheduler.requeue}", "fi"]


def _export(name: str, value: str) -> str:
    # What the job's environment has there stays.
    rest = f'"${{{name}:+:${name}}}"' if name.endswith("PATH") else ""
    return f"export {name}={_quoted(value)}{rest}"


def _keep_away(run: Path, run_id: str) -> list[str]:
    """Writes what keeps a script's output from a directory that is another run's when its turn comes."""
    log = f'"${{TMPDIR:-/tmp}}/mlxpy-{run_id}.log"'
    return [f"grep -qsx 'run_id: {run_id}' {_quoted(info_path(run))} || exec >> {log} 2>&1"]


def _check_earlier(run: Path, after: Sequence[str]) -> list[str]:
    """Writes what ends a script whose scheduler has started it although earlier runs have failed.

    One that has completed on another machine may look as if it ran for some time yet.
    """
    info = f'"$run/{INFO_FILE}"'
    return [
        "# Nothing is started unless these runs, each a number and an identity, are COMPLETE.",
        f"for id in {' '.join(after)}; do",
        f"    run={_quoted(run.parent)}/${{id%:*}}",
        "    seconds=0",
        f"    until {is_still_the_run('$id')} && grep -qsx 'status: COMPLETE' {info}; do",
        "        seconds=$((seconds + 1))",
        f"        if [ $seconds -gt 60 ] || grep -qsxE 'status: ({_FAILED})' {info}; then",
        f'            echo "mlxpy: run {run.name} waits for run ${{id%:*}}, which is not COMPLETE" >&2',
        "            exit 1",
        "        fi",
        "        sleep 1",
        "    done",
        "done",
    ]


def _wrapped(command: Sequence[str]) -> str:
    """Writes a command with its program on the first line and an argument on each other."""
    if isinstance(command, ShellLine):
        return command
    quoted = list(map(shlex.quote, command))
    first = next((i for i, argument in enumerate(command) if i and "=" in argument), len(quoted))
    return _CONTINUED.join([" ".join(quoted[:first]), *quoted[first:]])


def _quoted(path: Path | str) -> str:
    return shlex.quote(str(path))
