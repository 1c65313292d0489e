"""The query language: its grammar, and errors that show the place.

A query becomes a short program in postfix order, so that no depth of parentheses needs recursion.
Nothing of a query is ever evaluated as Python.
"""

import difflib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NoReturn

import lark

from mlxpy_core._errors import MlxpyError

_GRAMMAR = r"""
?start: disjunction
?disjunction: conjunction
    | disjunction _OR conjunction -> either
?conjunction: negation
    | conjunction _AND negation -> both
?negation: atom
    | (_TILDE | _NOT) negation -> negated
?atom: "(" disjunction ")"
    | FIELD COMPARISON value -> compare
    | FIELD _IN values -> is_in
    | FIELD _NOT _IN values -> is_not_in
?value: NUMBER -> number
    | STRING -> string
    | CONSTANT -> constant
    | values
values: "[" [value ("," value)* ","?] "]"

_OR: "|" | "||" | /or\b/i
_AND: "&" | "&&" | /and\b/i
_TILDE: "~"
_NOT: /not\b/i
_IN: /in\b/i
COMPARISON: "==" | "!=" | "<=" | ">=" | "<" | ">"
NUMBER.2: /[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf\b|nan\b)(?![\w.])/
STRING: /'(?:[^'\\]|\\.)*'/s | /"(?:[^"\\]|\\.)*"/s
CONSTANT: /(?:true|false|none|null)\b/i
FIELD: /[^\W\d]\w*(?:\.[\w@+\/-]+)+/ | /`(?:[^`]|``)+`/
%import common.WS
%ignore WS
"""

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0"}
_INTENDED = {"=": "==", "=>": ">=", "=<": "<=", "<>": "!=", "===": "==", "!": "~"}


class QueryError(MlxpyError, ValueError):
    """A query that cannot be answered; the message shows the place."""

    def __init__(self, what: str, query: str, position: int) -> None:
        line_start = query.rfind("\n", 0, position) + 1
        line = query[line_start:].split("\n", 1)[0]
        # Long queries are shown around the place.
        first = max(0, position - line_start - 60)
        excerpt = ("…" if first else "") + line[first : first + 120]
        marker = " " * (position - line_start - first + bool(first)) + "^"
        super().__init__(f"{what} (character {position + 1} of the query)\n  {excerpt}\n  {marker}")


class Connective(Enum):
    """What joins the answers of comparisons."""

    AND = "&"
    OR = "|"
    NOT = "~"


@dataclass(frozen=True)
class Comparison:
    """One comparison of a field with a literal.

    Attributes:
        field: the name of the column, such as ``config.optimizer.lr``.
        operator: ``==``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``in`` or ``not in``.
        value: a number, string, boolean, None or list; a list for ``in`` and ``not in``.
        position: where the field stands in the query, from 0.
    """

    field: str
    operator: str
    value: Any
    position: int


Program = list[Comparison | Connective]
"""A query in postfix order; an empty one matches every run."""


def parse_query(query: str) -> Program:
    """Reads a query.

    Raises:
        QueryError: it does not follow the grammar.
    """
    if not query.strip():
        return []
    try:
        program: Any = _PARSER.parse(query)
    except lark.exceptions.VisitError as error:
        if isinstance(error.orig_exc, _LiteralError):
            raise QueryError(str(error.orig_exc), query, error.orig_exc.position) from None
        raise
    except _LiteralError as error:
        raise QueryError(str(error), query, error.position) from None
    except lark.UnexpectedInput as error:
        _explain(error, query)
    return list(program)


def check_fields(program: Program, query: str, known: Collection[str], lazy: Collection[str]) -> None:
    """Refuses a query of fields that no run has.

    Args:
        program: the query as `parse_query` read it.
        query: the query as it was written.
        known: the fields that can be searched.
        lazy: other columns (metrics, artifacts), which cannot.

    Raises:
        QueryError: for the first such field, with the nearest names.
    """
    for step in program:
        if isinstance(step, Comparison) and step.field not in known:
            raise QueryError(_unknown_field(step.field, known, lazy), query, step.position)


def _unknown_field(field: str, known: Collection[str], lazy: Collection[str]) -> str:
    if field in lazy:
        return f"{field} is no config or info field: it is shown with the results, not searched"
    below = sorted(name for name in known if name.startswith(field + "."))
    if below:
        more = ", …" if len(below) > 5 else ""
        return f"{field} is a group: choose one of its fields, {', '.join(below[:5])}{more}"
    # The prefix that all share says nothing about likeness.
    ends = {name.partition(".")[2]: name for name in sorted(known, reverse=True)}
    wanted = field.partition(".")[2].lower()
    same_last = [name for name in sorted(known) if _last(name) == _last(field)]
    close = same_last or [ends[end] for end in difflib.get_close_matches(wanted, ends, n=3)]
    near = f": did you mean {' or '.join(close[:3])}?" if close else " (reader.searchable lists all)"
    return f"no run has a field {field}{near}"


def _last(field: str) -> str:
    return field.rsplit(".", 1)[-1].lower()


