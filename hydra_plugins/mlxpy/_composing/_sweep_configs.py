"""Composes the configs of a sweep's jobs once for each choice of config groups.

Hydra's basic sweeper composes the config of every job to validate it and throws it away; its basic
launcher composes the same config again. Composing takes nearly all the time of a short job, and most
jobs of a sweep differ in values alone.
"""

import os
import pickle
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.mlxpy._hydra import (
    BASIC_LAUNCHER,
    BASIC_SWEEPER,
    Composition,
    apply_overrides,
    as_written,
    child_of,
    is_value_path,
    replace_load_sweep_config,
    with_integer,
)
from hydra_plugins.mlxpy._nodes import MlxpLauncherNode
from hydra_plugins.mlxpy._override_values import hydra_overrides
from hydra_plugins.mlxpy._sweep_job import sweep_job_of_this_process

from ._config_copy import Copies, copied_tree
from ._value_overrides import (
    FilledConfig,
    NotSurelyEqual,
    apply_values,
    check_order_is_free,
    is_value_override,
    keys_of,
    set_task_overrides,
)

_PLAIN_INTEGER = re.compile(r"[1-9][0-9]{0,17}")
_SEARCH = "hydra_plugins.mlxpy.sweeper.MlxpOptunaSweeper"  # whose nodes would take long to import
# So many configs are kept to be filled with the values of other jobs; each is some 100 kB.
_MOST_FILLED = 16


def compose_once(loader: ConfigLoader, config: DictConfig) -> None:
    """Has the loader keep what it composes, if this sweep's sweeper and launcher both ask for it."""
    if isinstance(getattr(loader.load_sweep_config, "__self__", None), ComposedConfigs):
        return  # the callback has done so already
    if config.hydra.sweeper._target_ == _SEARCH:
        # Each is asked for once, over days.
        configs = ComposedConfigs(loader, asks_twice=False, lends=True)
        replace_load_sweep_config(loader, configs.load_sweep_config)
        return
    ours = config.hydra.launcher._target_ == MlxpLauncherNode._target_
    if config.hydra.sweeper._target_ == BASIC_SWEEPER and (
        ours or config.hydra.launcher._target_ == BASIC_LAUNCHER
    ):
        # To compare jobs, the launcher changes more of their configs; to run one, the task may.
        lends = ours and not (config.hydra.launcher.skip_completed or sweep_job_of_this_process())
        replace_load_sweep_config(loader, ComposedConfigs(loader, lends=lends).load_sweep_config)


def _parse_override(text: str) -> Override:
    [override] = OverridesParser.create().parse_overrides([text])
    return override


