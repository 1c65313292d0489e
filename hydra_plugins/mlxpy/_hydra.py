"""What the faces use of Hydra and OmegaConf that is not public, and where their versions differ.

No other module of the faces names any of it: what a new Hydra breaks is mended here. All of it was seen
with Hydra 1.3.2, 1.3.8 and 1.4.0rc3, but for the parts that name other versions. Series 1.3 brings
OmegaConf 2.3, and 1.4 brings 2.4. The smoke tests run all of it.
"""

import argparse
import os
import sys
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol, TypeVar, cast

import hydra
import hydra._internal.utils as hydra_internals
import hydra.core.utils as hydra_utils
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.defaults_list import Overrides
from hydra._internal.utils import _run_hydra, create_config_search_path, get_args_parser
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, Node, OmegaConf, ValueNode

try:
    from hydra._internal.config_loader_impl import get_overrides_dirname
except ImportError:  # Hydra 1.4
    get_overrides_dirname = None  # type: ignore[assignment]  # the other version has the function

_Noted = TypeVar("_Noted")
_IS_1_3 = hydra.__version__.startswith("1.3.")


# The command line.

# Hydra 1.4 warns of the argument, as it has no other behaviour.
MAIN_OPTIONS: dict[str, Any] = {"version_base": None} if _IS_1_3 else {}


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parses a command line as Hydra does; its `overrides` are not parsed further."""
    return get_args_parser().parse_known_intermixed_args(list(arguments))[0]


def reads_arguments() -> bool:
    """Returns whether ``hydra.main``, which reads ``sys.argv``, has led to this callback.

    Other ways to start Hydra, hydra_zen's, give it overrides.
    """
    return any(frame.f_code is _run_hydra.__code__ for frame, _ in traceback.walk_stack(sys._getframe()))


def config_groups(config_path: str | None, config_dir: str | None) -> set[str]:
    """Lists the config groups of an app.

    Args:
        config_path: the app's config directory.
        config_dir: the command's ``--config-dir``.
    """
    search_path = create_config_search_path(config_path)
    if config_dir:
        search_path.append("command-line", f"file://{os.path.abspath(config_dir)}")
    return set(ConfigLoaderImpl(search_path).list_groups(""))


# Callbacks.


def register_resolver(name: str, resolver: Callable[..., Any]) -> None:
    """Registers a resolver of interpolations, or replaces the one of this name.

    OmegaConf 2.4 renamed the function, to a name that meant something else in 2.3.
    """
    register: Callable[..., None] = (
        OmegaConf.register_new_resolver if _IS_1_3 else OmegaConf.register_resolver
    )
    register(name, resolver, replace=True)


def returned_or_raised(job_return: JobReturn) -> Any:
    """Returns what the task returned or raised; the public attribute raises what the task raised."""
    return job_return._return_value


def config_of_the_task() -> DictConfig | None:
    """Returns the very config that Hydra is about to call the task with, from within ``on_job_start``.

    Callbacks get another one, of which the task's is a copy; it is a variable of the function that calls
    both.

    Returns:
        The config; None where it is not found.
    """
    for frame, _ in traceback.walk_stack(sys._getframe()):
        if frame.f_globals.get("__name__") == hydra_utils.__name__ and "task_cfg" in frame.f_locals:
            config = frame.f_locals["task_cfg"]
            return config if isinstance(config, DictConfig) else None
    return None


@contextmanager
def as_current_config(config: DictConfig) -> Iterator[None]:
    """Has ``${hydra:...}`` mean this config, as it will in the job.

    `HydraConfig.set_config` would make the config read-only.
    """
    holder = HydraConfig.instance()
    before = holder.cfg
    holder.cfg = cast(Any, config)  # as Hydra does
    try:
        yield
    finally:
        holder.cfg = before


def callbacks_of(context: HydraContext) -> list[Any]:
    """Returns the list of the callbacks in use; what is added to it is called, too.

    Seen with 1.3.2 and 1.3.8.
    """
    callbacks: list[Any] = context.callbacks.callbacks
    return callbacks


def callback_of(config: DictConfig, name: str) -> Mapping[str, Any]:
    """Returns the node of a callback, empty if there is none; quickly, for the configs of many jobs."""
    callbacks = child_of(config, "hydra", "callbacks")
    content = content_of(callbacks)
    return callbacks[name] or {} if isinstance(content, dict) and name in content else {}


def basic_launcher(context: HydraContext, task_function: TaskFunction, config: DictConfig) -> Launcher:
    """Returns Hydra's launcher that runs jobs in this process. Seen with 1.3.2 and 1.3.8."""
    from hydra._internal.core_plugins.basic_launcher import BasicLauncher

    launcher = BasicLauncher()
    launcher.setup(hydra_context=context, task_function=task_function, config=config)
    return launcher


