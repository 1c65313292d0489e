"""Options of the launcher that are changed for another attempt at a run."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from mlxpy_core._errors import MlxpyError
from mlxpy_core._plugins._dotted import load_dotted
from mlxpy_core._scheduling._job import Job

_OPTION = re.compile(r"\+{0,2}hydra\.launcher\.(\w[\w.]*)=(?!=)(.*)", flags=re.DOTALL)
# The options are the launcher's, which is a face's: only who changes some comes to it.
_CHANGES_OPTIONS = "hydra_plugins.mlxpy._launching._new_options.changed_launcher"


def split_options(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Parts the arguments of a command into those that name runs and options of the launcher.

    Args:
        arguments: such as ``12`` and ``hydra.launcher.mem_gb=*2``.

    Returns:
        The others, and the options' values as they were typed, by their names.
    """
    found = {argument: _OPTION.fullmatch(argument) for argument in arguments}
    options = {option[1]: option[2] for option in found.values() if option}
    return [argument for argument in arguments if not found[argument]], options


def with_changed_options(job: Job, changes: Mapping[str, str]) -> Job:
    """Returns a job with other options of its launcher; its script is another one, then.

    Args:
        job: the job.
        changes: the new values, by the options' names; ``*2`` multiplies what was recorded.

    Raises:
        MlxpyError: there is no record of its options, or one cannot be changed so.
    """
    if not changes:
        return job
    if not job.launcher:
        raise MlxpyError(
            f"run {job.directory.log_id} has no record of its launcher's options: leave out "
            f"hydra.launcher.{next(iter(changes))}"
        )
    change = load_dotted(_CHANGES_OPTIONS, "launcher", "install mlxpy whole")
    assert callable(change)
    try:
        launcher, options = change(job.launcher, changes)
    except MlxpyError as error:
        raise MlxpyError(f"run {job.directory.log_id} cannot be submitted so: {error}") from error
    return replace(job, launcher=launcher, options=options)
