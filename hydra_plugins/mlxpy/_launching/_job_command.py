"""The command that runs one job of a sweep: the program as it was typed, with the job's overrides."""

import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from hydra_plugins.mlxpy._hydra import child_of, parse_arguments
from hydra_plugins.mlxpy._nodes import MlxpLoggerNode
from hydra_plugins.mlxpy._outputs import has_default_output
from hydra_plugins.mlxpy._override_values import as_override_value, hydra_overrides
from hydra_plugins.mlxpy._typed_arguments import MODE_OPTIONS
from mlxpy_core import Launch, RunDirectory, first_argument, relative_to_launch

from ._places import log_directory, uses_run_dir

_LOGGER = "hydra.callbacks.mlxp_logger"
# Overrides that chose the launcher and shaped the sweep mean nothing to a single job.
_OF_THE_SWEEP = re.compile(r"[+~]*hydra(/|\.)(launcher|sweeper|mode|sweep)\b")
_CHOICE = re.compile(r"[+]*hydra/(launcher|sweeper)(@|=)")
# Settings that each job gets anew, or that mean nothing to it.
_OF_THE_SUBMISSION = re.compile(
    r"[+]*mlxpy?\.(scheduler\b|use_scheduler|use_version_manager|logger\.(forced_log_id|parent_log_dir))"
)
_OF_THE_SWEEP_BY_LAUNCH = re.compile(
    rf"{_OF_THE_SWEEP.pattern}|\+\+hydra\.callbacks\.(mlxp_logger|mlxp_git)="
)


class JobOverrides:
    """Makes the overrides by which each job of a sweep knows its run.

    Args:
        loader: composes the app's configs.
        config: the sweep's config.
        options: the launcher's options.
        launch: how the sweep was started.
        waits: whether the launcher waits for the jobs' results, which the jobs keep then.

    Attributes:
        of_hydra: the overrides of Hydra's own settings that jobs keep of those of the sweep.
    """

    def __init__(
        self,
        loader: ConfigLoader,
        config: DictConfig,
        options: Mapping[str, Any],
        launch: Launch,
        *,
        waits: bool,
    ) -> None:
        callbacks = config.hydra.callbacks or {}
        self._launch = launch
        self._parent = _value(str(log_directory(config, options, launch)))
        # Of a program by ``mlxpy.launch``, those that its command changed; None for an app of Hydra's.
        self._settings: Sequence[str] | None = options["settings_overrides"]
        self._has_callback = "mlxp_logger" in callbacks
        self._without_copy = ["~hydra.callbacks.mlxp_git"] if "mlxp_git" in callbacks else []
        self._keeps_return_value = waits
        self._uses_run_dir = uses_run_dir(config)
        self.of_hydra = _kept_of_hydra(loader, config, by_launch=self._settings is not None)

    def of_run(self, directory: RunDirectory, number: int, output: Path | None) -> list[str]:
        """Returns overrides that make a job the run in `directory`, and the sweep's job of this number.

        Args:
            directory: the run's directory.
            number: the job's number in the sweep.
            output: what `output` returns for its config.
        """
        # A relative one starts at the run's directory, an absolute one stays.
        run_dir = [] if output is None else [f"hydra.run.dir={_value(str(directory.path / output))}"]
        return [*run_dir, *self._of_callback(directory, number)]

    def output(self, config: DictConfig) -> Path | None:
        """Returns where a job writes Hydra's output, which is where it would be in a sweep.

        To Hydra the job is a single one.

        Returns:
            A path, relative to the run's directory; None where the callback chooses it.
        """
        hydra = child_of(config, "hydra")  # attributes of a thousand jobs' configs are slow
        if not (self._uses_run_dir and has_default_output(child_of(hydra, "sweep"))):
            sweep = config.hydra.sweep
            return relative_to_launch(Path(sweep.dir, sweep.subdir), self._launch)
        return None if has_default_output(child_of(hydra, "run")) else Path()

    def _of_callback(self, directory: RunDirectory, number: int) -> list[str]:
        keeps = [f"++{_LOGGER}.keep_return_value=true"] if self._keeps_return_value else []
        if self._settings is not None:
            return [
                *(one for one in self._settings if not _OF_THE_SUBMISSION.match(one)),
                f"+mlxpy.logger.forced_log_id={directory.log_id}",
                f"+mlxpy.logger.parent_log_dir={self._parent}",
                "+mlxpy.use_scheduler=False",
                "+mlxpy.use_version_manager=False",
                *keeps,
            ]
        if self._has_callback:
            return [
                *self._without_copy,
                f"hydra.job.num={number}",
                f"{_LOGGER}.forced_log_id={directory.log_id}",
                f"{_LOGGER}.parent_log_dir={self._parent}",
                *keeps,
            ]
        node = f"_target_:{MlxpLoggerNode._target_},forced_log_id:{directory.log_id}"
        node += f",parent_log_dir:{self._parent}"
        node += ",keep_return_value:true" if self._keeps_return_value else ""
        return [*self._without_copy, f"hydra.job.num={number}", f"++{_LOGGER}={{{node}}}"]


