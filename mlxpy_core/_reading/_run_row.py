"""One run of the results: its fields, and what of it is loaded when it is asked for."""

import os
from collections.abc import Callable, Iterator, KeysView, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._flatten import find_field, no_field
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._metrics_files import files_of_all_ranks
from mlxpy_core._tracking._artifacts import ArtifactStore

from ._drawable import LAZY_CELL
from ._log_table import LogTable, ReadRows, read_log


class Artifact:
    """One file that a run logged as an artifact.

    Attributes:
        name: the file's name.
        path: where it lies.
    """

    def __init__(self, path: Path, run: Path, type_name: str) -> None:
        self.name = path.name
        self.path = path
        self._run = run
        self._type_name = type_name

    def load(self) -> Any:
        """Loads the object.

        That of a pickled type (pickle, Checkpoint, torch) runs code that the file names, that of a
        registered type imports and calls the function that the run names: load these from people whom
        you trust. The other types hold data only.

        Raises:
            MlxpyError: nobody knows how to load its type.
        """
        run = RunDirectory(self._run)
        return ArtifactStore(lambda: run).load_file(self.path, self._type_name)

    def __repr__(self) -> str:
        return f"Artifact({str(self.path)!r})"


class RunRow(Mapping[str, Any]):
    """One run as a mapping of its fields; metrics and artifacts are loaded when they are asked for.

    A metric is the list of the values that were logged, an artifact field a dict of `Artifact` by file
    name.

    Attributes:
        on_update: what is told of what `update` adds.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        lazy: Mapping[str, Callable[[], Any]],
        aliases: Mapping[str, str] = MappingProxyType({}),
        path: Path | None = None,
        app_logs: Callable[[], Mapping[str, ReadRows]] = dict,
    ) -> None:
        self._values = values
        self._lazy = lazy
        self._aliases = aliases
        self._path = path
        self._app_logs = app_logs
        self.on_update: Callable[[Mapping[str, Any]], object] | None = None

    def __getitem__(self, field: str) -> Any:
        field = find_field(field, self, self._aliases) or field
        if field in self._values:
            return self._values[field]
        if field in self._lazy:
            return self._lazy[field]()
        raise KeyError(no_field(field, self))

    def __iter__(self) -> Iterator[str]:
        yield from self._values
        yield from self._lazy

    def __len__(self) -> int:
        return len(self._values) + len(self._lazy)

    def __contains__(self, field: object) -> bool:
        return field in self._values or field in self._lazy

    def keys(self) -> KeysView[str]:
        """Names the fields."""
        return dict.fromkeys(self).keys()  # which show themselves as names

    def update(self, new_dict: Mapping[str, Any]) -> None:
        """Adds fields to this row, and as columns to the list that it was taken from.

        Files of the run are not changed.
        """
        self._values = {**self._values, **new_dict}
        self._lazy = {field: load for field, load in self._lazy.items() if field not in new_dict}
        if self.on_update:
            self.on_update(new_dict)

    @property
    def log_names(self) -> list[str]:
        """The names that `log` takes: those of the run's logs, and of what the app wrote."""
        files = files_of_all_ranks(self._path / "metrics") if self._path else {}
        return list(dict.fromkeys([*files, *self._app_logs()]))

    def log(self, log_name: str) -> LogTable:
        """Returns one log as a table: its rows as they were logged, with None for what a row has not.

        Args:
            log_name: the log; ``rank1/train`` for that of another rank; ``tensorboard`` or
                ``csv/metrics`` for what the app wrote.

        Raises:
            MlxpyError: the run has no such log.
        """
        if self._path is None:
            raise MlxpyError(f"no log {log_name!r}: this row was computed, and is no run")
        return read_log(self._path, log_name, self._app_logs())

    def __repr__(self) -> str:
        return repr({**self._values, **dict.fromkeys(self._lazy, LAZY_CELL)})


class _Artifacts(dict[str, Artifact]):
    """Artifacts by file name; one is found by the name without its suffix, too, as it was logged.

    So is a checkpoint of the run among its pickles, where MLXP has them.
    """

    def __init__(self, artifacts: dict[str, Artifact], checkpoints: dict[str, Artifact]) -> None:
        super().__init__(artifacts)
        self._found = {**checkpoints, **artifacts}

    def __missing__(self, name: str) -> Artifact:
        files = [file for file in self._found if name in (file, os.path.splitext(file)[0])]
        if len(files) != 1:
            raise KeyError(name)
        return self._found[files[0]]


def artifacts_of(
    run: Path, type_name: str, folder: str, names: Mapping[str, Any]
) -> dict[str, Artifact]:
    """Returns the artifacts of a type and a folder, by file name."""

    def of_type(kind: str) -> dict[str, Artifact]:
        directory, files = run / "artifacts" / kind / folder, names["artifacts"].get(kind, {})
        return {name: Artifact(directory / name, run, kind) for name in files.get(folder, ())}

    return _Artifacts(of_type(type_name), of_type("Checkpoint") if type_name == "pickle" else {})
