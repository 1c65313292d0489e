"""What ``hydra/sweeper=mlxp_optuna`` searches: the values of a command, as hydra-optuna-sweeper has them."""

from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

if not (find_spec("optuna") and int(version("optuna").partition(".")[0]) >= 4):
    pytest.skip("there is no optuna 4", allow_module_level=True)  # to import another takes seconds

# After the skip: what follows needs optuna 4, or is below what does.
import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from hydra_plugins.mlxpy._searching._space import distribution_of, grid_of, search_space
from mlxpy_core import MlxpyError


def distribution(text: str) -> Any:
    [override] = OverridesParser.create().parse_overrides([text])
    return distribution_of(override)


FLOATS = st.floats(min_value=-1e6, max_value=1e6, allow_nan=False).map(lambda value: round(value, 6))


@given(low=st.integers(-1000, 1000), width=st.integers(0, 1000), step=st.integers(1, 20))
@settings(max_examples=30)
def test_integers_are_what_hydra_optuna_sweeper_makes_of_them(low: int, width: int, step: int) -> None:
    high = low + width
    integers = optuna.distributions.IntDistribution
    assert distribution(f"x=int(interval({low},{high}))") == integers(low, high)
    assert distribution(f"x=range({low},{high + 1},{step})") == integers(
        low, low + (width + 1) // step * step, step=step
    )
    [override] = OverridesParser.create().parse_overrides([f"x=range({low},{high + 1},{step})"])
    assert grid_of(override) == list(range(low, high + 1, step))
    if low > 0:
        assert distribution(f"x=int(tag(log,interval({low},{high})))") == integers(low, high, log=True)


@given(low=FLOATS, width=FLOATS.map(abs))
@settings(max_examples=30)
def test_floats_are_what_hydra_optuna_sweeper_makes_of_them(low: float, width: float) -> None:
    high = low + width
    floats = optuna.distributions.FloatDistribution
    assert distribution(f"x=interval({low},{high})") == floats(low, high)
    if low > 0:
        assert distribution(f"x=tag(log,interval({low},{high}))") == floats(low, high, log=True)


WORDS = st.text("abcxyz", min_size=1, max_size=5).filter(lambda word: word not in ("true", "null"))


@given(values=st.lists(st.integers(-9, 9) | WORDS, min_size=2, max_size=5, unique=True))
@settings(max_examples=30)
def test_choices_are_what_hydra_optuna_sweeper_makes_of_them(values: list[Any]) -> None:
    choices = optuna.distributions.CategoricalDistribution(values)
    listed = ",".join(map(str, values))
    assert distribution(f"x={listed}") == choices
    assert distribution(f"x=choice({listed})") == choices


def test_the_command_comes_after_the_params() -> None:
    config = OmegaConf.create({})
    space = search_space(config, ["x=3"], {"x": "interval(0,1)", "y": "1,2"}, None)
    assert space.fixed == {"x": "x=3"}
    assert list(space.distributions) == ["y"]
    with pytest.raises(MlxpyError, match="nothing to search"):
        search_space(config, ["x=3"], {"x": "interval(0,1)"}, None)
