"""The command line of a launched program: Hydra's, with the freedoms that the tutorial promises."""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from hydra_plugins.mlxpy._hydra import parse_arguments
from mlxpy_core import MlxpyError

_PREFIX = "mlxpy"
_PREFIXES = (_PREFIX, "mlxp")  # that of MLXP means the same


@dataclass(frozen=True)
class CommandLine:
    """A command line taken apart.

    Attributes:
        arguments: the arguments that the user typed.
        overrides: those of them that are overrides, parsed.
        settings: what the ``mlxpy.*`` overrides change (and MLXP's ``mlxp.*``), nested as in mlxpy.yaml.
        settings_overrides: those overrides as they were typed.
        config_path: the value of ``--config-path``, or None.
        config_dir: the value of ``--config-dir``, or None.
        runs: whether jobs are to run; false for ``--help``, ``--cfg`` and the like, and where an
            override does not parse: Hydra then reports the error.
        chooses_mode: whether the user chose between a sweep and a single job.
    """

    arguments: list[str]
    overrides: dict[str, Override]
    settings: dict[str, Any]
    settings_overrides: list[str]
    config_path: str | None
    config_dir: str | None
    runs: bool
    chooses_mode: bool

    def hydra_arguments(
        self, config_groups: Container[str], plugins: Sequence[str], *, sweeps: bool = False
    ) -> list[str]:
        """Returns the arguments for Hydra: without mlxpy's settings, with the tutorial's freedoms.

        Args:
            config_groups: the config groups of the app; for them ``+`` keeps Hydra's meaning.
            plugins: overrides that select mlxpy's plugins.
            sweeps: whether this is a sweep even if no override is.
        """
        arguments: list[str] = []
        first = len(self.arguments)  # Hydra 1.3 wants all overrides side by side
        for argument in self.arguments:
            override = self.overrides.get(argument)
            if override is None:
                arguments.append(argument)
                continue
            first = min(first, len(arguments))
            if not _is_setting(override):
                sweeps = sweeps or override.is_sweep_override()
                doubled = _is_doubled(override, config_groups)
                arguments.append(f"+{argument}" if doubled else argument)
        arguments[first:first] = plugins
        if sweeps and self.runs and not self.chooses_mode:
            arguments.insert(0, "--multirun")
        return arguments

    def doubled_keys(self, config_groups: Container[str]) -> list[str]:
        """Returns the keys that were typed with ``+`` and that `hydra_arguments` gives with ``++``."""
        overrides = self.overrides.values()
        return [one.key_or_group for one in overrides if _is_doubled(one, config_groups)]


def parse_command_line(arguments: list[str]) -> CommandLine:
    """Takes a command line apart.

    Args:
        arguments: the arguments of the program.

    Raises:
        MlxpyError: a setting of mlxpy is deleted, swept over, or not named.
    """
    options = parse_arguments(arguments)
    try:
        parsed = OverridesParser.create().parse_overrides(options.overrides)
        parses = True
    except HydraException:
        parsed, parses = [], False
    overrides = dict(zip(options.overrides, parsed, strict=False))
    settings: dict[str, Any] = {}
    for override in parsed:
        if _is_setting(override):
            _add_setting(settings, override)
    asks = options.help or options.hydra_help or options.cfg or options.info
    asks = asks or options.shell_completion or options.experimental_rerun
    hydra_mode = any(override.key_or_group == "hydra.mode" for override in parsed)
    return CommandLine(
        arguments=arguments,
        overrides=overrides,
        settings=settings,
        settings_overrides=[text for text, override in overrides.items() if _is_setting(override)],
        config_path=options.config_path,
        config_dir=options.config_dir,
        runs=parses and not asks,
        chooses_mode=bool(options.run or options.multirun or hydra_mode),
    )


def _is_doubled(override: Override, config_groups: Container[str]) -> bool:
    group = override.package or "/" in override.key_or_group
    group = group or override.key_or_group in config_groups
    return override.is_add() and not group and not _is_setting(override)


def _is_setting(override: Override) -> bool:
    return override.key_or_group.split(".")[0] in _PREFIXES


def _add_setting(settings: dict[str, Any], override: Override) -> None:
    if override.is_delete():
        raise MlxpyError(
            f"{override.input_line}: a setting cannot be deleted, only changed: give it a value"
        )
    if override.is_sweep_override():
        raise MlxpyError(
            f"{override.input_line}: settings of mlxpy cannot be swept over: give one value"
        )
    value: Any = override.value()
    names = override.key_or_group.split(".")[1:]
    for name in reversed(names):
        value = {name: value}
    if not names and not isinstance(value, dict):
        raise MlxpyError(f"{override.input_line}: name a setting, as in +{_PREFIX}.use_logger=true")
    _merge(settings, value)


def _merge(settings: dict[str, Any], changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        if isinstance(value, dict) and isinstance(settings.get(name), dict):
            _merge(settings[name], value)
        else:
            settings[name] = value
