"""YAML as the metadata files hold it: safe types only, read the same by PyYAML and OmegaConf."""

import re
from typing import Any

import yaml

try:
    from yaml import CSafeDumper as _BaseDumper
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML built without libyaml: the same, slower
    from yaml import SafeDumper as _BaseDumper  # type: ignore[assignment]  # without libyaml
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]  # without libyaml


class _Dumper(_BaseDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    # Tracebacks are read by people; the emitter falls back to quotes where a block cannot hold it.
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)
# OmegaConf reads 1e-3 as a number where YAML 1.1 reads a string: a string of that form is quoted.
_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def dump_yaml(data: Any) -> str:
    """Writes plain data (dicts, lists, strings, numbers, booleans, None) as YAML."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False)


def load_yaml(text: str) -> Any:
    """Reads YAML of safe types.

    Raises:
        yaml.YAMLError: the text is not YAML.
    """
    return yaml.load(text, Loader=_Loader)
