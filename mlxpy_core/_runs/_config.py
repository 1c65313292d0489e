"""A task's config as plain data: resolved, without what must not be written down."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from pathlib import PurePath
from typing import Any

from omegaconf import DictConfig, ListConfig, Node, OmegaConf
from omegaconf.basecontainer import BaseContainer
from omegaconf.errors import OmegaConfBaseException

from mlxpy_core._errors import MlxpyError


def plain_config(config: DictConfig, leave_out: str | None = None) -> dict[str, Any]:
    """Resolves a config into dicts, lists and scalars that YAML holds.

    Values from ``oc.env`` stay as written, because they may be secrets; so does whatever cannot be
    resolved. Neither is an error here: the task may never touch it.

    Args:
        config: the config.
        leave_out: a key at its top that is no part of the result.
    """
    with _environment_hidden():
        return {_plain_key(key): _plain_item(config, key) for key in config if key != leave_out}


def plain_mapping(config: Mapping[str, Any]) -> dict[str, Any]:
    """Does with the config of a program without Hydra as `plain_config` does.

    Raises:
        MlxpyError: it holds what no config can.
    """
    try:
        return plain_config(OmegaConf.create(dict(config)))
    except OmegaConfBaseException as error:
        raise MlxpyError(f"config cannot be stored: {error}") from error


def _plain_item(config: DictConfig, key: Any) -> Any:
    node = config._get_node(key)
    assert isinstance(node, Node)
    written = OmegaConf.to_container(node) if OmegaConf.is_config(node) else node._value()
    try:
        return _item(config, key, written)
    except RecursionError:  # an interpolation that contains itself
        return _plain_value(written)


@contextmanager
def _environment_hidden() -> Iterator[None]:
    # OmegaConf has no public way to hide a resolver and give back the same, maybe a user's own.
    resolvers = BaseContainer._resolvers
    hidden = resolvers.pop("oc.env", None)
    try:
        yield
    finally:
        if hidden is not None:
            resolvers["oc.env"] = hidden


def _plain(node: DictConfig | ListConfig) -> Any:
    written = OmegaConf.to_container(node, resolve=False)
    if isinstance(written, dict):
        return {_plain_key(key): _item(node, key, written[key]) for key in written}
    if isinstance(written, list):
        return [_item(node, index, value) for index, value in enumerate(written)]
    return written  # None, '???' or an interpolation that stands for the whole node


def _item(node: DictConfig | ListConfig, key: Any, written: Any) -> Any:
    if isinstance(written, str) and written == "???":
        return written
    try:
        value = node[key]
    except RecursionError:
        raise
    except Exception:  # resolvers are the user's code and raise what they like
        return _plain_value(written)
    return _plain(value) if OmegaConf.is_config(value) else _plain_value(value)


def _plain_value(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, dict):
        return {_plain_key(key): _plain_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain_value(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return value
    return str(value)  # what a user's resolver gave


def _plain_key(key: Any) -> Any:
    return key.name if isinstance(key, Enum) else key
