"""Where a study lies among the runs, and its journal."""

import contextlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlxpy_core._errors import MlxpyError, StorageError
from mlxpy_core._io._links import held_path, make_folder, open_below, opened_folder
from mlxpy_core._io._owners import foreign_owner, owner_name
from mlxpy_core._runs._directory import make_results_directory
from mlxpy_core._runs._metrics_files import cut_torn_line

_STUDIES = ".studies"  # hidden, as all that is no run
_NAME = re.compile(r"\w[\w.+-]*")


@dataclass(frozen=True)
class StudyDirectory:
    """The directory of a study, ``<parent_log_dir>/.studies/<name>``.

    Attributes:
        path: a path that leads there as long as the directory is held open: optuna opens the journal
            again and again, and whoever may write beside the study could put a link in its place.
        name: the study's name.
    """

    path: Path
    name: str

    @property
    def journal(self) -> Path:
        """The journal of optuna; optuna-dashboard opens it."""
        return self.path / "journal.log"

    def cut_torn_line(self) -> None:
        """Cuts off what a killed process has left of a line of the journal: optuna would refuse it.

        Raises:
            StorageError: the file system refused.
        """
        try:
            descriptor = os.open(self.journal, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(f"cannot open the journal in {self.path.resolve()}", error) from error
        try:
            cut_torn_line(descriptor)
        finally:
            os.close(descriptor)


def study_path(logs: Path, name: object) -> Path | None:
    """Returns the directory of a study; None if it has no such name."""
    return logs / _STUDIES / name if isinstance(name, str) and _NAME.fullmatch(name) else None


@contextmanager
def make_study_directory(parent_log_dir: Path, name: str) -> Iterator[StudyDirectory]:
    """Makes the directory of a study, held open in the block; one that exists is taken as it is.

    Raises:
        MlxpyError: the name cannot be a directory's, or the study is another user's.
        StorageError: it cannot be made.
    """
    if not _NAME.fullmatch(name):
        raise MlxpyError(
            f"study={name} is no name for a study: give letters, digits and - _ . + without spaces"
        )
    path = parent_log_dir / _STUDIES / name
    try:
        make_results_directory(parent_log_dir)
        make_folder(path.parent, parent_log_dir)
        with opened_folder(path.parent, parent_log_dir) as here, contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=here)  # whatever the umask is, nobody else writes there
        folder = open_below(path, parent_log_dir, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise StorageError(f"cannot make the directory of the study {path}", error) from error
    try:
        study = StudyDirectory(held_path(folder, path), name)
        owner = foreign_owner(f"{study.path}/", study.journal)
        if owner is not None:
            raise MlxpyError(
                f"the study {name} in {parent_log_dir} is {owner_name(owner)}'s: give yours another "
                "name by hydra.sweeper.study=NAME"
            )
        yield study
    finally:
        os.close(folder)
