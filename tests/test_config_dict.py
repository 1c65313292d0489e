"""`mlxpy.ConfigDict`, which the function of `@mlxpy.launch` gets, by itself."""

import copy
import json
import pickle

import pytest

from mlxpy import ConfigDict
from mlxpy._config_dict import convert_dict


def test_attributes_are_items_at_all_depths() -> None:
    config = ConfigDict({"a": {"b": [{"c": 1}]}}, d=2)
    config.a.e = {"f": 3}
    config["a"]["b"].append(4)
    assert config.a.b[0].c + config.a.e.f == 4
    assert config == {"a": {"b": [{"c": 1}, 4], "e": {"f": 3}}, "d": 2}
    del config.d
    assert "d" not in config
    with pytest.raises(AttributeError, match="the config has no 'ab' here: did you mean 'a'"):
        config.ab  # noqa: B018  # looking is what is tested
    assert getattr(config, "zzz", None) is None
    assert "a" in dir(config)


def test_plain_dicts_come_of_it() -> None:
    config = ConfigDict(a={"b": ({"c": 1},)})
    plain = config.to_dict()
    assert type(plain["a"]) is type(plain["a"]["b"][0]) is dict
    assert repr(config) == repr(plain) == "{'a': {'b': ({'c': 1},)}}"
    assert json.dumps(config) == '{"a": {"b": [{"c": 1}]}}'
    assert convert_dict(config, ConfigDict, dict) == plain
    assert convert_dict(plain, src_class=dict).a.b[0].c == 1


def test_copies_are_of_its_kind() -> None:
    config = ConfigDict(a={"b": [1]})
    for copied in (copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        copied.a.b.append(2)
        assert config.a.b == [1]
    assert copy.copy(config).a is config.copy().a is config.a
    assert (config | {"c": {"d": 1}}).c.d == 1
    config |= {"c": {"d": 1}}
    assert config.setdefault("e", {"f": 1}).f == config.e.f == config.c.d
    assert config.setdefault("e") == {"f": 1}
