"""A task's config as plain data: resolved, without what must not be written down."""

import contextlib
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from pathlib import PurePath
from typing import Any

from omegaconf import DictConfig, ListConfig, Node, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from mlxpy_core._errors import MlxpyError

from ._omegaconf import is_absent, node_at, resolver_functions, value_as_written


def plain_config(config: DictConfig, leave_out: str | None = None) -> dict[str, Any]:
    """Resolves a config into dicts, lists and scalars that YAML holds.

    Values from ``oc.env`` stay as written, because they may be secrets; so does whatever cannot be
    resolved. Neither is an error here: the task may never touch it.

    Args:
        config: the config.
        leave_out: a key at its top that is no part of the result.
    """
    with _resolvers_put_back() as resolvers:
        resolvers.pop("oc.env", None)
        return {_plain_key(key): _plain_item(config, key) for key in config if key != leave_out}


def plain_config_at_another_time(config: DictConfig, leave_out: str) -> dict[str, Any]:
    """Does as `plain_config` does, with all values that resolvers give another time.

    What differs from what `plain_config` gave says nothing of the task. What resolvers gave to this
    config before is forgotten.
    """
    OmegaConf.clear_cache(config)
    with _resolvers_put_back() as resolvers:
        if "now" in resolvers:  # the same within a second, or a day
            resolvers["now"] = lambda *_: secrets.token_hex()
        return plain_config(config, leave_out)


def fix_changing_values(config: DictConfig) -> None:
    """Writes values into a config in place of interpolations that give another one each time.

    Whoever reads them later then gets what is recorded now. Such an interpolation calls a resolver that
    neither depends on the config nor keeps what it gave (``use_cache``). What is kept is asked for here,
    so the config keeps it. All other interpolations stay.
    """
    values: list[tuple[DictConfig | ListConfig, Any, Any]] = []
    changing: dict[int, Node] = {}
    with _resolvers_put_back() as resolvers:
        resolvers.pop("oc.env", None)
        resolvers.update(
            {
                name: _noting(name, resolver, changing)
                for name, resolver in resolvers.items()
                if not _STEADY.match(name)
            }
        )
        for parent, key in _resolver_calls(config):
            try:
                value = parent[key]
            except Exception:  # noqa: S112  # resolvers are the user's code and raise what they like
                continue
            values.append((parent, key, value))
    for parent, key, value in values:
        node = node_at(parent, key)
        if node is None or id(node) not in changing:
            continue
        with (
            contextlib.suppress(OmegaConfBaseException),  # no config can hold the value
            flag_override(parent, ["readonly", "struct"], False),  # how it is called
            flag_override(node, "readonly", None),
        ):
            parent[key] = value


_RESOLVER_CALL = re.compile(r"\$\{\s*[\w.]+\s*:")
# They give the same for the same config and process.
_STEADY = re.compile(r"oc\.|(hydra|python_version)$")


def _resolver_calls(config: DictConfig | ListConfig) -> Iterator[tuple[DictConfig | ListConfig, Any]]:
    """Lists the places of a config's nodes that call a resolver."""
    keys: list[Any] = list(config) if isinstance(config, DictConfig) else list(range(len(config)))
    for key in keys:
        node = node_at(config, key)
        if node is None:
            continue
        if OmegaConf.is_interpolation(config, key):
            if _RESOLVER_CALL.search(str(value_as_written(node))):
                yield config, key
        elif isinstance(node, (DictConfig, ListConfig)) and not is_absent(node):
            yield from _resolver_calls(node)


def _noting(name: str, resolver: Any, changing: dict[int, Node]) -> Any:
    """Returns a resolver that notes the nodes to which another one gives another value each time, by id.

    Each call of a node gives the same value whenever it is reached.
    """
    given: dict[tuple[int, str], tuple[Node, Any]] = {}

    def resolve(root: Any, parent: Any, node: Node, args: Any, args_text: Any) -> Any:
        call = id(node), repr(args)
        if call not in given:
            value = resolver(root, parent, node, args, args_text)
            given[call] = node, value
            kept = args_text in OmegaConf.get_cache(root).get(name, {})
            # With arguments from elsewhere in the config it may be a plain function of these.
            depends = any("${" in text for text in args_text)
            if not kept and not (depends and resolver(root, parent, node, args, args_text) == value):
                changing[id(node)] = node
        return given[call][1]

    return resolve


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
    node = node_at(config, key)
    assert node is not None
    written = OmegaConf.to_container(node) if OmegaConf.is_config(node) else value_as_written(node)
    try:
        return _item(config, key, written)
    except RecursionError:  # an interpolation that contains itself
        return _plain_value(written)


@contextmanager
def _resolvers_put_back() -> Iterator[dict[str, Any]]:
    """Yields the table of resolvers; what the block replaces or takes out there comes back."""
    resolvers = resolver_functions()
    earlier = dict(resolvers)
    try:
        yield resolvers
    finally:
        resolvers.update(earlier)


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