class _LiteralError(Exception):
    def __init__(self, what: str, position: int) -> None:
        super().__init__(what)
        self.position = position


class _ToProgram(lark.Transformer[lark.Token, Any]):
    """Builds the program from the bottom up, while the query is parsed."""

    def compare(self, children: list[Any]) -> Program:
        field, comparison, value = children
        return [_comparison(field, str(comparison), value)]

    def is_in(self, children: list[Any]) -> Program:
        return [_comparison(children[0], "in", children[1])]

    def is_not_in(self, children: list[Any]) -> Program:
        return [_comparison(children[0], "not in", children[1])]

    def either(self, children: list[Program]) -> Program:
        return _joined(children, Connective.OR)

    def both(self, children: list[Program]) -> Program:
        return _joined(children, Connective.AND)

    def negated(self, children: list[Program]) -> Program:
        children[0].append(Connective.NOT)
        return children[0]

    def values(self, children: list[Any]) -> list[Any]:
        return children

    def number(self, children: list[Any]) -> float | int:
        token = children[0]
        try:
            return int(token) if re.fullmatch(r"[+-]?\d+", token) else float(token)
        except ValueError:
            raise _LiteralError("this number is too long", token.start_pos) from None

    def string(self, children: list[Any]) -> str:
        return re.sub(r"\\(.)", _unescape, str(children[0])[1:-1], flags=re.DOTALL)

    def constant(self, children: list[Any]) -> bool | None:
        return {"true": True, "false": False}.get(str(children[0]).lower())


def _joined(operands: list[Program], connective: Connective) -> Program:
    first, second = operands
    first.extend(second)
    first.append(connective)
    return first


def _comparison(field: lark.Token, operator: str, value: Any) -> Comparison:
    name = str(field)
    if name.startswith("`"):
        name = name[1:-1].replace("``", "`")
    return Comparison(name, operator, value, field.start_pos or 0)


def _unescape(match: re.Match[str]) -> str:
    character = match[1]
    if character in "'\"\\":
        return character
    return _ESCAPES.get(character, match[0])


_PARSER = lark.Lark(_GRAMMAR, parser="lalr", transformer=_ToProgram(), maybe_placeholders=False)


def _explain(error: lark.UnexpectedInput, query: str) -> NoReturn:
    """Turns what the parser met into a sentence."""
    position = error.pos_in_stream or 0
    if isinstance(error, lark.UnexpectedToken) and error.token.type == "$END":
        position = len(query.rstrip())
    found = re.match(r"[\w.]+|[^\w\s.'\"`()\[\]]+|.", query[position:], flags=re.DOTALL)
    word = found[0].strip() if found else ""
    wanted = _wanted(_expected_terminals(error), query[:position])
    what = (
        f"expected {wanted}, found {word!r}" if word else f"the query ends too early: expected {wanted}"
    )
    raise QueryError(what + _advice(word, wanted), query, position) from None


def _expected_terminals(error: lark.UnexpectedInput) -> set[str]:
    if isinstance(error, lark.UnexpectedToken):
        return set(error.accepts or error.expected)
    return set(getattr(error, "allowed", None) or ())


_COMPARISON = "a comparison (==, !=, <, <=, >, >=, in, not in)"
_VALUE = "a value (a number, a 'string', True, False, None or a [list])"
_FIELD = "a field such as config.lr or info.status"
_LIST = "a list such as [1, 2]"
_NEXT_ITEM = "',' or ']'"
_CLOSING = "&, | or ')'"
_CONNECTIVE = "&, | or the end"


def _wanted(expected: set[str], before: str) -> str:
    if "COMPARISON" in expected:
        return _COMPARISON
    if "NUMBER" in expected:
        return _VALUE
    if "FIELD" in expected:
        return _FIELD
    if "LSQB" in expected:
        return _LIST
    # The parser's states do not tell these apart.
    if before.count("[") > before.count("]"):
        return _NEXT_ITEM
    return _CLOSING if before.count("(") > before.count(")") else _CONNECTIVE


def _advice(word: str, wanted: str) -> str:
    if word in _INTENDED:
        return f": did you mean {_INTENDED[word]}?"
    if word in ("'", '"'):
        return f": the string has no closing {word}" if wanted == _VALUE else ""
    if wanted == _VALUE and re.fullmatch(r"[\w.]+", word):
        return f": a string needs quotes, as in '{word}'"
    if wanted == _FIELD and re.fullmatch(r"[^\W\d]\w*", word):
        return ": fields start with config. or info."
    if wanted == _FIELD and re.match(r"[\d.]", word):
        return ": the field comes first, as in config.lr < 1"
    if wanted == _COMPARISON and re.match(r"\w", word):
        return _nearest(word, ["in", "not in"]) or ": a field with odd characters needs `backquotes`"
    if wanted in (_CLOSING, _CONNECTIVE) and re.match(r"\w", word):
        return _nearest(word, ["and", "or"])
    return ""


def _nearest(word: str, words: Sequence[str]) -> str:
    close = difflib.get_close_matches(word.lower(), words, n=1)
    return f": did you mean {close[0]}?" if close else ""
