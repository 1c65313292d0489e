"""Artifacts: objects stored as files, each kind of object by its type's pair of functions."""

import functools
import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import yaml

from mlxpy_core._errors import MlxpyError, UnstorableValueError
from mlxpy_core._io._files import read_text, whole_file, write_whole
from mlxpy_core._io._retries import OUTAGE_S, Retries
from mlxpy_core._io._yaml import dump_yaml, load_yaml
from mlxpy_core._plugins._artifact_type import ArtifactType, Load, Save
from mlxpy_core._plugins._manager import call_plugins, report
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._names import check_name, check_unlinked

from ._pickles import load_next_pickle


def save_pickle(obj: Any, path: Path) -> None:
    """Stores any object; classes and functions of ``__main__`` travel along (cloudpickle)."""
    import cloudpickle

    with open(path, "wb") as file:
        cloudpickle.dump(obj, file)


def load_pickle(path: Path) -> Any:
    """Loads what `save_pickle` stored. Unpickling runs code that the file names."""
    with open(path, "rb") as file:
        return load_next_pickle(file)


def _save_numpy(obj: Any, path: Path) -> None:
    import numpy

    with open(path, "wb") as file:
        if isinstance(obj, Mapping):
            arrays: dict[str, Any] = {name: numpy.asarray(array) for name, array in obj.items()}
            if objects := [name for name, array in arrays.items() if array.dtype.hasobject]:
                raise TypeError(f"{objects[0]!r} is an array of objects")
            numpy.savez(file, **arrays)
        else:
            numpy.save(file, numpy.asarray(obj), allow_pickle=False)


def _load_numpy(path: Path) -> Any:
    import numpy

    loaded = numpy.load(path, allow_pickle=False)
    if isinstance(loaded, numpy.ndarray):
        return loaded
    with loaded:  # a dict of arrays
        return dict(loaded)


def _save_torch(obj: Any, path: Path) -> None:
    import torch

    torch.save(obj, path)


def _load_torch(path: Path) -> Any:
    import torch

    return torch.load(path, map_location="cpu", weights_only=False)


def _save_image(obj: Any, path: Path) -> None:
    """Stores a Pillow image, a matplotlib figure, or an array of height by width (by 3 or 4)."""
    if hasattr(obj, "savefig"):
        obj.savefig(path, format="png")
        return
    from PIL import Image

    if not isinstance(obj, Image.Image):
        import numpy

        array = numpy.asarray(obj)
        if array.dtype.kind == "f":
            array = (array.clip(0, 1) * 255).round().astype(numpy.uint8)
        obj = Image.fromarray(array)
    obj.save(path, format="PNG")


def _load_image(path: Path) -> Any:
    from PIL import Image

    with Image.open(path) as image:
        image.load()
        return image


def _save_json(obj: Any, path: Path) -> None:
    path.write_text(json.dumps(obj, indent=1) + "\n", encoding="utf-8")


def _load_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _save_text(obj: Any, path: Path) -> None:
    if not isinstance(obj, str):
        raise TypeError(f"expected a string, not {type(obj).__name__}")
    path.write_text(obj, encoding="utf-8", newline="")


def _load_text(path: Path) -> str:
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()


def _save_reference(obj: Any, path: Path) -> None:
    """Stores where a file or a directory lies; in the run's own directory it may be moved with that."""
    target = Path(os.path.realpath(os.fspath(obj)))
    if not target.exists():
        raise TypeError(f"there is no file {target}")
    run = _run_of_artifact(Path(os.path.realpath(path)))
    inside = target.is_relative_to(run)
    content = {"path": str(target.relative_to(run) if inside else target), "in_run": inside}
    _save_json(content, path)


def _load_reference(path: Path) -> Path:
    """Returns the path of what `_save_reference` was given."""
    content = _load_json(path)
    target = Path(content["path"])
    if content["in_run"]:
        target = _run_of_artifact(path) / target
    if not target.exists():
        raise FileNotFoundError(f"{target}, to which the artifact {path} refers, is no longer there")
    return target


def _run_of_artifact(path: Path) -> Path:
    return next(place.parent.parent for place in path.parents if place.parent.name == "artifacts")