def _value(text: str) -> str:
    return text if re.fullmatch(r"[\w./-]+", text) else as_override_value(text)


def _kept_of_hydra(loader: ConfigLoader, config: DictConfig, *, by_launch: bool) -> list[str]:
    """Returns the overrides of Hydra's own settings that a sweep's jobs keep."""
    given = hydra_overrides(config)
    # `launch` adds the callback again by itself.
    dropped = _OF_THE_SWEEP_BY_LAUNCH if by_launch else _OF_THE_SWEEP
    # A mode that the command did not choose comes from a config, and so comes again in each job.
    of_configs = config.hydra.mode is not None and "hydra.mode=MULTIRUN" not in given
    kept = [override for override in given if not dropped.match(override)]
    kept += ["hydra.mode=RUN"] if of_configs else []
    if _composes(loader, config.hydra.job.config_name, kept):
        return kept
    # The app's configs hold options of the launcher or the sweeper that the command chose.
    return [override for override in given if _CHOICE.match(override)] + kept


def _composes(loader: ConfigLoader, config_name: str | None, overrides: list[str]) -> bool:
    try:
        loader.load_configuration(config_name, overrides, RunMode.RUN)
    except HydraException:
        return False
    return True


def program_arguments(config_options: Sequence[str], *, by_launch: bool) -> list[str]:
    """Returns the words of the command before a job's overrides: how this process was started.

    Args:
        config_options: the options that name the config directories, if they are other ones.
        by_launch: whether the program is one by ``mlxpy.launch``, which changes Hydra's arguments.

    Raises:
        MlxpyError: the command cannot be started again.
    """
    start = first_argument(sys.orig_argv)
    typed = sys.orig_argv[start:]
    given = sys.argv[1:]
    ours = Counter(
        [*parse_arguments(given).overrides, *(word for word in given if word in MODE_OPTIONS)]
    )
    left = []
    # Options of the program's own may be the same words; they come first.
    for word in reversed(typed):
        spelling = next(
            (one for one in (word, f"+{word}") if ours[one] and (by_launch or one == word)), ""
        )
        if spelling:
            ours[spelling] -= 1
        elif not (by_launch and _SETTING.match(word)):
            left.append(word)
    words = _without_options(left[::-1], config_options[::2])
    return [*sys.orig_argv[:start], *words, *config_options]


_SETTING = re.compile(r"[+]*mlxpy?\.")
_SHORT = {"--config-path": "-cp", "--config-dir": "-cd"}


def _without_options(arguments: Sequence[str], names: Sequence[str]) -> list[str]:
    """Leaves out options and their values."""
    spellings = {*names, *(_SHORT[name] for name in names)}
    kept, left = [], list(arguments)
    while left:
        argument = left.pop(0)
        if argument in spellings:
            del left[:1]
        elif argument.partition("=")[0] not in spellings:
            kept.append(argument)
    return kept
