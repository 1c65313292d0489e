"""Imports of a program that runs from a copy of its repository come from that copy.

This file's folder stands first on the PYTHONPATH of such a program, so each of its interpreters imports
this as ``sitecustomize``, after all path files (``.pth``) were read. Under any other name it does
nothing but offer its functions to the engine.

It runs at every start, so it imports nothing that an interpreter has not imported by then; importlib's
modules have the names ``_frozen_importlib...`` at that time.
"""

import os
import sys
from _frozen_importlib import ModuleSpec, module_from_spec
from _frozen_importlib_external import PathFinder, spec_from_file_location

TYPE_CHECKING = False  # typing is a slow import
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import ModuleType, TracebackType
    from typing import Any

VARIABLE = "MLXPY_SAFE_COPY"
OWN_FOLDER = os.path.join("mlxpy_core", "_versioning", "_startup")


class SafeCopy:
    """A copy of a repository that programs run from.

    Args:
        repository: The absolute path of the development tree.
        copy: The absolute path of the copy; it may lie inside the repository.
        names: Other spellings of the repository's path.
        paths: Folders of the copy that programs import from, whether the repository still exists or not.
    """

    def __init__(
        self, repository: str, copy: str, names: "Iterable[str]" = (), paths: "Iterable[str]" = ()
    ) -> None:
        self.repository = repository
        self.copy = copy
        self.paths = list(paths)
        spellings = map(os.path.normpath, (repository, os.path.realpath(repository), *names))
        self.names = list(dict.fromkeys(spellings))
        # What is not moved, under all names of the repository: the copy, and a Python that lies inside.
        self.kept: set[str] = set()
        pythons = (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix)
        for place in {copy, *pythons}:
            for spelled in {os.path.normpath(place), os.path.realpath(place)}:
                inside = [below for name in self.names if (below := _below(spelled, name))]
                self.kept.update(os.path.join(name, below) for below in inside for name in self.names)
                # A Python such as /usr may hold the repository.
                if all(_below(name, spelled) is None for name in self.names):
                    self.kept.add(spelled)

    @classmethod
    def read(cls, text: str) -> "SafeCopy":
        """Reads what the environment variable holds.

        Raises:
            ValueError: It is damaged.
        """
        values = _parsed(text)
        if not isinstance(values, dict):
            raise ValueError("it is no mapping")
        for key in ("repository", "copy"):
            if not isinstance(values.get(key), str) or not os.path.isabs(values[key]):
                raise ValueError(f"its {key} is no absolute path")
        lists = [values.get(key, []) for key in ("names", "paths")]
        for one in lists:
            if not isinstance(one, list) or not all(isinstance(path, str) for path in one):
                raise ValueError("its names or paths are no list of paths")
        return cls(values["repository"], values["copy"], *lists)


def _parsed(text: str) -> "Any":
    """Parses JSON; without the module json if possible, which takes as long as Python's whole start."""
    try:
        from _json import make_scanner

        class Plain:
            strict = True
            object_hook = object_pairs_hook = None
            parse_float, parse_int, parse_constant = float, int, float

        value, end = make_scanner(Plain)(text, 0)  # type: ignore[arg-type] # asks for json's own class
        if end == len(text):
            return value
    except Exception:  # noqa: S110 # any difference between Pythons, or a text that json explains
        pass
    import json

    return json.loads(text)


def _below(path: str, folder: str) -> str | None:
    """Returns the path relative to a folder that it lies in; empty for the folder itself."""
    if path == folder:
        return ""
    return path[len(folder) + 1 :] if path.startswith(folder + os.sep) else None


