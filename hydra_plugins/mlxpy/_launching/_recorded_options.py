"""The options of a launcher, checked by their names, and as a job's note keeps them."""

import difflib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from hydra_plugins.mlxpy._nodes import LocalLauncherNode, MlxpLauncherNode, OarLauncherNode
from hydra_plugins.mlxpy._submitit_nodes import SlurmLauncherNode, SubmititLauncherNode
from mlxpy_core import MlxpyError

LAUNCHER_NODES = {
    node.__name__: node
    for node in (
        MlxpLauncherNode,
        LocalLauncherNode,
        OarLauncherNode,
        SlurmLauncherNode,
        SubmititLauncherNode,
    )
}
# What says nothing of a job by itself.
OF_THE_SUBMISSION = frozenset(
    (
        *("_target_", "scheduler", "cluster", "parent_log_dir", "submitit_folder", "settings_overrides"),
        *("array", "array_parallelism", "runs_per_job", "n_jobs", "wait", "poll_interval_s"),
        *("dry_run", "skip_completed", "freeze_config", "after", "after_status"),
    )
)
_KEPT = frozenset(("scheduler", "runs_per_job"))  # a script depends on them


def recorded_launcher(node: type[Any] | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a job's note keeps of the launcher's options: those that are not the default.

    Args:
        node: the class of the launcher's config; of a user's own there is nothing to keep.
        options: the options, resolved.
    """
    if node is None or node not in LAUNCHER_NODES.values():
        return {}
    defaults = OmegaConf.to_container(OmegaConf.structured(node))
    assert isinstance(defaults, dict)
    kept = {
        name: value
        for name, value in options.items()
        if (name not in OF_THE_SUBMISSION or name in _KEPT) and value != defaults.get(name)
    }
    try:
        json.dumps(kept)
    except (TypeError, ValueError):
        return {}
    return {"node": node.__name__, "options": kept}


def check_options(hydra: DictConfig) -> None:
    """Rejects options of the launcher that the command added: Hydra advises so where one is misspelt."""
    node = OmegaConf.get_type(hydra.launcher)
    if is_dataclass(node):  # not a node of the user's own
        for name in hydra.launcher:
            check_option(name, node, hydra.runtime.choices["hydra/launcher"])


def check_option(name: str, node: type[Any], chosen: str, place: str = "hydra.launcher") -> None:
    """Rejects an option that a launcher, or a sweeper, does not have.

    Args:
        name: the option.
        node: the class of its config.
        chosen: what it is called.
        place: where its config is.

    Raises:
        MlxpyError: it does not; the message has a name that is near.
    """
    known = [option.name for option in fields(node)]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"--cfg hydra -p {place} shows them all"
        raise MlxpyError(f"{place}.{name} is no option of {chosen}: {hint}")
