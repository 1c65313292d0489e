"""Applies value overrides to a config that Hydra has composed without them, where that is the same.

Hydra composes what the config groups determine, applies the values, and then fills in its own node. Here
the values come last. That makes a difference only if one step reads or writes what the other has
written, which takes an interpolation: where one could do so, `NotSurelyEqual` is raised.
"""

import re
from collections.abc import Sequence
from itertools import permutations
from typing import Any

from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, Node, ValueNode

from hydra_plugins.mlxpy._hydra import (
    WRITES_OVERRIDE_DIRNAME,
    apply_overrides,
    as_written,
    child_of,
    content_of,
    is_empty,
    is_interpolation,
    override_dirname,
    set_content,
    set_value,
)

_NAME = r"[^\W\d]\w*"
# Not a key of a list, nor one that a dict may hold as a number.
_TASK_KEY = re.compile(rf"(?!hydra\b){_NAME}(\.{_NAME})*")
# Hydra writes below these after the values are applied.
_WRITTEN = ("overrides.task", "overrides.hydra", "runtime.choices", "job.env_set")
# Hydra reads these then.
_READ = ("job.name", "job.env_copy", "job.config", "aliases")


class NotSurelyEqual(Exception):  # noqa: N818 - not an error: Hydra is to compose it
    """Hydra might compose something else."""


def is_value_override(override: Override) -> bool:
    """Returns whether an override that chooses no config group changes only one value of the task."""
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
    """Checks that what Hydra does after applying values does not depend on them.

    Args:
        config: the config before Hydra fills in its own node.

    Raises:
        NotSurelyEqual: it might depend on them.
    """
    hydra = child_of(config, "hydra")
    for path in _WRITTEN:
        if _is_interpolation(_walk(hydra, path.split("."))):
            raise NotSurelyEqual
    for path in _READ:
        if _has_interpolation(_walk(hydra, path.split("."))):
            raise NotSurelyEqual


def apply_values(config: DictConfig, values: Sequence[Override]) -> None:
    """Applies overrides of values as Hydra does; if it raises, the config is left half changed."""
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
    """Lists the task's overrides in Hydra's own node.

    Args:
        config: the config, which lists only some of them.
        overrides: all of them.
        replaced: how many of them it lists.
    """
    hydra = child_of(config, "hydra")
    task = _walk(hydra, ("overrides", "task"))
    del task[len(task) - replaced :]
    for override in overrides:
        task.append(override.input_line)
    if WRITES_OVERRIDE_DIRNAME:
        _walk(hydra, ("job",)).override_dirname = override_dirname(_form_of_dirname(hydra), overrides)


def _form_of_dirname(hydra: DictConfig) -> dict[str, Any]:
    form: dict[str, Any] = as_written(_walk(hydra, ("job", "config", "override_dirname")))
    return form


def keys_of(overrides: Sequence[tuple[Override, bool]]) -> tuple[str, ...] | None:
    """Returns what overrides have in common with others that a `FilledConfig` can have in their place.

    Args:
        overrides: those of a job, each with whether it is of a value, not of a config group.

    Returns:
        The parts that are the same; None if there are no such overrides.
    """
    names = [override.key_or_group for override, is_value in overrides if is_value]
    if not all(_is_plain(override) for override, is_value in overrides if is_value):
        return None
    if any(f"{other}.".startswith(f"{name}.") for name, other in permutations(names, 2)):
        return None  # one is below the other
    return tuple(
        (override.input_line or "").partition("=")[0] if is_value else override.input_line or ""
        for override, is_value in overrides
    )


def _is_plain(override: Override) -> bool:
    value = override.value()
    if override.type is OverrideType.DEL:
        return False
    if isinstance(value, str):
        return "${" not in value and value != "???"
    return isinstance(value, (bool, int, float))


class FilledConfig:
    """A config that a job had, which is filled with the values of others that have the same `keys_of`.

    Hydra would compose the same: a plain value is taken by the node that is at its key.

    Args:
        config: the config.
        overrides: what was applied to it, each with whether it is of a value.

    Attributes:
        config: the config, of the last job that it was filled for.

    Raises:
        NotSurelyEqual: Hydra might put another node into the place of one.
    """

    def __init__(self, config: DictConfig, overrides: Sequence[tuple[Override, bool]]) -> None:
        self.config = config
        hydra = child_of(config, "hydra")
        self._values = [
            _walk(config, override.key_or_group.split("."))
            for override, is_value in overrides
            if is_value
        ]
        self._task = content_of(_walk(hydra, ("overrides", "task")))[-len(overrides) :]
        if not all(isinstance(node, ValueNode) for node in (*self._values, *self._task)):
            raise NotSurelyEqual
        self._job = _walk(hydra, ("job",))
        self._of_the_job = {name: content_of(child_of(self._job, name)) for name in ("num", "id")}
        self._form_of_dirname = _form_of_dirname(hydra)

    def fill(self, overrides: Sequence[tuple[Override, bool]]) -> None:
        """Puts the values of another job in; the job's number and id are again as Hydra leaves them."""
        values = [override.value() for override, is_value in overrides if is_value]
        for node, value in zip(self._values, values, strict=True):
            set_value(node, value)
        for node, (override, _) in zip(self._task, overrides, strict=True):
            set_content(node, override.input_line)
        for name, value in self._of_the_job.items():
            set_content(child_of(self._job, name), value)
        if WRITES_OVERRIDE_DIRNAME:
            dirname = override_dirname(self._form_of_dirname, [override for override, _ in overrides])
            set_content(child_of(self._job, "override_dirname"), dirname)


def _walk(node: Any, names: Sequence[str]) -> Any:
    """Returns the node at a path as it is written; None if there is none."""
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
