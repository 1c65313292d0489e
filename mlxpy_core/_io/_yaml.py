"""YAML as the metadata files hold it: safe types only, read the same by PyYAML and OmegaConf."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from ._files import read_text
from ._links import StrPath

try:
    from yaml import CSafeDumper as _BaseDumper
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML built without libyaml: the same, slower
    from yaml import SafeDumper as _BaseDumper  # type: ignore[assignment]  # without libyaml
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]  # without libyaml


class _Dumper(_BaseDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


class _EscapingDumper(yaml.SafeDumper):
    """Escapes what libyaml refuses: surrogates, which stand for bytes that are not UTF-8."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: _Dumper | _EscapingDumper, text: str) -> yaml.ScalarNode:
    # Tracebacks are read by people; the emitter falls back to quotes where a block cannot hold it.
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


for _dumper in (_Dumper, _EscapingDumper):
    _dumper.add_representer(str, _represent_text)
    # OmegaConf reads 1e-3 as a number where YAML 1.1 reads a string: a string of that form is quoted.
    _dumper.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
        list("-+0123456789"),
    )
# How YAML escapes a surrogate, which libyaml refuses to read.
_SURROGATE = re.compile(r"\\(?:u|U0000)[dD][89a-fA-F]")


def dump_yaml(data: Any) -> str:
    """Writes plain data (dicts, lists, strings, numbers, booleans, None) as YAML."""
    try:
        return _dump(data, _Dumper)
    except UnicodeEncodeError:
        return _dump(data, _EscapingDumper)


def dump_fields(data: Mapping[str, Any]) -> str:
    """Writes plain data as `dump_yaml` does, in lines that others may follow."""
    # A text that ends in empty lines has the document end after it.
    return dump_yaml(dict(data)).removesuffix("...\n")


class RepeatedDumps:
    """Writes mappings as `dump_yaml` does; a field that has the same value in all is written once."""

    def __init__(self) -> None:
        self._texts: dict[Any, tuple[str, str]] = {}
        self._changing: set[Any] = set()

    def dump(self, data: Mapping[Any, Any]) -> str:
        """Writes plain data; safe in several threads."""
        texts: list[str] = []
        changing: dict[Any, Any] = {}
        for key, value in data.items():
            text = None if key in self._changing else self._text(key, value)
            if text is None:
                changing[key] = value
                continue
            if changing:
                texts.append(dump_yaml(changing))
                changing = {}
            texts.append(text)
        if changing or not texts:
            texts.append(dump_yaml(changing))
        if any(text.endswith("\n...\n") for text in texts):
            return dump_yaml(dict(data))  # after a text that ends in empty lines: it ends the document
        return "".join(texts)

    def _text(self, key: Any, value: Any) -> str | None:
        """Returns the lines of a field; None if its value is another one than before."""
        written = repr(value)  # 1, 1.0 and True are equal
        known, text = self._texts.get(key, ("", ""))
        if not known:
            text = dump_yaml({key: value})
            self._texts[key] = written, text
        elif known != written:
            self._changing.add(key)
            return None
        return text


def _dump(data: Any, dumper: type[_Dumper] | type[_EscapingDumper]) -> str:
    return yaml.dump(data, Dumper=dumper, sort_keys=False, allow_unicode=True, default_flow_style=False)


def load_yaml(text: str) -> Any:
    """Reads YAML of safe types; the text may be anybody's.

    Raises:
        yaml.YAMLError: the text is not YAML, or is made to exhaust whoever reads it.
    """
    loader = yaml.SafeLoader if "\\" in text and _SURROGATE.search(text) else _Loader
    try:
        _check_depth(text, loader)
        data = yaml.load(text, Loader=loader)  # noqa: S506  # both are safe
    except _LET_THROUGH as error:
        raise yaml.YAMLError(f"no value of its type ({error})") from error
    if "&" in text and "*" in text:
        _check_size(data)
    return data


def read_fields(path: StrPath, within: StrPath | None = None) -> dict[Any, Any] | None:
    """Reads a small file of YAML; None if it cannot be read now, or holds something else than fields.

    Args:
        path: the file.
        within: as for `whole_file`.
    """
    try:
        fields = load_yaml(read_text(path, within))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return fields if isinstance(fields, dict) else None


# What PyYAML raises besides its own errors, as for "!!bool x", "!!int ''" or a date of year 0.
_LET_THROUGH = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
_DEEPEST, _LARGEST = 200, 1_000_000


def _check_depth(text: str, loader: type[_Loader] | type[yaml.SafeLoader]) -> None:
    # libyaml's composer is recursive: ten thousands of brackets crash the process. A level takes a
    # bracket or a column, so that most texts need no closer look.
    if text.count("[") + text.count("{") < 500 and max(map(len, text.split("\n"))) < 500:
        return
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEEPEST:
                raise yaml.YAMLError(f"nested deeper than {_DEEPEST} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _check_size(data: Any) -> None:
    # A few lines of aliases of aliases stand for more than any memory holds, or for themselves.
    left, seen = [data], 0
    while left:
        value = left.pop()
        children = (
            list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
        )
        seen += 1 + len(children)
        if seen > _LARGEST:
            raise yaml.YAMLError(f"aliases that stand for more than {_LARGEST} values")
        left.extend(children)
