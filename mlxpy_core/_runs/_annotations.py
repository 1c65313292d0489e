"""What people say of a run besides what it says itself: tags, a note, and that it is archived.

It lies in a file of its own, ``.keys/annotations.yaml``: info.yaml is written by the run's process,
which may live. Tags that the run was started with, or that its program adds, are in info.yaml; this file
holds which are there besides, and which somebody has taken away.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._files import read_text, write_whole
from mlxpy_core._io._retries import can_pass
from mlxpy_core._io._text import is_unicode
from mlxpy_core._io._yaml import dump_yaml, load_yaml

from ._directory import RunDirectory

ANNOTATED = ("tags", "note", "archived")
"""The fields of info that may come from here."""

_FILE = ".keys/annotations.yaml"
_LONGEST_TAG, _LONGEST_NOTE = 100, 10_000  # characters


@dataclass(frozen=True)
class Annotations:
    """What people say of a run.

    Attributes:
        tags: those that were added (True) or taken away (False), whatever info.yaml says.
        note: a text; empty for none.
        archived: whether listings leave the run out once it has ended.
    """

    tags: Mapping[str, bool] = field(default_factory=dict)
    note: str = ""
    archived: bool = False

    def added_to(self, info: Mapping[str, Any]) -> dict[str, Any]:
        """Returns an info with what is said here; one of no tags has no field of them."""
        given = info.get("tags")
        tags = [tag for tag in given if isinstance(tag, str)] if isinstance(given, list) else []
        tags = [tag for tag in tags if self.tags.get(tag, True)]
        tags += [tag for tag, there in self.tags.items() if there]
        said = {"tags": sorted(set(tags)), "note": self.note, "archived": self.archived}
        others = {key: value for key, value in info.items() if key not in ANNOTATED}
        return {**others, **{name: value for name, value in said.items() if value}}

    def added_to_fields(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the flat fields of a run with what is said here, in the place of what was."""
        names = {f"info.{name}": name for name in ANNOTATED}
        info = {name: fields[field] for field, name in names.items() if field in fields}
        others = {field: value for field, value in fields.items() if field not in names}
        return {**others, **{f"info.{name}": value for name, value in self.added_to(info).items()}}


def check_tags(tags: Iterable[Any]) -> list[str]:
    """Returns tags, each once, if they are names that a command can give.

    Raises:
        MlxpyError: one is not; it says why.
    """
    if isinstance(tags, str):
        raise MlxpyError(f"tags={tags!r} is one text: give a list of tags, such as [{tags!r}]")
    return list(dict.fromkeys(map(_checked, tags)))


def _checked(tag: Any) -> str:
    wrong = None
    if not isinstance(tag, str):
        wrong = "is no text"
    elif not tag:
        wrong = "is empty"
    elif tag[0] in "+-":
        wrong = "begins with + or -, which say whether a tag is added or taken away"
    elif any(character.isspace() or character == "," for character in tag):
        wrong = "holds a space or a comma"
    elif not tag.isprintable():
        wrong = "holds a character that cannot be shown"
    elif len(tag) > _LONGEST_TAG:
        wrong = f"has more than {_LONGEST_TAG} characters"
    if wrong:
        raise MlxpyError(f"the tag {tag!r} {wrong}: give a word, such as baseline")
    return str(tag)


def check_note(text: str) -> str:
    """Returns the text of a note without blanks around it.

    Raises:
        MlxpyError: it cannot be written down.
    """
    if len(text) > _LONGEST_NOTE:
        raise MlxpyError(
            f"a note has at most {_LONGEST_NOTE} characters, and this has {len(text)}: "
            "log_artifact takes longer ones"
        )
    if not is_unicode(text):
        raise MlxpyError("the note holds bytes that are no text in UTF-8: leave them out")
    return text.strip()


def read_annotations(run: str | os.PathLike[str]) -> Annotations:
    """Reads what people say of a run; a file that may not be read, or is damaged, says nothing.

    Raises:
        OSError: the file system is away.
    """
    try:
        said = load_yaml(read_text(f"{run}/{_FILE}", os.path.dirname(run)))
        tags = {str(tag): bool(there) for tag, there in (said.get("tags") or {}).items()}
        note = said.get("note")
        return Annotations(tags, note if isinstance(note, str) else "", said.get("archived") is True)
    except OSError as error:
        if can_pass(error):
            raise
    except (ValueError, AttributeError, yaml.YAMLError):
        pass
    return Annotations()


def write_annotations(directory: RunDirectory, said: Annotations) -> None:
    """Writes what people say of a run, whole or not at all.

    Raises:
        StorageError: the file system refused.
    """
    fields = {"tags": dict(said.tags), "note": said.note, "archived": said.archived}
    write_whole(directory.path / _FILE, dump_yaml(fields), directory.logs)
