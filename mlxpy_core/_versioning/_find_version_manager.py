"""Finds a version manager by its name: the built-in one, or a class of the user's."""

from mlxpy_core._plugins._dotted import load_class

from ._version_manager import VersionManager


def find_version_manager(name: str) -> type[VersionManager]:
    """Finds a version manager's class by the name of a built-in one or by its dotted path.

    Raises:
        MlxpyError: there is none, or it is no `VersionManager`.
    """
    if name == "GitVM":
        from ._git_manager import GitVM  # git is needed only where it is asked for

        return GitVM
    hint = "give GitVM, or the dotted path of a class of yours"
    return load_class(name, VersionManager, "version manager", hint)
