"""Starts a run's program again: as the same run, which goes on, or as a new one that repeats it."""

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import yaml

from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._files import read_text, write_whole
from mlxpy_core._io._yaml import dump_yaml, load_yaml
from mlxpy_core._runs._command import SWEEP_JOB_VARIABLE, first_argument
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._info import new_run_id, submitted_info
from mlxpy_core._runs._info_file import read_info, write_info
from mlxpy_core._runs._process import describe_living_process
from mlxpy_core._runs._ranks import without_other_ranks
from mlxpy_core._scheduling._find_scheduler import find_scheduler
from mlxpy_core._scheduling._job import Job
from mlxpy_core._scheduling._local import LOCAL
from mlxpy_core._scheduling._machine_share import DeviceRequest, MachineShare, SharedMachine
from mlxpy_core._scheduling._script import ScriptOptions, ShellLine
from mlxpy_core._scheduling._submission_files import write_script
from mlxpy_core._tracking._placement import RERUN_VARIABLE, RUN_DIRECTORY_VARIABLE
from mlxpy_core._versioning._launches import launch_of_info
from mlxpy_core._versioning._recorded_code import CodeOfRun, code_of_run

_OVERRIDE = re.compile(r"[+~]*(?P<key>[\w@./:$-]+)(=|$)")
# What shaped a sweep says nothing to one run of it.
_OF_THE_SWEEP = re.compile(r"[+~]*hydra(/|\.)(launcher|sweeper|mode|sweep)\b")
_OF_HYDRA = re.compile(r"[+~]*(hydra(/|\.)|mlxpy?\.)")
_SWEEPING = frozenset({"-m", "--multirun", "-r", "--run"})


def code_to_rerun(
    run: RunDirectory, info: Mapping[str, Any], job: Job | None, overrides: Sequence[str] = ()
) -> CodeOfRun:
    """Gives the code of a run, and the command that runs it, which names the run's number if any.

    Args:
        run: the run's directory.
        info: what its info.yaml holds.
        job: the job that it was submitted as, if it was.
        overrides: what the command is to say besides, or instead.

    Raises:
        MlxpyError: the code is gone, or the program would not make this run.
    """
    recorded = dict(job.environment) if job else _recorded_environment(run)
    if not job and (reason := reason_against_start(run, info)):
        raise MlxpyError(reason)
    job_of_code = '"overrides": [' in recorded.get(SWEEP_JOB_VARIABLE, "")
    if overrides and (job_of_code or info.get("arguments_of_code")):
        raise MlxpyError(
            f"the arguments of run {run.log_id} are set in its program, which overrides do not change: "
            "change them there, or leave the overrides out"
        )
    if job and isinstance(job.command, ShellLine):  # nothing is known of its words
        words = [" ".join([job.command, *map(shlex.quote, overrides)])]
    else:
        words = _with_overrides(list(job.command) if job else command_of_run(info), overrides)
    return code_of_run(info, words, recorded)


def reason_against_start(run: RunDirectory, info: Mapping[str, Any]) -> str | None:
    """Says why the command of a run that was not submitted makes other runs; None if it does not."""
    if info.get("arguments_of_code") != "runs":
        return None
    return (
        f"the arguments of run {run.log_id} are set in its program, which makes several runs, and would "
        "make all of them: start the program itself, or have it take the arguments from the command"
    )


def job_of_rerun(job: Job, code: CodeOfRun, new: RunDirectory) -> Job:
    """Gives the job that makes the run of another job again, with its code, as a new run."""
    launch = replace(job.launch, work_dir=code.directory, version_manager=code.version_manager)
    words = _renumbered(code.command, job.directory, new)
    return replace(
        job,
        directory=new,
        launch=launch,
        command=ShellLine(words[0]) if isinstance(job.command, ShellLine) else words,
        environment={**job.environment, **code.environment, **_run_variables(new, job.directory)},
        run_id=new_run_id(),
        earlier={},
        after=None,
    )


def write_first_metadata(info: Mapping[str, Any], code: CodeOfRun, new: RunDirectory) -> None:
    """Writes what is known of a run before its program starts, which itself is not told its code."""
    launch = replace(launch_of_info(info), version_manager=code.version_manager)
    info = submitted_info(new, new_run_id(), launch, "", "")
    write_whole(new.config, dump_yaml({}), new.logs)
    write_info(new, {**info, "scheduler": None, "submitter": describe_living_process()})