BUILT_IN_TYPES = {
    artifact_type.name: artifact_type
    for artifact_type in (
        ArtifactType("Checkpoint", save_pickle, load_pickle, ".pkl"),
        ArtifactType("pickle", save_pickle, load_pickle, ".pkl"),
        ArtifactType("numpy", _save_numpy, _load_numpy, ".npy"),
        ArtifactType("torch", _save_torch, _load_torch, ".pt"),
        ArtifactType("image", _save_image, _load_image, ".png"),
        ArtifactType("json", _save_json, _load_json, ".json"),
        ArtifactType("text", _save_text, _load_text, ".txt"),
        ArtifactType("reference", _save_reference, _load_reference, ".json"),
    )
}


class ArtifactStore:
    """The artifacts of one run.

    Args:
        locate: returns the run's directory, which may be moved meanwhile.
    """

    def __init__(self, locate: Callable[[], RunDirectory]) -> None:
        self._locate = locate
        self._registered: dict[str, ArtifactType] = {}

    @property
    def _directory(self) -> Path:
        """Where artifacts lie; made with the first one."""
        return self._locate().artifacts

    @property
    def _types_file(self) -> Path:
        """Where registered types are listed, by the import path of their functions."""
        return self._locate().state / "artifact_types.yaml"

    def register(self, name: str, save: Save, load: Load) -> None:
        """Adds a type; see `Logger.register_artifact_type`."""
        artifact_type = ArtifactType(name, save, load)
        _check_type(artifact_type)
        self._registered[name] = artifact_type
        paths = {"save": _import_path(save), "load": _import_path(load)}
        listed = self._listed_types()
        if listed.get(name) != paths:
            write_whole(self._types_file, dump_yaml({**listed, name: paths}), self._locate().logs)

    def path(self, name: str, artifact_type: ArtifactType) -> Path:
        """Returns the file of an artifact."""
        check_name(name, "an artifact's name")
        # The dicts of arrays that numpy stores have a suffix of their own.
        suffixes = (
            artifact_type.suffix,
            ".npz" if artifact_type.name == "numpy" else artifact_type.suffix,
        )
        suffix = "" if name.endswith(suffixes) else artifact_type.suffix
        directory = self._directory
        path = directory / artifact_type.name / (name + suffix)
        # The file itself may be a link: a new one takes its place.
        check_unlinked(path.parent, directory.parent, f"artifact {name!r}")
        return path

    def save(self, obj: Any, name: str, type_name: str) -> None:
        """Stores an object whole, or raises and stores nothing."""

        def save() -> None:
            artifact_type = self._type(type_name)
            path = self.path(name, artifact_type)
            with whole_file(path, self._locate().logs) as temporary:
                _call_save(artifact_type, obj, temporary, name)

        Retries(OUTAGE_S, announce=True)(save)

    def load(self, name: str, type_name: str | None) -> Any:
        """Loads an object by its name, and by its type where two types use the name."""
        if type_name is None:
            type_name = self._only_type_with(name)
        artifact_type = self._type(type_name)
        path = self.path(name, artifact_type)
        if not path.is_file():
            path = path.with_name(PurePath(name).name)  # MLXP adds no suffix
        if not path.is_file():
            raise FileNotFoundError(f"no artifact {name!r} of type {type_name!r} in {self._directory}")
        return artifact_type.load(path)

    def load_file(self, path: Path, type_name: str) -> Any:
        """Loads an object from a file that is known to be there."""
        return self._type(type_name).load(path)

    def _only_type_with(self, name: str) -> str:
        check_name(name, "an artifact's name")
        stored = self._directory.iterdir() if self._directory.is_dir() else iter(())
        types = [
            folder.name
            for folder in sorted(stored)
            if folder.is_dir()
            and any((folder / (name + suffix)).is_file() for suffix in ("", _suffix(folder.name)))
        ]
        if not types:
            raise FileNotFoundError(f"no artifact {name!r} in {self._directory}")
        if len(types) > 1:
            raise MlxpyError(
                f"artifact {name!r} exists as {' and '.join(types)}: "
                f"name one, as in load_artifact({name!r}, {types[0]!r})"
            )
        return types[0]

    def _type(self, name: str) -> ArtifactType:
        if name in BUILT_IN_TYPES:
            return BUILT_IN_TYPES[name]
        known = {**_types_of_plugins(), **self._registered}
        if name in known:
            return known[name]
        listed = self._listed_types()
        if name in listed:
            check_name(name, "an artifact type's name", folders=False)
            paths = listed[name]
            return ArtifactType(name, _import(paths["save"], name), _import(paths["load"], name))
        there_are = ", ".join(sorted({*BUILT_IN_TYPES, *known, *listed}))
        raise MlxpyError(
            f"no artifact type {name!r}; there are {there_are} (register_artifact_type adds one)"
        )

    def _listed_types(self) -> dict[str, dict[str, str]]:
        if not self._types_file.exists():
            return {}
        try:
            listed = load_yaml(read_text(self._types_file, self._locate().logs)) or {}
            return {
                str(name): {"save": str(paths["save"]), "load": str(paths["load"])}
                for name, paths in listed.items()
            }
        except (AttributeError, LookupError, TypeError, ValueError, yaml.YAMLError) as error:
            raise MlxpyError(f"{self._types_file} is not what mlxpy wrote: remove it") from error


