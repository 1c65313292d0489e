"""The grammar of the query language, and what to say of a query that does not follow it."""

import difflib
import functools
import re
from collections.abc import Sequence
from typing import Any, NoReturn

import lark

from ._predicate import Comparison, Connective, Predicate, QueryError

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
    | value _IN FIELD -> is_held
    | value _NOT _IN FIELD -> is_not_held
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
FIELD: /[^\W\d]\w*(?:[\/-]\w+)*(?:\.(?:[\w@+\/-]+|"(?:[^"\\]|\\.)*"|\[[\w.+-]+\]))+/s | /`(?:[^`]|``)+`/
%ignore /\s+/
"""

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0"}
_INTENDED = {"=": "==", "=>": ">=", "=<": "<=", "<>": "!=", "===": "==", "!": "~"}


def parse(query: str) -> Predicate:
    """Reads a query, see `parse_query`."""
    try:
        predicate: Any = _parser().parse(query)
    except lark.exceptions.VisitError as error:
        if isinstance(error.orig_exc, _LiteralError):
            raise QueryError(str(error.orig_exc), query, error.orig_exc.position) from None
        raise
    except _LiteralError as error:
        raise QueryError(str(error), query, error.position) from None
    except lark.UnexpectedInput as error:
        _explain(error, query)
    return list(predicate)


class _LiteralError(Exception):
    def __init__(self, what: str, position: int) -> None:
        super().__init__(what)
        self.position = position


@lark.v_args(inline=True)
class _ToPredicate(lark.Transformer[lark.Token, Any]):
    """Builds the predicate from the bottom up, while the query is parsed."""

    def compare(self, field: lark.Token, comparison: lark.Token, value: Any) -> Predicate:
        return [_comparison(field, str(comparison), value)]

    def is_in(self, field: lark.Token, values: list[Any]) -> Predicate:
        return [_comparison(field, "in", values)]

    def is_not_in(self, field: lark.Token, values: list[Any]) -> Predicate:
        return [_comparison(field, "not in", values)]

    def is_held(self, value: Any, field: lark.Token) -> Predicate:
        return [_comparison(field, "holds", value)]

    def is_not_held(self, value: Any, field: lark.Token) -> Predicate:
        return [_comparison(field, "holds not", value)]

    def either(self, first: Predicate, second: Predicate) -> Predicate:
        return _extended(first, *second, Connective.OR)

    def both(self, first: Predicate, second: Predicate) -> Predicate:
        return _extended(first, *second, Connective.AND)

    def negated(self, operand: Predicate) -> Predicate:
        return _extended(operand, Connective.NOT)

    def values(self, *items: Any) -> list[Any]:
        return list(items)

    def number(self, token: lark.Token) -> float | int:
        try:
            return int(token) if re.fullmatch(r"[+-]?\d+", token) else float(token)
        except ValueError:
            raise _LiteralError("this number is too long", token.start_pos or 0) from None

    def string(self, token: lark.Token) -> str:
        return re.sub(r"\\(.)", _unescape, str(token)[1:-1], flags=re.DOTALL)

    def constant(self, token: lark.Token) -> bool | None:
        return {"true": True, "false": False}.get(str(token).lower())


def _extended(predicate: Predicate, *steps: Comparison | Connective) -> Predicate:
    predicate.extend(steps)
    return predicate


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


@functools.cache
def _parser() -> lark.Lark:
    return lark.Lark(_GRAMMAR, parser="lalr", transformer=_ToPredicate(), maybe_placeholders=False)


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
    advice = _advice(word, wanted, query[position + len(word) :])
    raise QueryError(what + advice, query, position) from None


def _expected_terminals(error: lark.UnexpectedInput) -> set[str]:
    if isinstance(error, lark.UnexpectedToken):
        return set(error.accepts or error.expected)
    return set(getattr(error, "allowed", None) or ())


_COMPARISON = "a comparison (==, !=, <, <=, >, >=, in, not in)"
_VALUE = "a value (a number, a 'string', True, False, None or a [list])"
_FIELD = "a field such as config.lr or info.status"
_MEMBERSHIP = "in or not in, as in 'baseline' in info.tags"
_BEGINS_BY_VALUE = re.compile(
    r"""(?:^|[&|(~]|\b(?:and|or|not)\b)\s*(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[\w.+-]+)\s*$""",
    flags=re.IGNORECASE | re.DOTALL,
)
_LIST = "a list such as [1, 2]"
_NEXT_ITEM = "',' or ']'"
_CLOSING = "&, | or ')'"
_CONNECTIVE = "&, | or the end"


def _wanted(expected: set[str], before: str) -> str:
    if "COMPARISON" in expected:
        return _COMPARISON
    if "FIELD" in expected:
        return _FIELD
    if "NUMBER" in expected:
        return _VALUE
    if "LSQB" in expected:
        return _LIST
    # The parser's states do not tell these apart.
    if "_IN" in expected and _BEGINS_BY_VALUE.search(before):
        return _MEMBERSHIP
    if before.count("[") > before.count("]"):
        return _NEXT_ITEM
    return _CLOSING if before.count("(") > before.count(")") else _CONNECTIVE


def _advice(word: str, wanted: str, after: str) -> str:
    if word in _INTENDED:
        return f": did you mean {_INTENDED[word]}?"
    if word in ("'", '"'):
        return f": the string has no closing {word}" if wanted in (_VALUE, _FIELD) else ""
    if wanted == _VALUE and re.fullmatch(r"[\w.]+", word):
        return f": a string needs quotes, as in '{word}'"
    if wanted == _MEMBERSHIP and re.match(r"[=!<>]", word):
        return ": the field comes first, as in config.lr < 1"
    if wanted == _FIELD and re.match(r"\s+(not\s+)?in\b", after):
        return f": a string needs quotes, as in '{word}' in info.tags"
    if wanted == _FIELD and re.fullmatch(r"[^\W\d]\w*", word):
        return ": fields start with config. or info."
    if wanted == _COMPARISON and re.match(r"\w", word):
        return _nearest(word, ["in", "not in"]) or ": a field with odd characters needs `backquotes`"
    if wanted in (_CLOSING, _CONNECTIVE) and re.match(r"\w", word):
        return _nearest(word, ["and", "or"])
    return ""


def _nearest(word: str, words: Sequence[str]) -> str:
    close = difflib.get_close_matches(word.lower(), words, n=1)
    return f": did you mean {close[0]}?" if close else ""