_REPORTS = "_mlxpy_reports_to"
_ORIGINAL = "_mlxpy_original"


def report_exits(report: Callable[[BaseException], None]) -> None:
    """Has `report` called when a task ends by Ctrl-C, ``sys.exit`` or the like.

    Hydra 1.4 calls ``on_job_end`` then. Hydra 1.3 calls nothing, and has no public place where the task
    could be wrapped. But it runs ``on_job_start`` and the task, and nothing else, inside its context
    manager ``env_override``, which it looks up anew for each job: that is replaced by one that does the
    same and reports. Seen with 1.3.2 and 1.3.8; 1.3 is a finished series, so this does not move.
    """
    if not _IS_1_3 or hasattr(hydra_utils.env_override, _REPORTS):
        return
    original = hydra_utils.env_override

    @contextmanager
    def env_override(env: dict[str, str]) -> Iterator[Any]:
        with original(env):
            try:
                yield
            except BaseException as error:
                report(error)
                raise

    setattr(env_override, _REPORTS, report)
    hydra_utils.env_override = env_override


def replace_tracebacks(sentence_of: Callable[[BaseException], str | None]) -> None:
    """Has Hydra end the program with a sentence, where there is one for the error that would end it.

    Otherwise it prints a traceback and advice on a longer one; before, it asks whether a debugger runs.
    Where HYDRA_FULL_ERROR is set, it does not ask.
    """
    original = getattr(hydra_internals.is_under_debugger, _ORIGINAL, hydra_internals.is_under_debugger)

    def is_under_debugger() -> bool:
        error = sys.exc_info()[1]
        sentence = sentence_of(error) if error else None
        if sentence:
            sys.stdout.flush()
            raise SystemExit(f"mlxpy: {sentence}")
        return bool(original())

    setattr(is_under_debugger, _ORIGINAL, original)
    hydra_internals.is_under_debugger = is_under_debugger


def is_of_hydra(error: BaseException) -> bool:
    """Returns whether an error arose in Hydra's own work, without the app's code or a plugin."""
    modules = {
        str(frame.f_globals.get("__name__")).partition(".")[0]
        for frame, _ in traceback.walk_tb(error.__traceback__)
    }
    return modules <= {"hydra", "omegaconf", "yaml", *sys.stdlib_module_names}


# How a sweep's configs are composed.

# Values of ``_target_``; each of the two has the config of each job composed.
BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
BASIC_LAUNCHER = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
# The classes of their nodes.
BASIC_NODES = ("BasicSweeperConf", "BasicLauncherConf")


