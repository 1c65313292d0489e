import itertools

import pytest
from omegaconf import DictConfig, OmegaConf

from mlxpy_core import dump_yaml, load_yaml, plain_config


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
