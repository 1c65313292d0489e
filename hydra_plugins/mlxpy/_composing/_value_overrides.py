"""Applies value overrides to a config that Hydra has composed without them, where that is the same.

Hydra composes what the config groups determine, applies the values, and then fills in its own node. Here
the values come last. That makes no difference unless one side reads or writes what the other has
written. It takes an interpolation to do so: where one is in the way, `NotSurelyEqual` is raised.
"""

import re
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, Node, ValueNode

from hydra_plugins.mlxpy._hydra import (
    WRITES_OVERRIDE_DIRNAME,
    apply_overrides,
    child_of,
    content_of,
    is_empty,
    is_interpolation,
    override_dirname,
)

_NAME = r"[^\W\d]\w*"
# Not a key of a list, nor one that a dict may hold as a number.
_TASK_KEY = re.compile(rf"(?!hydra\b){_NAME}(\.{_NAME})*")
# Hydra writes below these after the values are applied.
_WRITTEN = ("overrides.task", "overrides.hydra", "runtime.choices", "job.env_set")
# Hydra reads these then.
_READ = ("job.name", "job.env_copy", "job.config", "aliases")


class NotSurelyEqual(Exception):  # noqa: N818 - a signal to leave it to Hydra, no error
    """Hydra may give something else."""


def is_value_override(override: Override) -> bool:
    """Tells whether an override that chooses no config group may change but one value of the task."""
    if override.type is OverrideType.DEL:
        supported = override.value_type is None  # else the value may be resolved to compare it
    else:
        supported = override.type in (OverrideType.CHANGE, OverrideType.ADD, OverrideType.FORCE_ADD)
    return (
        supported
        and override.package is None
        and not override.is_sweep_override()
        and _TASK_KEY.fullmatch(override.key_or_group) is not None
    )


def check_order_is_free(config: DictConfig) -> None:
    """Checks that what Hydra does after it has applied the values has nothing to do with them.

    Args:
        config: what Hydra has before it does that.
    """
    hydra = child_of(config, "hydra")
    for path in _WRITTEN:
        if _is_interpolation(_walk(hydra, path.split("."))):
            raise NotSurelyEqual
    for path in _READ:
        if _has_interpolation(_walk(hydra, path.split("."))):
            raise NotSurelyEqual


def apply_values(config: DictConfig, values: Sequence[Override]) -> None:
    """Applies overrides of values as Hydra does; its exceptions leave a config that is half changed."""
    for value in values:
        target = _walk(config, value.key_or_group.split("."))
        # Deleting and adding look at what is there, merging at all that is below.
        if isinstance(value.value(), (dict, list)):
            in_the_way = _has_interpolation(target)
        else:
            in_the_way = value.type is not OverrideType.CHANGE and _is_interpolation(target)
        if in_the_way:
            raise NotSurelyEqual
        apply_overrides(config, [value])


def set_task_overrides(config: DictConfig, overrides: Sequence[Override], replaced: int) -> None:
    """Has Hydra's node say what the task's overrides are.

    Args:
        config: the config, which says only some of them.
        overrides: all of them.
        replaced: how many it says.
    """
    hydra = child_of(config, "hydra")
    task = _walk(hydra, ("overrides", "task"))
    del task[len(task) - replaced :]
    for override in overrides:
        task.append(override.input_line)
    if WRITES_OVERRIDE_DIRNAME:
        form = _walk(hydra, ("job", "config", "override_dirname"))
        _walk(hydra, ("job",)).override_dirname = override_dirname(form, overrides)


def _walk(node: Any, names: Sequence[str]) -> Any:
    """Gives the node at a path as it is written; None if there is none."""
    for name in names:
        if node is None:
            return None
        if is_interpolation(node) or not isinstance(node, (DictConfig, ValueNode)):
            raise NotSurelyEqual
        if isinstance(node, ValueNode) or is_empty(node):
            return None  # Hydra makes a dict of it, or refuses
        node = child_of(node, name)
    return node


def _is_interpolation(node: Any) -> bool:
    return isinstance(node, Node) and is_interpolation(node)


def _has_interpolation(node: Any) -> bool:
    if not isinstance(node, Node):
        return False
    if is_interpolation(node):
        return True
    content = content_of(node)
    if isinstance(content, (dict, list, tuple)):
        return any(map(_has_interpolation, content.values() if isinstance(content, dict) else content))
    return _has_interpolation(content)  # of a union