def run_here(run: RunDirectory, code: CodeOfRun, old: RunDirectory, job: Job | None = None) -> int:
    """Runs a program on this machine to its end, at this terminal.

    Args:
        run: the run that it is.
        code: its code and its command.
        old: the run that the command was made for.
        job: the job that this was submitted as, if it was: its script sets up and cleans up.

    Returns:
        Its exit status; minus the signal's number if a signal ended it.

    Raises:
        MlxpyError: it cannot be started.
    """
    if job:
        run_id = (read_info(run) or {}).get("run_id") or new_run_id()
        again = replace(_for_here(job_of_rerun(job, code, run)), run_id=run_id)
        words = [str(write_script(again, find_scheduler(LOCAL)))]
    else:
        words = _renumbered(code.command, old, run)
    variables = {**_run_variables(run, old), "PWD": code.directory}
    environment = {**without_other_ranks(os.environ), **code.environment, **variables}
    with SharedMachine(os.environ).share(_request(job)) as share:
        return _run_to_its_end(words, code.directory, environment, share)


def _run_to_its_end(
    words: Sequence[str], directory: str, environment: Mapping[str, str], share: MachineShare
) -> int:
    # Ctrl-C is the program's; this process waits for what it makes of it.
    earlier = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        with share.starting():
            process = subprocess.Popen(
                words, cwd=directory, env={**environment, **share.environment}, pass_fds=share.locks
            )
        return process.wait()
    except OSError as error:
        reason = f"{error.strerror}: {error.filename}"
        raise MlxpyError(f"cannot start {shlex.join(words)} in {directory}: {reason}") from error
    finally:
        signal.signal(signal.SIGINT, earlier)


def _run_variables(run: RunDirectory, old: RunDirectory) -> dict[str, str]:
    """Returns what tells a program which run it is, and which other one it makes again."""
    again = {RERUN_VARIABLE: str(old.path)} if run.path != old.path else {}
    return {RUN_DIRECTORY_VARIABLE: str(run.path), **again}


def _for_here(job: Job) -> Job:
    """Leaves out what means something to a cluster only."""
    options = replace(
        job.options,
        directives=tuple(_request(job).directives()),
        option_cmd=(),
        start_by=(),
        requeue=False,
        warn_s=None,
    )
    return replace(job, options=options)


def _request(job: Job | None) -> DeviceRequest:
    """Returns what a job of this machine asked for; one of a cluster says it otherwise."""
    options = job.options if job else ScriptOptions()
    return DeviceRequest.of_directives([*options.directives, *options.option_cmd])


def command_of_run(info: Mapping[str, Any]) -> list[str]:
    """Gives the words of a command that makes one run, where its own may have made a whole sweep."""
    words = shlex.split(info["cmd"])
    if os.path.exists(info["executable"]):
        words[0] = info["executable"]
    if info.get("arguments_of_code"):
        return words
    first = first_argument(words)
    arguments, overrides = words[first:], info["overrides"]
    if not _SWEEPING.intersection(arguments) and set(overrides) <= set(arguments):
        return words
    kept = [word for word in arguments if word not in _SWEEPING and _is_kept(word)]
    return [*words[:first], *kept, *overrides, "hydra.mode=RUN"]


def _is_kept(word: str) -> bool:
    if word.startswith("-") or not ("=" in word or word.startswith("~")):
        return True
    return bool(_OF_HYDRA.match(word)) and not _OF_THE_SWEEP.match(word)


def _with_overrides(words: Sequence[str], overrides: Sequence[str]) -> list[str]:
    changed = {key for word in overrides if (key := _key(word))}
    first = first_argument(words)
    kept = [word for word in words[first:] if "=" not in word or _key(word) not in changed]
    replaced = {_key(word): word for word in words[first:] if word not in kept}
    return [*words[:first], *kept, *(_as_added(word, replaced) for word in overrides)]


def _as_added(override: str, replaced: Mapping[str | None, str]) -> str:
    """Adds the sign of what an override replaces: what had to be added to the config has to be again."""
    earlier = replaced.get(_key(override), "")
    sign = earlier[: len(earlier) - len(earlier.lstrip("+"))]
    return sign + override if "=" in override and override[0] not in "+~" else override


def _key(word: str) -> str | None:
    found = _OVERRIDE.match(word)
    return found["key"] if found else None


def _renumbered(words: Sequence[str], old: RunDirectory, new: RunDirectory) -> list[str]:
    """Has words that name a run and its directory name another one."""
    number = re.compile(rf"(\bforced_log_id[=:]){old.log_id}\b")
    place = re.compile(rf"{re.escape(str(old.path))}(?![^/'\"])")
    return [place.sub(str(new.path), number.sub(rf"\g<1>{new.log_id}", word)) for word in words]


def _recorded_environment(run: RunDirectory) -> dict[str, str]:
    try:
        recorded = load_yaml(read_text(run.environment, run.logs))
        return {str(name): str(value) for name, value in recorded.items()}
    except (OSError, ValueError, AttributeError, yaml.YAMLError):
        return {}