class LoadSweepConfig(Protocol):
    """The method of a config loader that composes the config of one job of a sweep."""

    def __call__(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Composes it of the sweep's config and the job's overrides."""


def replace_load_sweep_config(loader: ConfigLoader, load_sweep_config: LoadSweepConfig) -> None:
    """Replaces the method of this loader alone.

    Another loader would not do: the sweeper and the launcher hold this one already, and Hydra 1.4 checks
    its type.
    """
    # Replaced on purpose, which mypy refuses: Hydra has no public place for it.
    loader.load_sweep_config = load_sweep_config  # type: ignore[method-assign]


class Composition:
    """The steps by which Hydra composes the config of a job.

    Args:
        loader: the app's config loader.
        config_name: the primary config.
        hydra_overrides: the overrides of Hydra's own settings that every job of the sweep has.
    """

    def __init__(
        self, loader: ConfigLoader, config_name: str | None, hydra_overrides: list[Override]
    ) -> None:
        assert isinstance(loader, ConfigLoaderImpl)
        self._loader = loader
        self._repository = CachingConfigRepository(loader.repository)
        loader._process_config_searchpath(config_name, hydra_overrides, self._repository)

    def value_overrides(self, overrides: list[Override]) -> list[Override]:
        """Returns the overrides that change values; the others choose config groups."""
        return Overrides(self._repository, overrides).config_overrides

    @contextmanager
    def noting_merged(self, note: Callable[[DictConfig], _Noted]) -> Iterator[list[_Noted]]:
        """Lists what `note` returns of each config that is merged, before values are applied to it."""
        noted: list[_Noted] = []
        merge = self._loader._compose_config_from_defaults_list

        def merge_and_note(*args: Any, **kwargs: Any) -> DictConfig:
            config = merge(*args, **kwargs)
            noted.append(note(config))
            return config

        # Replaced on purpose, which mypy refuses: Hydra has no public place for it.
        self._loader._compose_config_from_defaults_list = merge_and_note  # type: ignore[method-assign]
        try:
            yield noted
        finally:
            del self._loader._compose_config_from_defaults_list

    def check_sweep_choices(self, master_config: DictConfig, sweep_config: DictConfig) -> None:
        """Checks what Hydra 1.4 checks: a job does not choose another launcher or sweeper."""
        check = getattr(self._loader, "_ensure_sweep_config_controller_unchanged", None)
        if check:
            check(master_config=master_config, sweep_config=sweep_config)


def apply_overrides(config: DictConfig, overrides: list[Override]) -> None:
    """Applies overrides of values."""
    ConfigLoaderImpl._apply_overrides_to_config(overrides, config)


def with_integer(override: Override, value: int, text: str) -> Override:
    """Returns an override of the same key with another value."""
    return replace(override, _value=value, input_line=text)


def is_value_path(override: Override) -> bool:
    """Returns whether an override is surely of a value, which Hydra 1.4 can tell. Seen with 1.4.0rc3."""
    return bool(getattr(override, "is_value_path", False))


# Hydra 1.4 has a resolver for it.
WRITES_OVERRIDE_DIRNAME = get_overrides_dirname is not None


def override_dirname(form: Mapping[str, Any], overrides: Sequence[Override]) -> str:
    """Returns the value of ``hydra.job.override_dirname`` for these overrides.

    Seen with 1.3.2 and 1.3.8.

    Args:
        form: ``hydra.job.config.override_dirname`` as plain data.
        overrides: all overrides of the task.
    """
    return get_overrides_dirname(
        overrides=list(overrides),
        kv_sep=form["kv_sep"],
        item_sep=form["item_sep"],
        exclude_keys=form["exclude_keys"],
    )


# The nodes of a config, as they are written: nothing is resolved.


def parent_of(node: Node) -> Node | None:
    """Returns the node that holds this one."""
    return node._get_parent()


def child_of(node: DictConfig, *keys: Any) -> Any:
    """Returns the node at a key, or at the last of several from there down; None if there is none."""
    found: Any = node
    for key in keys:
        found = found._get_node(key, validate_access=False)
    return found


def content_of(node: Node) -> Any:
    """Returns what a node holds: a dict or list of nodes, the node of a union, or a value."""
    return node._value()


def as_written(node: Any) -> Any:
    """Returns what a node holds as plain data, far faster than `OmegaConf.to_container` does."""
    content = content_of(node) if isinstance(node, Node) else node
    if isinstance(content, dict):
        return {key: as_written(item) for key, item in content.items()}
    if isinstance(content, (list, tuple)):
        return [as_written(item) for item in content]
    return as_written(content) if isinstance(content, Node) else content


def is_interpolation(node: Node) -> bool:
    """Returns whether a node is an interpolation."""
    return node._is_interpolation()


def is_empty(node: Node) -> bool:
    """Returns whether a node is null or ``???``."""
    return node._is_none() or node._is_missing()


def clone_of(node: Node, parent: Node | None) -> Node:
    """Returns a node that is like another but has its own metadata; its content is still the other's."""
    clone: Node = object.__new__(type(node))
    state = clone.__dict__
    state.update(node.__dict__)
    metadata = state["_metadata"]
    cloned_metadata = object.__new__(type(metadata))
    facts = cloned_metadata.__dict__
    facts.update(metadata.__dict__)
    if facts["flags"] is not None:
        facts["flags"] = facts["flags"].copy()
    facts["resolver_cache"] = defaultdict(dict)
    state.update(_metadata=cloned_metadata, _parent=parent, _flags_cache=None)
    return clone


def set_value(node: ValueNode, value: Any) -> None:
    """Has a node that holds a value hold another one, which is checked and converted."""
    node._set_value(value)


def set_content(node: Node, content: Any) -> None:
    """Replaces what a node holds, which is not checked."""
    node.__dict__["_val" if isinstance(node, ValueNode) else "_content"] = content
