"""A run that is to be submitted, and the note of it that lies in the run's directory."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

from mlxpy_core._io._files import append_line
from mlxpy_core._io._yaml import dump_fields
from mlxpy_core._plugins._scheduler import Scheduler
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._info import RUN_ID_VARIABLE, new_run_id
from mlxpy_core._runs._info_file import read_config
from mlxpy_core._runs._job_note import read_job_note
from mlxpy_core._runs._launch import Launch

from ._dependencies import After, after_of_info
from ._script import ScriptOptions, ShellLine, job_script


@dataclass(frozen=True)
class Job:
    """One run that is to be submitted.

    Attributes:
        directory: the run's directory, which exists.
        config: the task's config as plain data.
        launch: how the run was started.
        command: the arguments of the command that the job runs, the program first, or a `ShellLine`.
        options: what the user chose for its script.
        environment: variables that the command gets.
        run_id: the run's identity.
        earlier: what info.yaml holds of a run that is submitted again; empty for a new one.
        launcher: the options of the launcher that made `options`, as the face keeps them: ``changed``
            are those that are not as they were in the first attempt. Empty for other jobs.
        after: the runs that it waits for.
        retries: how often it was submitted again by itself, by the reasons; who submits it starts anew.
    """

    directory: RunDirectory
    config: dict[str, Any]
    launch: Launch
    command: Sequence[str]
    options: ScriptOptions = field(default_factory=ScriptOptions)
    environment: Mapping[str, str] = field(default_factory=dict)
    run_id: str = field(default_factory=new_run_id)
    earlier: Mapping[str, Any] = field(default_factory=dict)
    launcher: Mapping[str, Any] = field(default_factory=dict)
    after: After | None = None
    retries: Mapping[str, int] = field(default_factory=dict)

    def script(self, scheduler: Scheduler) -> str:
        """Writes the job's script."""
        after = self.after if self.after and self.after.ok and not scheduler.waits_for_success else None
        return job_script(
            scheduler,
            self.options,
            run=self.directory.path,
            work_dir=self.launch.work_dir,
            command=self.command,
            environment={**self.environment, RUN_ID_VARIABLE: self.run_id},
            after=after.names if after else (),
        )

    @cached_property
    def note(self) -> str:
        """What it takes to submit the run again, as YAML; the job's id is added to it."""
        command = str(self.command) if isinstance(self.command, ShellLine) else list(self.command)
        text = dump_fields({"command": command, "environment": dict(self.environment)})
        # JSON on one line is YAML, and is written faster.
        launcher = f"launcher: {json.dumps(self.launcher)}\n" if self.launcher else ""
        return text + _options_as_yaml(replace(self.options, dependencies=())) + launcher

    @property
    def changed_options(self) -> str:
        """The options of the launcher that are not as in the first attempt, as they would be typed."""
        changed = self.launcher.get("changed") or {}
        return " ".join(f"{name}={value}" for name, value in changed.items())


def note_job_id(job: Job, job_id: str) -> None:
    """Notes which job a run is: info.yaml belongs to the job from now on.

    Raises:
        StorageError: the file system refused.
    """
    line = dump_fields({"scheduler_job_id": job_id})
    append_line(job.directory.job_note, line, job.directory.logs)


@lru_cache(maxsize=1)  # a sweep's jobs mostly have the same
def _options_as_yaml(options: ScriptOptions) -> str:
    fields = {name: value for name, value in asdict(options).items() if name != "dependencies"}
    plain = {n: list(value) if isinstance(value, tuple) else value for n, value in fields.items()}
    return dump_fields({"options": plain})


def noted_job(directory: RunDirectory, launch: Launch, info: Mapping[str, Any]) -> Job | None:
    """Makes the job that a run was submitted as, of its note and its info; None if there is no note."""
    try:
        noted = read_job_note(directory)
        options: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in noted["options"].items()
        }
        return Job(
            directory,
            config=read_config(directory) or {},
            launch=launch,
            command=_command(noted["command"]),
            options=ScriptOptions(**options),
            environment={str(name): str(value) for name, value in noted["environment"].items()},
            run_id=info.get("run_id") or new_run_id(),  # runs of version 0.1 have none
            earlier=info,
            launcher=dict(noted.get("launcher") or {}),
            after=after_of_info(info),
        )
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def noted_directives(directory: RunDirectory) -> list[str]:
    """Returns the directives that a run was submitted with; none if there is no note of them."""
    try:
        options = read_job_note(directory)["options"]
        return [str(one) for one in (*options["directives"], *options["option_cmd"])]
    except (LookupError, TypeError):
        return []


def _command(noted: Any) -> Sequence[str]:
    return ShellLine(noted) if isinstance(noted, str) else [str(argument) for argument in noted]
