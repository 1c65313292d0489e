from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from hydra_plugins.mlxpy._override_values import as_override_value
from mlxpy import MlxpyError
from mlxpy._command_line import parse_command_line

# What a setting can hold. A surrogate cannot be typed; NUL ends an argument.
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | text
names = st.from_regex(r"[a-z_]{1,8}", fullmatch=True).filter(
    lambda name: name not in ("null", "true", "false", "nan", "inf")
)
plain_data = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(names, inner))


@given(plain_data)
def test_hydra_reads_back_what_was_written(value: Any) -> None:
    override = OverridesParser.create().parse_override(f"++key={as_override_value(value)}")
    assert not override.is_sweep_override()
    assert override.value() == value


def hydra_arguments(*typed: str) -> list[str]:
    return parse_command_line(list(typed)).hydra_arguments({"db", "model"}, ["++plugin=1"])


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("", "++plugin=1"),
        ("a=1", "++plugin=1 a=1"),
        ("+a=1", "++plugin=1 ++a=1"),
        ("++a=1 ~b", "++plugin=1 ++a=1 ~b"),
        ("+a.b=1,2", "--multirun ++plugin=1 ++a.b=1,2"),
        ("a=range(3)", "--multirun ++plugin=1 a=range(3)"),
        ("a=[1,2]", "++plugin=1 a=[1,2]"),
        ("-m a=1,2", "-m ++plugin=1 a=1,2"),
        ("a=1,2 hydra.mode=RUN", "++plugin=1 a=1,2 hydra.mode=RUN"),
        ("+db=mysql", "++plugin=1 +db=mysql"),
        ("+db@src=mysql", "++plugin=1 +db@src=mysql"),
        ("+db/sub=mysql", "++plugin=1 +db/sub=mysql"),
        ("+db.name=x", "++plugin=1 ++db.name=x"),
        ("--config-name other a=1 -m", "--config-name other ++plugin=1 a=1 -m"),
        ("+mlxpy.use_logger=true a=1", "++plugin=1 a=1"),
        ("mlxpy.use_logger=true", "++plugin=1"),
        ("--cfg job +a=1,2", "--cfg job ++plugin=1 ++a=1,2"),
    ],
)
def test_what_hydra_is_given(typed: str, expected: str) -> None:
    assert hydra_arguments(*typed.split()) == expected.split()


def test_settings_are_taken_out() -> None:
    command_line = parse_command_line(
        [
            "+mlxpy.logger.forced_log_id=1",
            "++mlxpy.logger.parent_log_dir='my logs'",
            "mlxpy={use_logger: true}",
            "a=1",
        ]
    )
    assert command_line.settings == {
        "logger": {"forced_log_id": 1, "parent_log_dir": "my logs"},
        "use_logger": True,
    }


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("~mlxpy.use_logger", "a setting cannot be deleted, only changed: give it a value"),
        ("+mlxpy.use_logger=true,false", "settings of mlxpy cannot be swept over: give one value"),
        ("+mlxpy=3", "name a setting, as in \\+mlxpy.use_logger=true"),
    ],
)
def test_what_cannot_be_done_with_settings(typed: str, message: str) -> None:
    with pytest.raises(MlxpyError, match=message):
        parse_command_line([typed])


@pytest.mark.parametrize(
    ("typed", "runs"), [("a=1", True), ("--help", False), ("--cfg job", False), ("a", False)]
)
def test_whether_jobs_are_to_run(typed: str, runs: bool) -> None:
    assert parse_command_line(typed.split()).runs is runs