def moved(path: str, copy: SafeCopy) -> str | None:
    """Returns the place in the copy of a path in the development tree, which may be gone.

    Returns:
        None for any other path: outside the repository, relative, in the copy already, or of a Python
        (its prefixes and every ``site-packages``).
    """
    if not os.path.isabs(path):
        return None
    spellings = (os.path.normpath(path), os.path.realpath(path))
    if any(_below(one, kept) is not None for one in spellings for kept in copy.kept):
        return None
    for one in spellings:
        for name in copy.names:
            if (below := _below(one, name)) is not None:
                if {"site-packages", "dist-packages"} & set(below.split(os.sep)):
                    return None
                return os.path.join(copy.copy, below) if below else copy.copy
    return None


class SafeCopyFinder:
    """Asks the finders after it, and gives the copy's module for one of the development tree.

    Args:
        copy: Where the modules are.
    """

    def __init__(self, copy: SafeCopy) -> None:
        self._copy = copy
        self._folders: dict[str, str] = {}

    def find_spec(
        self, name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> ModuleSpec | None:
        """Finds a module, as the import system asks for it.

        Raises:
            ModuleNotFoundError: The development tree has it, the copy has not. If this gave None, the
                import system would ask the other finders itself.
        """
        refused = False
        after = sys.meta_path[sys.meta_path.index(self) + 1 :] if self in sys.meta_path else []
        for finder in after:
            if find := getattr(finder, "find_spec", None):
                search = self._moved_path(path) if finder is PathFinder else path
                spec = find(name, search, target)
                if spec and (here := self.moved_spec(spec)):
                    return here
                refused = refused or bool(spec or (search is not path and find(name, path, target)))
        if refused:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None

    def _moved_path(self, path: "Sequence[str] | None") -> "Sequence[str] | None":
        """Moves what a program put on sys.path, which stays as the program left it."""
        entries = list(sys.path if path is None else path)
        here = [self._folder(entry) if isinstance(entry, str) else entry for entry in entries]
        return path if here == entries else here

    def moved_spec(self, spec: ModuleSpec) -> ModuleSpec | None:
        """Returns the module's spec in the copy; the same for a module outside the development tree."""
        folders = spec.submodule_search_locations
        here = None if folders is None else [self._folder(folder) for folder in folders]
        if spec.has_location and spec.origin:
            origin = self._file(spec.origin)
            if origin == spec.origin:
                return spec
            if not os.path.isfile(origin):
                return None
            return spec_from_file_location(spec.name, origin, submodule_search_locations=here)
        if folders is None or here is None or here == list(folders):
            return spec
        namespace = ModuleSpec(spec.name, None, is_package=True)
        namespace.submodule_search_locations = [folder for folder in here if os.path.isdir(folder)]
        return namespace if namespace.submodule_search_locations else None

    def _file(self, path: str) -> str:
        if os.path.islink(path):
            return self._place(path)
        folder, name = os.path.split(path)
        return os.path.join(self._folder(folder), name)

    def _folder(self, path: str) -> str:
        if not os.path.isabs(path):
            return path
        if path not in self._folders:
            self._folders[path] = self._place(path)
        return self._folders[path]

    def _place(self, path: str) -> str:
        if here := moved(path, self._copy):
            return here
        # A link to the development tree that lies in site-packages, or in a folder of links.
        linked = moved(os.path.realpath(path), self._copy)
        return linked if linked and os.path.exists(linked) else path


def _move_everything(copy: SafeCopy) -> None:
    """Moves sys.path, what finders of editable installs know, and all imports from now on."""
    sys.path[:] = [moved(entry, copy) or entry for entry in sys.path]
    sys.path += [path for path in copy.paths if path not in sys.path]
    for known in sys.meta_path:
        name = getattr(known, "__module__", "")
        if name.startswith("__editable__") and name in sys.modules:
            # Those of setuptools find only what exists, as the development tree need not.
            places = vars(sys.modules[name]).get("MAPPING", {})
            places.update({package: moved(place, copy) or place for package, place in places.items()})
    finder = SafeCopyFinder(copy)
    sys.meta_path.insert(0, finder)
    for name, module in list(sys.modules.items()):
        # A path file may have imported a module of the development tree.
        spec = getattr(module, "__spec__", None)
        if name != __name__ and isinstance(spec, ModuleSpec) and finder.moved_spec(spec) is not spec:
            del sys.modules[name]


def _run_other_sitecustomize() -> None:
    """Runs what Python would have imported if this file were not there."""
    others = [entry for entry in sys.path if not os.path.realpath(entry).endswith(os.sep + OWN_FOLDER)]
    spec = PathFinder.find_spec(__name__, others)
    if spec and spec.has_location and spec.loader:
        sys.modules[__name__] = module = module_from_spec(spec)
        spec.loader.exec_module(module)


def hint(error: BaseException, copy: SafeCopy) -> str | None:
    """Says in one sentence that what an error did not find is in the development tree only, if so."""
    try:
        places = list(_missing_places(error))
    except OSError:  # the current directory is gone
        return None
    for place in places:
        for root in {copy.copy, os.path.realpath(copy.copy)}:
            if not (below := _below(place, root)) or os.path.lexists(place):
                continue
            parts = below.split(os.sep)
            ways = [os.path.join(*parts[:count]) for count in range(1, len(parts) + 1)]
            top = next(way for way in ways if not os.path.lexists(os.path.join(root, way)))
            # A file that was to be written fails for its folder.
            for missing in (below, top) if isinstance(error, FileNotFoundError) else (below,):
                if os.path.exists(there := os.path.join(copy.repository, missing)):
                    plain = all(letter.isalnum() or letter in "/._-" for letter in top)
                    return (
                        f"{missing} is not in the copy of the repository that this program runs from, "
                        f"because git does not track it; it is in {there}: commit it, or link it into "
                        f"the copy with link=[{top if plain else repr(top)}]"
                    )
    return None


def _missing_places(error: BaseException) -> "Iterator[str]":
    """Lists the paths where what an error did not find could have been."""
    if isinstance(error, FileNotFoundError) and isinstance(error.filename, (str, bytes, os.PathLike)):
        yield os.path.abspath(os.fsdecode(error.filename))
    elif isinstance(error, ImportError) and error.name:
        from importlib.machinery import all_suffixes

        names = [error.name]
        if error.msg.startswith("cannot import name '"):
            names.append(f"{error.name}.{error.msg.split(chr(39))[1]}")
        for name in names:
            package, _, last = name.rpartition(".")
            ways = [(folder, last) for folder in getattr(sys.modules.get(package), "__path__", ())]
            ways += [(folder, name.replace(".", os.sep)) for folder in sys.path]
            for folder, module in ways:
                for suffix in (*all_suffixes(), ""):
                    yield os.path.abspath(os.path.join(folder, module + suffix))


def _hint_after_tracebacks(copy: SafeCopy) -> None:
    """Lets uncaught errors say what is only in the development tree."""
    before = sys.excepthook

    def excepthook(
        kind: type[BaseException], error: BaseException, traceback: "TracebackType | None"
    ) -> None:
        before(kind, error, traceback)
        if sentence := hint(error, copy):
            print(f"mlxpy: {sentence}", file=sys.stderr)

    sys.excepthook = excepthook


def _start() -> None:
    copy = None
    # Another sitecustomize may import this one a second time.
    if not any(type(finder).__name__ == SafeCopyFinder.__name__ for finder in sys.meta_path):
        try:
            copy = SafeCopy.read(text) if (text := os.environ.get(VARIABLE)) else None
        except ValueError as error:
            print(
                f"mlxpy: imports do not come from the copy of the repository: the environment variable "
                f"{VARIABLE} is damaged: {error}",
                file=sys.stderr,
            )
    if copy:
        _move_everything(copy)
    try:
        _run_other_sitecustomize()
    finally:
        if copy:
            _hint_after_tracebacks(copy)


if __name__ == "sitecustomize":
    _start()
