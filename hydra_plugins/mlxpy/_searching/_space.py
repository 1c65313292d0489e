"""The search space, as hydra-optuna-sweeper reads it from the command and from ``params``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    IntervalSweep,
    Override,
    RangeSweep,
    Transformer,
)
from hydra.errors import HydraException
from hydra.utils import get_method
from omegaconf import DictConfig
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial

from hydra_plugins.mlxpy._override_values import as_override_value
from mlxpy_core import MlxpyError


@dataclass(frozen=True)
class SearchSpace:
    """What is searched.

    Attributes:
        distributions: the distribution of each parameter.
        grid: the values of each parameter that has finitely many.
        fixed: the override of each parameter that stays as it is.
        custom: suggests more parameters.
    """

    distributions: dict[str, BaseDistribution]
    grid: dict[str, list[Any]]
    fixed: dict[str, str]
    custom: Callable[[Trial], object] | None

    def overrides(self, trial: Trial) -> list[str]:
        """Suggests all parameters of a trial that it does not have yet; returns its overrides."""
        for name, distribution in self.distributions.items():
            _suggest(trial, name, distribution)
        if self.custom:
            self.custom(trial)
        if both := sorted(trial.params.keys() & self.fixed.keys()):
            raise MlxpyError(
                f"custom_search_space suggests {both[0]}, which the command sets: leave one out"
            )
        suggested = [f"{name}={self._text(name, value)}" for name, value in trial.params.items()]
        return [*suggested, *self.fixed.values()]

    def _text(self, name: str, value: Any) -> str:
        # Those of the command are in Hydra's grammar already.
        written = isinstance(value, str) and name in self.distributions
        return value if written else as_override_value(value)


def search_space(
    config: DictConfig,
    arguments: Sequence[str],
    params: Mapping[str, Any] | None,
    custom: str | None,
) -> SearchSpace:
    """Reads the search space.

    Args:
        config: the sweep's config.
        arguments: the command's overrides.
        params: the option of the same name; the command's come in their place.
        custom: the option ``custom_search_space``.

    Raises:
        MlxpyError: something in it is wrong, or there is nothing to search.
    """
    texts = [f"{name}={value}" for name, value in (params or {}).items()]
    space = SearchSpace({}, {}, {}, _custom(config, custom) if custom else None)
    for text in [*texts, *arguments]:
        override = _parsed(text)
        name = override.get_key_element()
        for known in (space.distributions, space.grid, space.fixed):
            known.pop(name, None)
        if not override.is_sweep_override():
            space.fixed[name] = text
            continue
        try:
            space.distributions[name] = distribution_of(override)
        except ValueError as error:  # optuna's or Hydra's own
            raise MlxpyError(f"{text} cannot be searched: {error}") from error
        values = grid_of(override)
        if values is not None:
            space.grid[name] = values
    if not (space.distributions or space.custom):
        raise MlxpyError(
            "there is nothing to search: give a parameter as in 'lr=interval(0.001,0.1)' or lr=1,2,3"
        )
    return space


def distribution_of(override: Override) -> BaseDistribution:
    """Returns the distribution that a sweep of Hydra's grammar stands for.

    Raises:
        ValueError: it stands for none.
    """
    value = override.value()
    if isinstance(value, IntervalSweep):
        assert value.start is not None
        assert value.end is not None
        log = "log" in value.tags
        if isinstance(value.start, int) and isinstance(value.end, int):
            return IntDistribution(value.start, value.end, log=log)
        return FloatDistribution(value.start, value.end, log=log)
    if isinstance(value, RangeSweep) and not value.shuffle:
        assert value.start is not None
        assert value.stop is not None
        bounds = (value.start, value.stop, value.step)
        if any(isinstance(bound, float) for bound in bounds):
            return FloatDistribution(value.start, value.stop, step=value.step)
        start, step = int(value.start), int(value.step)
        # The last step that fits: of another stop optuna warns.
        return IntDistribution(start, start + (int(value.stop) - start) // step * step, step=step)
    if isinstance(value, RangeSweep) or override.is_choice_sweep():
        return CategoricalDistribution(_values(override))
    raise ValueError("give interval, range, choice or values, as in lr=interval(0,1) or lr=1,2,3")


def grid_of(override: Override) -> list[Any] | None:
    """Returns the values of a sweep: as Hydra's own sweeper has them, or the integers of an interval."""
    value = override.value()
    if not isinstance(value, IntervalSweep):
        return _values(override)
    if isinstance(value.start, int) and isinstance(value.end, int):
        return list(range(value.start, value.end + 1))
    return None


def _values(override: Override) -> list[Any]:
    return list(override.sweep_iterator(transformer=Transformer.encode))


def _parsed(text: str) -> Override:
    try:
        [override] = OverridesParser.create().parse_overrides([text])
    except HydraException as error:
        reason = str(error).splitlines()[0]
        raise MlxpyError(f"{text} is no override of Hydra's: {reason}") from error
    return override


def _custom(config: DictConfig, path: str) -> Callable[[Trial], object]:
    try:
        function = get_method(path)
    except (ImportError, ValueError, AttributeError) as error:
        raise MlxpyError(f"custom_search_space={path} is no function here: {error}") from error
    return lambda trial: function(config, trial)


def _suggest(trial: Trial, name: str, distribution: BaseDistribution) -> None:
    if isinstance(distribution, CategoricalDistribution):
        trial.suggest_categorical(name, distribution.choices)
    elif isinstance(distribution, IntDistribution):
        trial.suggest_int(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
    elif isinstance(distribution, FloatDistribution):
        trial.suggest_float(
            name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
        )
