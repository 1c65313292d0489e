"""The command that runs one job of a sweep: the program as it was typed, with the job's overrides."""

import functools
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.utils import get_args_parser
from omegaconf import DictConfig, OmegaConf

from mlxpy_core import Launch, MlxpyError, RunDirectory, relative_to_launch

from ._override_values import as_override_value

_CALLBACK = "hydra_plugins.mlxpy._callback.MlxpLogger"
_LOGGER = "hydra.callbacks.mlxp_logger"
# What chose the launcher and shaped the sweep says nothing to a single job.
_OF_THE_SWEEP = re.compile(r"[+~]*hydra(/|\.)(launcher|sweeper|mode|sweep)\b")
# Settings that are said anew to each job, or nothing to it.
_OF_THE_SUBMISSION = re.compile(
    r"[+]*mlxpy\.(scheduler\b|use_scheduler|use_version_manager|logger\.(forced_log_id|parent_log_dir))"
)
_OF_THE_SWEEP_BY_LAUNCH = re.compile(rf"{_OF_THE_SWEEP.pattern}|\+\+{re.escape(_LOGGER)}=")


@dataclass(frozen=True)
class Face:
    """How the job's program is told which run it is.

    Attributes:
        parent_log_dir: the directory of all runs, absolute.
        hydra_overrides: the overrides of Hydra's own settings that jobs keep.
        settings_overrides: of a program by ``mlxpy.launch``, the settings that its command changed; None
            for an app of Hydra's.
        has_callback: whether the app's config has the callback already.
    """

    parent_log_dir: Path
    hydra_overrides: list[str]
    settings_overrides: list[str] | None
    has_callback: bool

    def run_overrides(self, directory: RunDirectory, number: int) -> list[str]:
        """Gives what makes a job the run in `directory`, and the sweep's job of this number."""
        parent = str(self.parent_log_dir)
        if not re.fullmatch(r"[\w./-]+", parent):
            parent = as_override_value(parent)
        if self.settings_overrides is not None:
            return [
                *(word for word in self.settings_overrides if not _OF_THE_SUBMISSION.match(word)),
                f"+mlxpy.logger.forced_log_id={directory.log_id}",
                f"+mlxpy.logger.parent_log_dir={parent}",
                "+mlxpy.use_scheduler=False",
                "+mlxpy.use_version_manager=False",
            ]
        if self.has_callback:
            return [
                f"hydra.job.num={number}",
                f"{_LOGGER}.forced_log_id={directory.log_id}",
                f"{_LOGGER}.parent_log_dir={parent}",
            ]
        node = f"{{_target_:{_CALLBACK},forced_log_id:{directory.log_id},parent_log_dir:{parent}}}"
        return [f"hydra.job.num={number}", f"++{_LOGGER}={node}"]

    def settings(self, directory: RunDirectory) -> dict[str, Any]:
        """Gives what mlxpy.yaml of the run holds until the job writes its own."""
        logger = {"parent_log_dir": str(self.parent_log_dir), "forced_log_id": directory.log_id}
        return {"logger": logger, "use_logger": True, "use_scheduler": True}


def face_of(config: DictConfig, options: Any, launch: Launch) -> Face:
    """Tells how the jobs of a sweep are told which run they are."""
    callbacks = config.hydra.callbacks or {}
    callback = callbacks.get("mlxp_logger")
    parent = callback.parent_log_dir if callback else options["parent_log_dir"]
    settings = options["settings_overrides"]
    written = OmegaConf.to_container(config.hydra.overrides.hydra, resolve=False)
    assert isinstance(written, list)
    # `launch` names the callback again by itself.
    dropped = _OF_THE_SWEEP if settings is None else _OF_THE_SWEEP_BY_LAUNCH
    return Face(
        parent_log_dir=relative_to_launch(parent, launch),
        hydra_overrides=[word for word in written if not dropped.match(word)],
        settings_overrides=None if settings is None else list(settings),
        has_callback=callback is not None,
    )


def job_command(overrides: Sequence[str], *, own_interpreter: bool) -> list[str]:
    """Gives the words of the command: how this process was started, with other overrides.

    Args:
        overrides: the job's.
        own_interpreter: whether to name this very interpreter rather than the word that was typed, by
            which a job may find another.
    """
    program = _program()
    if own_interpreter:
        program = [sys.executable, *program[1:]]
    return [*program, *_options(tuple(sys.argv[1:])), *overrides]


@functools.cache
def _options(typed: tuple[str, ...]) -> list[str]:
    """Gives the words after the program that are no overrides and say nothing of sweeps."""
    parsed, _ = get_args_parser().parse_known_intermixed_args(typed)
    is_override = set(parsed.overrides)
    sweeping = {"-m", "--multirun", "-r", "--run"}
    return [word for word in typed if word not in is_override and word not in sweeping]


def _program() -> list[str]:
    """Gives the words before the arguments: ``python main.py``, ``python -m package.module``."""
    words = sys.orig_argv
    if sys.argv[0] in words:
        return words[: words.index(sys.argv[0]) + 1]
    for index, word in enumerate(words):
        if word.startswith("-m"):
            return words[: index + (2 if word == "-m" else 1)]
    raise MlxpyError("cannot tell how this program was started: start it as python main.py")
