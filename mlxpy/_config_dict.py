"""The config that a launched function is given: a dict whose values are attributes, too."""

import difflib
import pprint
from collections.abc import Callable, Iterable, Mapping
from typing import Any


class ConfigDict(dict[str, Any]):
    """A dict whose items are attributes, too, at all depths: ``config.optimizer.lr``.

    Dicts that are put into it, also those in lists, become such dicts. A key that has the name of a
    method of dicts, such as ``items``, is reached by ``config["items"]``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self._put(dict(*args, **kwargs))

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, _converted(value, ConfigDict))

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            close = difflib.get_close_matches(name, map(str, self), n=1)
            hint = f": did you mean {close[0]!r}?" if close else ""
            raise AttributeError(f"the config has no {name!r} here{hint}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        if name not in self:
            raise AttributeError(f"the config has no {name!r} here")
        del self[name]

    def __dir__(self) -> Iterable[str]:
        return [*super().__dir__(), *map(str, self)]

    def __repr__(self) -> str:
        return pprint.pformat(self.to_dict(), sort_dicts=False)

    def __or__(self, other: Mapping[str, Any]) -> "ConfigDict":  # type: ignore[override]  # dicts return dicts
        return ConfigDict({**self, **other})

    def __ior__(self, other: Any) -> "ConfigDict":  # type: ignore[override,misc]  # as above
        self._put(dict(other))
        return self

    def copy(self) -> "ConfigDict":
        """Returns a copy of this dict, whose values are the same objects."""
        return ConfigDict(self)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Returns the value of a key, which becomes `default` if there is none."""
        if key not in self:
            self[key] = default
        return self[key]

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Takes over the items of another dict; a dict in both is updated in turn, and not replaced."""
        for key, value in dict(*args, **kwargs).items():
            if isinstance(value, Mapping) and isinstance(self.get(key), ConfigDict):
                self[key].update(value)
            else:
                self[key] = value

    def to_dict(self) -> dict[str, Any]:
        """Returns the same as plain dicts and lists."""
        return {key: _converted(value, dict) for key, value in self.items()}

    def _put(self, items: Mapping[str, Any]) -> None:
        for key, value in items.items():
            self[key] = value


def convert_dict(
    src_dict: Mapping[Any, Any],
    src_class: type[Any] = dict,
    dst_class: Callable[[dict[Any, Any]], Any] = ConfigDict,
) -> Any:
    """Returns a copy of nested dicts whose dicts of one class are of another.

    Args:
        src_dict: the outermost dict, which is converted whatever its class.
        src_class: the class of the dicts that are converted.
        dst_class: the class that they become.
    """
    converted: dict[Any, Any] = dict(src_dict)
    for key, value in converted.items():
        if isinstance(value, src_class):
            converted[key] = convert_dict(value, src_class, dst_class)
    return dst_class(converted)


def _converted(value: Any, to: type) -> Any:
    """Returns a value with its dicts, also those in lists and tuples, as dicts of a class."""
    if type(value) is to and to is ConfigDict:
        return value
    if isinstance(value, dict):
        if to is ConfigDict:
            return ConfigDict(value)
        return {key: _converted(item, to) for key, item in value.items()}
    if type(value) in (list, tuple) and any(isinstance(item, (dict, list, tuple)) for item in value):
        return type(value)(_converted(item, to) for item in value)
    return value
