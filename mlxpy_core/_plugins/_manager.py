"""Plugins: installed packages with an entry point in the group ``mlxpy``, whose hooks are called.

    [project.entry-points.mlxpy]
    mycluster = "mycluster.plugin"

Their names are known without importing them. They are imported, and pluggy with them, when the first
hook is called; where no plugin is installed there is only the look for entry points, once a process.
"""

import functools
import sys
from typing import TYPE_CHECKING, Any

from mlxpy_core._errors import MlxpyError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    import pluggy

_GROUP = "mlxpy"


def plugin_names() -> list[str]:
    """Lists the names of the installed plugins without importing them."""
    return sorted({entry_point.name for entry_point in _entry_points()})


def call_plugins(hook: str, **arguments: Any) -> dict[str, Any]:
    """Calls a hook of every plugin; one that raises is reported on standard error by its name.

    Returns:
        What the plugins returned, by their names.
    """
    results: dict[str, Any] = {}
    if not _entry_points():
        return results
    manager = _manager()
    plugins = manager.list_name_plugin()
    for name, plugin in plugins:
        others = [other for _, other in plugins if other is not plugin]
        try:
            # One at a time, so that one that raises does not keep the next from being called.
            returned = manager.subset_hook_caller(hook, others)(**arguments)
        except (Exception, SystemExit) as error:
            report(f"the plugin {name!r} failed in {hook}: {_message(error)}")
            continue
        results.update((name, result) for result in returned)
    return results


def report(sentence: str) -> None:
    """Prints on standard error what is wrong with a plugin."""
    print(f"mlxpy: {sentence}", file=sys.stderr)


@functools.cache
def _entry_points() -> "tuple[EntryPoint, ...]":
    from importlib.metadata import entry_points  # takes longer than the rest of a run's start

    return tuple(entry_points(group=_GROUP))


@functools.cache
def _manager() -> "pluggy.PluginManager":
    import pluggy

    from mlxpy_core._plugins import _hooks

    manager = pluggy.PluginManager(_hooks.PROJECT)
    manager.add_hookspecs(_hooks)
    for name in plugin_names():
        _register(manager, name)
    return manager


def _register(manager: "pluggy.PluginManager", name: str) -> None:
    try:
        plugin = _load(name)
        if other := manager.get_name(plugin):
            raise MlxpyError(f"it is the same as the plugin {other!r}: uninstall one of them")
        manager.register(plugin, name)
        manager.check_pending()
    except (Exception, SystemExit) as error:
        if manager.has_plugin(name):
            manager.unregister(name=name)
        report(f"the plugin {name!r} is left out: {_message(error)}")


def _load(name: str) -> object:
    named = [entry_point for entry_point in _entry_points() if entry_point.name == name]
    if len(named) > 1:
        packages = " and ".join(sorted(point.dist.name if point.dist else "?" for point in named))
        raise MlxpyError(f"the packages {packages} both have one of this name: uninstall one of them")
    plugin: object = named[0].load()
    return plugin


def _message(error: BaseException) -> str:
    message = " ".join(str(error).split())
    return message if isinstance(error, MlxpyError) else f"{type(error).__name__}: {message}"
