"""The jobs of a sweep: the config of each, what is compared of it, and the command that runs it."""

import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict, read_write

from hydra_plugins.mlxpy._hydra import as_current_config, callback_of, child_of, set_value
from hydra_plugins.mlxpy._override_values import task_overrides, typed_overrides
from hydra_plugins.mlxpy._sweep_job import SweepJob, main_program
from hydra_plugins.mlxpy._typed_arguments import are_typed
from mlxpy_core import (
    RUN_DIRECTORY_VARIABLE,
    Job,
    RunDirectory,
    ScriptOptions,
    check_tags,
    different_fields,
    job_environment,
    launch_of_this_process,
    next_run_directory,
    plain_config,
    plain_config_at_another_time,
)

from ._config_directories import frozen_config_options
from ._job_command import JobOverrides, program_arguments
from ._own_job import check_arguments
from ._places import log_directory
from ._script_options import JobOptions, script_options


@dataclass(frozen=True)
class Combination:
    """One job of a sweep, before it has a run directory."""

    number: int
    overrides: list[str]  # as they were typed
    overrides_for_hydra: list[str]
    task_name: str
    config: dict[str, Any]
    of_the_run: frozenset[str]  # fields of the config that another run of the same would have otherwise
    options: ScriptOptions
    launcher: Mapping[str, Any]  # its options, as the job's note keeps them
    output: Path | None
    tags: list[str]


class SweepJobs:
    """Makes the jobs of a sweep.

    Args:
        context: Hydra's context of the sweep.
        config: the sweep's config.
        options: the launcher's options.
        waits: whether the launcher waits for the jobs' results.
        chosen: whether the config chose this launcher; otherwise jobs do not know its options.

    Attributes:
        parent_log_dir: the directory of all runs, absolute.

    Raises:
        MlxpyError: the jobs' commands could not be what this process was started by.
    """

    def __init__(
        self,
        context: HydraContext,
        config: DictConfig,
        options: Mapping[str, Any],
        *,
        waits: bool,
        chosen: bool = True,
    ) -> None:
        self._loader, self._config, self._options = context.config_loader, config, options
        self._by_launch = options["settings_overrides"] is not None
        self._typed = are_typed(config, by_launch=self._by_launch)
        check_arguments(config, typed=self._typed)
        self._launch = launch_of_this_process()
        self._waits = waits
        self._job_overrides = JobOverrides(self._loader, config, options, self._launch, waits=waits)
        fixed = None if chosen else script_options(options)
        self._options_of = JobOptions().of if fixed is None else lambda _: (fixed, {})
        self.parent_log_dir = log_directory(config, options, self._launch)

    def combination(
        self, number: int, overrides: Sequence[str], *, compares: bool = False
    ) -> Combination:
        """Composes a job's config.

        Args:
            number: the job's number in the sweep.
            overrides: its overrides.
            compares: whether it is found out what another run of the same would have otherwise.

        Raises:
            MlxpyError: an option of it is wrong.
        """
        config = self._loader.load_sweep_config(self._config, list(overrides))
        job = child_of(config, "hydra", "job")
        for name in ("num", "id"):
            set_value(child_of(job, name), number)
        with as_current_config(config):
            options, launcher = self._options_of(config)
            combination = Combination(
                number,
                overrides=typed_overrides(config),
                overrides_for_hydra=task_overrides(config),
                task_name=job.name,
                config=plain_config(config, leave_out="hydra"),
                of_the_run=frozenset(),
                options=options,
                launcher=launcher,
                output=self._job_overrides.output(config),
                tags=check_tags(callback_of(config, "mlxp_logger").get("tags") or ()),
            )
            if compares:
                _make_another_run(config.hydra)
                other = plain_config_at_another_time(config, leave_out="hydra")
                of_the_run = different_fields(combination.config, other)
                combination = replace(combination, of_the_run=of_the_run)
        return combination

    def jobs(
        self, combinations: Iterable[Combination], directories: Iterable[RunDirectory]
    ) -> list[Job]:
        """Makes the jobs of combinations that become the runs in these directories."""
        return list(map(self._job, combinations, directories))

    def free_directories(self) -> Iterator[RunDirectory]:
        """Yields the directories that new runs would have."""
        for log_id in itertools.count(next_run_directory(self.parent_log_dir).log_id):
            yield RunDirectory(self.parent_log_dir / str(log_id))

    def _job(self, combination: Combination, directory: RunDirectory) -> Job:
        # Without commands that set up an environment, this very interpreter: a job may find another.
        typed_interpreter, *words = self._words
        interpreter = typed_interpreter if combination.options.env_cmd else sys.executable
        if combination.options.container:  # an image has its own
            interpreter = Path(typed_interpreter).name
        command = [interpreter, *words]
        job = SweepJob(
            combination.number,
            None if self._typed else combination.overrides_for_hydra,
            self._waits,
        )
        environment = {**job_environment(), **job.environment(self._program)}
        if self._typed:
            own = self._job_overrides.of_run(directory, combination.number, combination.output)
            command += [*self._job_overrides.of_hydra, *combination.overrides, *own]
        else:
            environment[RUN_DIRECTORY_VARIABLE] = str(directory.path)
        return Job(
            directory,
            config=combination.config,
            launch=replace(self._launch, overrides=combination.overrides, tags=combination.tags),
            command=command,
            options=combination.options,
            environment=environment,
            launcher=combination.launcher,
        )

    @cached_property
    def _words(self) -> Sequence[str]:
        """The command before a job's overrides; the config files are copied if they are to be frozen."""
        if not self._typed:
            return sys.orig_argv
        config_options = []
        if self._options["freeze_config"]:
            copy = not self._options["dry_run"]
            config_options = frozen_config_options(self._config, self.parent_log_dir, copy=copy)
        return program_arguments(config_options, by_launch=self._by_launch)

    @cached_property
    def _program(self) -> tuple[str, str]:
        return main_program()


def _make_another_run(hydra: DictConfig) -> None:
    """Changes what Hydra says of a job to what no run has."""
    with read_write(hydra), open_dict(hydra):
        hydra.job.num, hydra.job.id = -1, "another"
        hydra.run.dir = hydra.sweep.dir = hydra.sweep.subdir = hydra.runtime.output_dir = "/another"
        hydra.mode = None
        if callback := (hydra.callbacks or {}).get("mlxp_logger"):
            callback.forced_log_id, callback.parent_log_dir = -2, "/another"
