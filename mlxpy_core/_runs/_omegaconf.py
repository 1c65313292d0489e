"""The private names of OmegaConf that the engine uses, and nothing else uses. Seen with 2.3 and 2.4."""

from typing import Any

from omegaconf import DictConfig, ListConfig, Node
from omegaconf.basecontainer import BaseContainer


def node_at(config: DictConfig | ListConfig, key: Any) -> Node | None:
    """Returns the node of a key, which is not resolved; None if there is none."""
    node = config._get_node(key)
    return node if isinstance(node, Node) else None


def value_as_written(node: Node) -> Any:
    """Returns what a node holds: the text of an interpolation, not its value."""
    return node._value()


def is_absent(node: DictConfig | ListConfig) -> bool:
    """Returns whether a dict or list is None or ``???``."""
    return bool(node._is_none() or node._is_missing())


def resolver_functions() -> dict[str, Any]:
    """Returns the table of all resolvers, which may be changed: no public function gets one."""
    return BaseContainer._resolvers
