"""The query language, against an oracle that filters plain dictionaries."""

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlxpy_core._reading._query._parser import check_fields, parse_query
from mlxpy_core._reading._query._predicate import QueryError
from mlxpy_core._reading._tables._columns import MISSING, TypedColumns, encode_rows
from mlxpy_core._reading._tables._matching import matching_rows

# What the oracle knows of a query: nested tuples, as ("and", left, right) or ("<", field, value).

FIELDS = [
    "config.x",
    "config.model.lr",
    "info.status",
    "config.my key",
    "config.größe",
    "config.a`b",
    "config.a-b/c@d.1",
]

numbers = st.one_of(
    st.integers(-3, 3),
    st.integers(-(2**70), 2**70),
    st.sampled_from([2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**400]),
    st.floats(),
    st.sampled_from([0.0, -0.0, 1.0, 2.0**53, 2.0**63, math.nan, math.inf, -math.inf, 0.5]),
)
texts = st.one_of(
    st.sampled_from(["", "a", "ab", "B", "1", "None", "ü", 'it\'s "so"', "\\n\n"]), st.text(max_size=5)
)
scalars = st.one_of(numbers, st.booleans(), st.none(), texts)
values = st.one_of(
    scalars, st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=4)
)
stored = st.one_of(values, st.just({}), st.just("\ud800"))
rows = st.lists(st.dictionaries(st.sampled_from(FIELDS), stored, max_size=4), max_size=6)

comparisons = st.one_of(
    st.tuples(st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), st.sampled_from(FIELDS), values),
    st.tuples(st.sampled_from(["in", "not in"]), st.sampled_from(FIELDS), st.lists(values, max_size=4)),
)
queries = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["and", "or"]), inner, inner), st.tuples(st.just("not"), inner)
    ),
    max_leaves=6,
)


def is_number(value: Any) -> bool:
    return type(value) in (int, float)


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(equal(a, b) for a, b in zip(one, other, strict=True))
    if is_number(one) and is_number(other):
        return bool(one == other)
    return type(one) is type(other) and bool(one == other)


def oracle(query: Any, row: dict[str, Any]) -> bool:
    operator, *operands = query
    if operator == "and":
        return oracle(operands[0], row) and oracle(operands[1], row)
    if operator == "or":
        return oracle(operands[0], row) or oracle(operands[1], row)
    if operator == "not":
        return not oracle(operands[0], row)
    field, value = operands
    if field not in row:
        return False
    found = row[field]
    if operator == "==":
        return equal(found, value)
    if operator == "!=":
        return not equal(found, value)
    if operator == "in":
        return any(equal(found, item) for item in value)
    if operator == "not in":
        return not any(equal(found, item) for item in value)
    if not (is_number(found) and is_number(value)) and not (type(found) is type(value) is str):
        return False
    return bool(
        {"<": found < value, "<=": found <= value, ">": found > value, ">=": found >= value}[operator]
    )


@dataclass
class Writer:
    """Writes a query in one of its many ways."""

    draw: st.DrawFn

    def choose(self, *ways: str) -> str:
        return self.draw(st.sampled_from(ways))

    def field(self, name: str) -> str:
        quoted = "`" + name.replace("`", "``") + "`"
        return quoted if name in ("config.my key", "config.a`b") else self.choose(name, quoted)

    def value(self, value: Any) -> str:
        if value is None or isinstance(value, bool):
            return self.choose(str(value), str(value).lower(), *(["null"] if value is None else []))
        if isinstance(value, list):
            return "[" + ", ".join(map(self.value, value)) + "]"
        if isinstance(value, str):
            quote = self.choose("'", '"')
            return quote + value.replace("\\", "\\\\").replace(quote, "\\" + quote) + quote
        return repr(value)

    def query(self, query: Any) -> str:
        operator, *operands = query
        space = self.choose(" ", "  ", "\n", "\t")
        if operator in ("and", "or"):
            signs = ("&", "&&", "and", "AND") if operator == "and" else ("|", "||", "or", "Or")
            sides = [f"({self.query(side)})" for side in operands]
            return f"{sides[0]}{space}{self.choose(*signs)}{space}{sides[1]}"
        if operator == "not":
            return f"{self.choose('~', 'not ', '~ ')}({self.query(operands[0])})"
        field, value = operands
        return f"{self.field(field)}{space}{operator}{space}{self.value(value)}"


@st.composite
def written_queries(draw: st.DrawFn) -> tuple[Any, str]:
    query = draw(queries)
    return query, Writer(draw).query(query)


def matches(query: str, table: list[dict[str, Any]]) -> list[bool]:
    numbered = [{"info.log_id": number, **row} for number, row in enumerate(table)]
    return matching_rows(parse_query(query), TypedColumns(encode_rows(numbered))).tolist()


@settings(max_examples=200)
@given(rows, written_queries())
def test_a_query_finds_what_the_oracle_finds(
    table: list[dict[str, Any]], query: tuple[Any, str]
) -> None:
    meaning, text = query
    assert matches(text, table) == [oracle(meaning, row) for row in table], text


