"""Whether Hydra's arguments were typed in the command, or are set by the program's code."""

import re
import sys
from collections.abc import Iterable

from omegaconf import DictConfig

from mlxpy_core import MlxpyError, first_argument

from ._hydra import reads_arguments
from ._outputs import is_output_of_sweep
from ._override_values import hydra_overrides, task_overrides

MODE_OPTIONS = frozenset({"-m", "--multirun", "-r", "--run"})
_MULTIRUN = "hydra.mode=MULTIRUN"
_BY_LAUNCH = re.compile(
    r"--multirun$|\+\+hydra\.callbacks\.(mlxp_logger|mlxp_git)=|hydra/launcher=|\+\+hydra\.launcher\."
)


def are_typed(config: DictConfig, *, by_launch: bool) -> bool:
    """Returns whether a sweep's arguments were typed in the command, and not set by the program's code.

    Args:
        config: the sweep's config.
        by_launch: whether the program is one by ``mlxpy.launch``, which adds arguments of its own.

    Raises:
        MlxpyError: the command cannot be started again.
    """
    given = hydra_overrides(config)
    # Said by -m or by `launch`, or by the callback.
    words = (
        word for word in [*given, *sys.argv[1:]] if word != _MULTIRUN and not is_output_of_sweep(word)
    )
    return _is_swept_by_command(given, by_launch=by_launch) and _were_typed(
        [*task_overrides(config), *words], by_launch=by_launch
    )


def are_of_code(config: DictConfig, *, sweeps: bool, by_launch: bool) -> bool:
    """Returns whether the program's code sets what its runs differ in: overrides, or that it sweeps.

    Settings of Hydra that the code adds to what was typed do not count.

    Args:
        config: the config of a sweep, or of a single job.
        sweeps: which of the two.
        by_launch: whether the program is one by ``mlxpy.launch``, which adds arguments of its own.
    """
    try:
        if sweeps and not _is_swept_by_command(hydra_overrides(config), by_launch=by_launch):
            return True
        return not (reads_arguments() and _were_typed(task_overrides(config), by_launch=by_launch))
    except MlxpyError:  # a notebook, say, which cannot be started again at all
        return False


def _is_swept_by_command(given: list[str], *, by_launch: bool) -> bool:
    if _MULTIRUN not in given or by_launch:  # or by the app's config
        return True
    return not {*MODE_OPTIONS, _MULTIRUN}.isdisjoint(_typed())


def _were_typed(words: Iterable[str], *, by_launch: bool) -> bool:
    typed = _typed()
    known = {*typed, *(f"+{word}" for word in typed)} if by_launch else set(typed)
    return all(word in known or (by_launch and _BY_LAUNCH.match(word)) for word in words)


def _typed() -> list[str]:
    return sys.orig_argv[first_argument(sys.orig_argv) :]