class ComposedConfigs:
    """Composes the configs of a sweep's jobs as Hydra's loader does, but nothing twice.

    Args:
        loader: composes what has not been composed yet.
        asks_twice: whether each config is asked for twice, to be validated and to be run.
        lends: whether a config is used only until the next one is asked for, and nothing is changed in
            it but the number and the id of ``hydra.job``: the next one may then be the same object.
    """

    def __init__(self, loader: ConfigLoader, *, asks_twice: bool = True, lends: bool = False) -> None:
        self._loader = loader
        self._compose = loader.load_sweep_config
        self._context: tuple[Any, ...] = ()
        self._asks_twice = asks_twice
        self._lends = lends

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Returns what the method of Hydra's loader returns."""
        self._forget_if_changed(master_config)
        with suppress(Exception):  # where there is any doubt, Hydra composes it or raises its own error
            return self._compose_by_values(master_config, sweep_overrides)
        return self._compose_whole(master_config, sweep_overrides)

    def _forget_if_changed(self, master_config: DictConfig) -> None:
        """Forgets everything if something has changed that a config depends on."""
        of_hydra = hydra_overrides(master_config)
        config_name = as_written(child_of(master_config, "hydra", "job", "config_name"))
        # The public view of the environment is far slower.
        environment = os.environ._data.copy()  # type: ignore[attr-defined]  # private
        # Everything but the config files and Python's state.
        context = (config_name, of_hydra, os.getcwd(), environment)
        if context == self._context:
            return
        self._context = context
        self._kept: dict[tuple[str, ...], bytes] = {}
        self._bases: dict[tuple[str, ...], Copies | None] = {}
        self._warm: Copies | None = None
        self._filled: dict[tuple[str, ...], FilledConfig] = {}
        self._templates: dict[str, Override] = {}
        self._parsed: dict[str, tuple[Override, bool]] = {}
        self._kinds: dict[tuple[str, bool, type], bool] = {}
        self._composition: Composition | None = None
        self._config_name, self._hydra_overrides_typed = config_name, of_hydra

    def _compose_by_values(self, master_config: DictConfig, overrides: list[str]) -> DictConfig:
        if self._composition is None:
            self._hydra_overrides = OverridesParser.create().parse_overrides(self._hydra_overrides_typed)
            self._composition = Composition(self._loader, self._config_name, self._hydra_overrides)
        composition = self._composition
        parsed = [self._parse(composition, text) for text in overrides]
        keys = keys_of(parsed)
        filled = self._filled.get(keys) if keys else None
        if filled:
            filled.fill(parsed)
            config = filled.config if self._lends else copied_tree(filled.config)
        else:
            config = self._changed_base(composition, master_config, parsed, keys)
        composition.check_sweep_choices(master_config, config)
        OmegaConf.copy_cache(from_config=master_config, to_config=config)
        return config

    def _changed_base(
        self,
        composition: Composition,
        master_config: DictConfig,
        parsed: list[tuple[Override, bool]],
        keys: tuple[str, ...] | None,
    ) -> DictConfig:
        """Applies overrides of values to what Hydra composes without them."""
        values = [override for override, is_value in parsed if is_value]
        groups = tuple(override.input_line or "" for override, is_value in parsed if not is_value)
        if not values:
            raise NotSurelyEqual
        if groups not in self._bases:
            self._bases[groups] = None  # if it fails, it fails each time
            self._bases[groups] = self._base(composition, master_config, groups)
        base = self._bases[groups]
        if base is None:
            raise NotSurelyEqual
        if base is not self._warm:
            if self._warm is not None:
                self._warm.release()
            self._warm = base
        config = base.copy()
        apply_values(config, values)
        set_task_overrides(config, [override for override, _ in parsed], replaced=len(groups))
        if keys and base.is_tree:
            if len(self._filled) == _MOST_FILLED:
                self._filled.clear()
            with suppress(NotSurelyEqual):
                kept = config if self._lends else copied_tree(config)
                self._filled[keys] = FilledConfig(kept, parsed)
        return config

    def _parse(self, composition: Composition, text: str) -> tuple[Override, bool]:
        """Parses an override and returns it with whether it is of a value, not of a config group."""
        if text not in self._parsed:
            override = self._parse_quickly(text)
            if override.is_hydra_override():
                raise NotSurelyEqual
            is_value = self._changes_value(composition, override)
            if is_value and not is_value_override(override):
                raise NotSurelyEqual
            self._parsed[text] = override, is_value
        return self._parsed[text]

    def _parse_quickly(self, text: str) -> Override:
        # A seed is a new one in each job, and Hydra takes a millisecond to parse an override.
        key, _, value = text.partition("=")
        if not _PLAIN_INTEGER.fullmatch(value):
            return _parse_override(text)
        if key not in self._templates:
            self._templates[key] = _parse_override(f"{key}=0")
        return with_integer(self._templates[key], int(value), text=text)

    def _changes_value(self, composition: Composition, override: Override) -> bool:
        # Hydra searches all sources for a config group of this name; of the value only the type matters.
        kind = (override.get_key_element(), is_value_path(override), type(override.value()))
        if kind not in self._kinds:
            self._kinds[kind] = bool(composition.value_overrides([override]))
        return self._kinds[kind]

    def _base(
        self, composition: Composition, master_config: DictConfig, groups: Sequence[str]
    ) -> Copies:
        with composition.noting_merged(Copies) as merged:
            config = self._compose(master_config=master_config, sweep_overrides=list(groups))
        [copies] = merged
        raw = copies.copy()
        OmegaConf.set_struct(raw, True)
        apply_overrides(raw, composition.value_overrides(self._hydra_overrides))
        check_order_is_free(raw)
        return Copies(config)

    def _compose_whole(self, master_config: DictConfig, overrides: list[str]) -> DictConfig:
        kept = self._kept.pop(tuple(overrides), None)
        if kept is not None:
            config: DictConfig = pickle.loads(kept)
            OmegaConf.copy_cache(from_config=master_config, to_config=config)
            return config
        config = self._compose(master_config=master_config, sweep_overrides=overrides)
        with suppress(Exception):  # not everything can be pickled
            if self._asks_twice:
                self._kept[tuple(overrides)] = pickle.dumps(config, pickle.HIGHEST_PROTOCOL)
        return config
