"""What a version manager is: it decides which code runs, and from where."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Version:
    """The code that a program runs.

    Attributes:
        repository: the top of the user's working tree.
        copy: the directory that holds the code and from which it runs; None to run it where it is.
        description: what info.yaml has of it under ``version_manager``: plain data. Where it has a list
            under ``requirements``, runs fill that with the distributions they import.
    """

    repository: Path
    copy: Path | None
    description: dict[str, Any]


class VersionManager(ABC):
    """Base of version managers.

    Args:
        parent_work_dir: where copies lie, absolute.
        options: the other options of ``hydra.callbacks.mlxp_git``, but for the name.
    """

    def __init__(self, *, parent_work_dir: Path, **options: Any) -> None:
        self.parent_work_dir = parent_work_dir
        self.options = options

    @abstractmethod
    def prepare(self, directories: Sequence[Path]) -> Version:
        """Brings the code into the state in which it is to run.

        Called once for each command, before a run gets its number.

        Args:
            directories: where to look for the code: the directory of the program's main file, if there
                is one, and that in which the command was typed.

        Raises:
            MlxpyError: the command is not to run; the message says why.
        """