@pytest.mark.smoke
@settings(max_examples=100)
@given(rows)
def test_values_come_back_from_their_columns(table: list[dict[str, Any]]) -> None:
    columns = TypedColumns(encode_rows(table))
    for field in FIELDS:
        expected = [row.get(field, MISSING) for row in table]
        assert list(map(repr, columns.values(field, list(range(len(table)))))) == list(
            map(repr, expected)
        )


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("query", "same_as"),
    [
        ("config.x == 1 | config.x == 2 & config.y == 3", "config.x == 1 | (config.x == 2 & config.y == 3)"),
        ("~config.x == 1 & config.y == 2", "(~(config.x == 1)) & (config.y == 2)"),
        ("not config.x == 1 or config.y == 2", "(~(config.x == 1)) | (config.y == 2)"),
        ("config.x==+1e-2", "config.x == 0.01"),
        ("config.x == .5", "config.x == 5.e-1"),
        ("config.x in [1, 2, ]", "config.x in [1,2]"),
        ("~~config.x == 1", "not not config.x == 1"),
        (r"config.x == 'a\'b\tc\d'", 'config.x == "a\'b\tc\\\\d"'),
    ],
)  # fmt: skip
def test_precedence_and_spelling(query: str, same_as: str) -> None:
    def meaning(text: str) -> list[Any]:
        return [
            (step.field, step.operator, step.value) if hasattr(step, "field") else step
            for step in parse_query(text)
        ]

    assert meaning(query) == meaning(same_as)


@pytest.mark.parametrize("query", ["", "  \n"])
def test_no_query_finds_all(query: str) -> None:
    assert matches(query, [{"config.x": 1}, {}]) == [True, True]


@pytest.mark.parametrize(
    ("query", "place", "words"),
    [
        ("config.x = 1", 10, "did you mean ==?"),
        ("config.x => 1", 10, "did you mean >=?"),
        ("config.x", 9, "ends too early: expected a comparison"),
        ("config.x == ", 12, "ends too early: expected a value"),
        ("config.x == COMPLETE", 13, "a string needs quotes, as in 'COMPLETE'"),
        ("config.x == 'abc", 13, "the string has no closing '"),
        ("'abc in info.tags", 1, "the string has no closing '"),
        ("loss == 1", 1, "fields start with config. or info."),
        ("1 < config.x", 3, "the field comes first"),
        ("'a' == config.x", 5, "expected in or not in, as in 'baseline' in info.tags"),
        ("a in config.x", 1, "a string needs quotes, as in 'a' in info.tags"),
        ("'a' in ['a']", 8, "expected a field"),
        ("config.x == 1 config.y == 2", 15, "expected &, | or the end"),
        ("config.x == 1 adn config.y == 2", 15, "did you mean and?"),
        ("(config.x == 1", 15, "expected &, | or ')'"),
        ("config.x == 1)", 14, "expected &, | or the end, found ')'"),
        ("config.x iin [1]", 10, "did you mean in?"),
        ("config.x in 3", 13, "expected a list such as [1, 2]"),
        ("config.x in [1, 2", 18, "expected ',' or ']'"),
        ("config.my key == 1", 11, "backquotes"),
        ("config.x == 1 &", 16, "expected a field"),
        ("config.x == " + "9" * 5000, 13, "this number is too long"),
    ],
)
def test_an_error_shows_the_place(query: str, place: int, words: str) -> None:
    with pytest.raises(QueryError) as error:
        parse_query(query)
    sentence, excerpt, marker = str(error.value).split("\n")
    assert words in sentence
    assert f"(character {place} of the query)" in sentence
    assert len(marker) - 1 <= len(excerpt)
    assert (excerpt + " ")[len(marker) - 1] == (query + " ")[place - 1]


def test_the_place_in_a_long_query_of_several_lines() -> None:
    long = "config.x == '" + "é" * 200 + "' &\n  config.y = 3"
    with pytest.raises(QueryError) as error:
        parse_query(long)
    _, excerpt, marker = str(error.value).split("\n")
    assert excerpt == "    config.y = 3"
    assert marker.index("^") == excerpt.index("=")


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (
            "config.optimizer.lrr",
            "no run has a field config.optimizer.lrr: did you mean config.optimizer.lr?",
        ),
        ("config.LR", "did you mean config.optimizer.lr?"),
        (
            "config.optimizer",
            "config.optimizer is a group: choose one of its fields, config.optimizer.lr",
        ),
        (
            "train.loss",
            "train.loss is no config or info field: it is shown with the results, not searched",
        ),
        ("config.zzz", "no run has a field config.zzz (reader.searchable lists all)"),
    ],
)
def test_an_unknown_field_is_told_with_the_nearest(field: str, words: str) -> None:
    query = f"info.status == 'COMPLETE' & {field} == 1"
    known = {"info.status", "config.optimizer.lr", "config.seed"}
    with pytest.raises(QueryError, match="character 29") as error:
        check_fields(parse_query(query), query, known, {"train.loss"})
    assert words in str(error.value)


@pytest.mark.parametrize(
    "query",
    [
        "(" * 1000 + "config.x == 1" + ")" * 1000,
        "~" * 9980 + "config.x == 1",
        "(config.x == 2 | " * 1000 + "config.x == 1" + ")" * 1000,
        " | ".join(["config.x == 1"] * 700),
        "config.x in [" + "[" * 4000 + "]" * 4000 + ", 1]",
        "config.x in [" + ", ".join(map(str, range(2000))) + "]",
    ],
    ids=lambda query: query[:12],
)
def test_long_and_deep_queries_are_answered(query: str) -> None:
    start = time.process_time()
    assert matches(query, [{"config.x": 1}, {"config.x": 2.5}])[0]
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    "query", ["(" * 9999, "~" * 10_000, "config.x == '" + "\\" * 9000, "[" * 10_000]
)
def test_long_nonsense_is_refused(query: str) -> None:
    with pytest.raises(QueryError):
        parse_query(query)


@settings(max_examples=150)
@given(
    st.text(st.sampled_from("config.x info=<>!&|~()[]'\"\\`,0123eE+-TrueNonein \n\u00e9"), max_size=60)
)
def test_any_text_is_answered_or_refused(query: str) -> None:
    try:
        program = parse_query(query)
    except QueryError:
        return
    answer = matching_rows(program, TypedColumns(encode_rows([{"config.x": 1}])))
    assert answer.dtype == np.bool_
    assert len(answer) == 1
