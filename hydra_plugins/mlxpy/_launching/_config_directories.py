"""The config directories of an app, as the options that name a copy of them."""

import importlib.util
from pathlib import Path

from omegaconf import DictConfig

from mlxpy_core import frozen_configs

# By the providers that Hydra names for them.
_OPTIONS = {"main": "--config-path", "command-line": "--config-dir"}


def frozen_config_options(config: DictConfig, parent_log_dir: Path, *, copy: bool = True) -> list[str]:
    """Copies the directories of an app's configs and returns the options that name the copies.

    Args:
        config: the sweep's config.
        parent_log_dir: the directory of all runs.
        copy: whether to make the copies; otherwise the options name where they would be.

    Raises:
        StorageError: a file cannot be read or written.
    """
    options = []
    for source in config.hydra.runtime.config_sources:
        directory = _directory(source.schema, source.path)
        if source.provider in _OPTIONS and directory:
            options += [
                _OPTIONS[source.provider],
                str(frozen_configs(directory, parent_log_dir, copy=copy)),
            ]
    return options


def _directory(schema: str, path: str) -> Path | None:
    if schema == "file":
        directory = Path(path)
    elif schema == "pkg" and path:
        package, *folders = path.replace("/", ".").split(".")
        spec = importlib.util.find_spec(package)
        if not (spec and spec.submodule_search_locations):
            return None
        directory = Path(next(iter(spec.submodule_search_locations)), *folders)
    else:
        return None
    return directory if directory.is_dir() else None
