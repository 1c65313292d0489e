import itertools
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from mlxpy_core import dump_yaml, load_yaml, plain_config
from mlxpy_core._io import _yaml
from mlxpy_core._io._yaml import RepeatedDumps


def plain(text: str) -> object:
    return plain_config(OmegaConf.create(text))  # type: ignore[arg-type]  # a mapping in each test


def test_interpolations_are_resolved() -> None:
    assert plain("a: 1\nb: ${a}\nc: [x, '${b}', {d: '${.e}', e: 2}]") == {
        "a": 1,
        "b": 1,
        "c": ["x", 1, {"d": 2, "e": 2}],
    }


def test_a_node_that_stands_for_another_is_copied() -> None:
    assert plain("a: {x: 1}\nb: ${a}") == {"a": {"x": 1}, "b": {"x": 1}}


def test_what_cannot_be_resolved_stays_as_written() -> None:
    text = "a: ${nowhere}\nb: ${unknown:x}\nc: ???\nd: ${c}\ne: 'at ${nowhere}'\nf: 1"
    assert plain(text) == {
        "a": "${nowhere}",
        "b": "${unknown:x}",
        "c": "???",
        "d": "${c}",
        "e": "at ${nowhere}",
        "f": 1,
    }


def test_a_loop_of_interpolations_stays_as_written() -> None:
    written = {"a": "${b}", "b": "${a}", "c": {"d": "${c}"}, "e": 1}
    assert plain_config(OmegaConf.create(written)) == written


def test_the_environment_stays_out_by_whatever_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hidden")
    text = "a: ${oc.env:SECRET}\nb: ${a}\nc: 'x${b}'\nd: ${oc.env:NONE,dflt}\ne: ${oc.select:a}"
    assert "hidden" not in str(plain(text))
    assert OmegaConf.create({"a": "${oc.env:SECRET}"}).a == "hidden"


def test_the_config_itself_is_left_as_it_was() -> None:
    config = OmegaConf.create({"a": 1, "b": "${a}"})
    assert isinstance(config, DictConfig)
    plain_config(config)
    assert OmegaConf.is_interpolation(config, "b")


STRINGS = ["1e-3", "1", "1.5", "true", "null", "~", "???", "a: b", "- x", "2026-11-22", "1_000", "0x1f",
           "12:30:45", "", " ", "é", "line\nline", "tab\t", "'", '"', "${x}", "-.5e+3", "1E5", ".inf", "nan"]  # fmt: skip


@pytest.mark.parametrize("text", STRINGS)
def test_strings_stay_strings_for_both_readers_of_yaml(text: str) -> None:
    written = dump_yaml({"key": text})
    assert load_yaml(written) == {"key": text}
    assert OmegaConf.to_container(OmegaConf.create(written)) == {"key": text}


@pytest.mark.parametrize(
    "number", [0, -1, 10**20, 0.1, 1e-5, 1e300, -2.5e-7, float("inf"), 123456789.123456789]
)
def test_numbers_stay_numbers_for_both_readers_of_yaml(number: float) -> None:
    written = dump_yaml({"key": number})
    for read in (load_yaml(written), OmegaConf.to_container(OmegaConf.create(written))):
        assert read == {"key": number}
        assert type(read["key"]) is type(number)


def test_values_that_repeat_are_written_out_each_time() -> None:
    shared = [1, 2]
    assert "&" not in dump_yaml(dict(zip("ab", itertools.repeat(shared), strict=False)))


_SCALARS = (
    st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from([0.0, 1.0]) | st.text(max_size=3)
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
)


# What YAML has the same line for is not the same: "1", 1, 1.0 and True.
@settings(max_examples=100, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["a", "b", "c: d", "", "e\n"]), _VALUES), max_size=5))
@example([{"a": {"\n": None}, "b": None}])
@example([{"a": "x\n\n", "b": 1}, {"a": "x\n\n", "b": 2}])
def test_mappings_with_the_same_fields_are_written_as_each_is_alone(
    mappings: list[dict[str, Any]],
) -> None:
    dumps = RepeatedDumps()
    assert [dumps.dump(one) for one in mappings] == [dump_yaml(one) for one in mappings]


def test_a_field_that_repeats_is_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[dict[str, Any]] = []
    monkeypatch.setattr(_yaml, "dump_yaml", lambda data: written.append(data) or dump_yaml(data))
    dumps = RepeatedDumps()
    for number in range(4):
        dumps.dump({"same": [1], "number": number, "id": str(number)})
    first = [{"same": [1]}, {"number": 0}, {"id": "0"}]
    assert written == [*first, *({"number": number, "id": str(number)} for number in (1, 2, 3))]