def _suffix(type_name: str) -> str:
    types = BUILT_IN_TYPES if type_name in BUILT_IN_TYPES else _types_of_plugins()
    return types[type_name].suffix if type_name in types else ""


@functools.cache  # what is wrong with one is reported once
def _types_of_plugins() -> dict[str, ArtifactType]:
    types: dict[str, ArtifactType] = {}
    for plugin, given in call_plugins("mlxpy_artifact_types").items():
        _add_types(types, plugin, given)
    return types


def _add_types(types: dict[str, ArtifactType], plugin: str, given: Any) -> None:
    try:
        types.update(_checked_types(given, types))
    except MlxpyError as error:
        report(f"the artifact types of the plugin {plugin!r} are left out: {error}")


def _checked_types(given: Any, others: Collection[str]) -> dict[str, ArtifactType]:
    types: dict[str, ArtifactType] = {}
    for artifact_type in given if isinstance(given, Sequence) else [given]:
        if not isinstance(artifact_type, ArtifactType):
            raise MlxpyError(
                f"{artifact_type!r} is no mlxpy.ArtifactType: "
                "give mlxpy.ArtifactType(name, save, load, suffix)"
            )
        _check_type(artifact_type)
        if artifact_type.name in {*others, *types}:
            raise MlxpyError(
                f"artifact type {artifact_type.name!r} is given twice: uninstall one of the plugins"
            )
        types[artifact_type.name] = artifact_type
    return types


def _check_type(artifact_type: ArtifactType) -> None:
    name = artifact_type.name
    check_name(name, "an artifact type's name", folders=False)
    if name in BUILT_IN_TYPES:
        raise MlxpyError(f"artifact type {name!r} is built in; register yours by another name")
    for function in (artifact_type.save, artifact_type.load):
        if not callable(function):
            raise MlxpyError(
                f"artifact type {name!r}: {function!r} is no function: "
                "give save(obj, path) and load(path)"
            )


def _call_save(artifact_type: ArtifactType, obj: Any, path: Path, name: str) -> None:
    try:
        artifact_type.save(obj, path)
    except (OSError, MemoryError, MlxpyError):
        raise
    except ImportError as error:
        raise MlxpyError(
            f"artifact {name!r} of type {artifact_type.name!r} needs {error.name}: "
            f"install it, or choose another type"
        ) from error
    except Exception as error:
        raise UnstorableValueError(
            f"cannot store a {type(obj).__name__} as artifact {name!r} of type "
            f"{artifact_type.name!r}: {error}"
        ) from error
    if not path.is_file():
        raise MlxpyError(
            f"artifact type {artifact_type.name!r}: save(obj, path) wrote no file at that path"
        )


def _import_path(function: Callable[..., Any]) -> str:
    return f"{function.__module__}:{getattr(function, '__qualname__', type(function).__qualname__)}"


def _import(path: str, type_name: str) -> Callable[..., Any]:
    import pkgutil  # not at the start of every program

    try:
        # Names of a script or of a local function mean something else, or nothing, in this process.
        if path.startswith("__main__:") or "<" in path:
            raise ImportError(f"{path} cannot be imported")
        function: Callable[..., Any] = pkgutil.resolve_name(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise MlxpyError(
            f"artifact type {type_name!r} was registered with {path}, which is not found here "
            f"({error}): call register_artifact_type({type_name!r}, save, load) first"
        ) from error
    return function
