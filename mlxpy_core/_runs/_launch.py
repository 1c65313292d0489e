"""How a run came to be started."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Launch:
    """How a run came to be started.

    Attributes:
        cmd: the command as it was typed, quoted for a shell.
        executable: the Python interpreter.
        current_file_path: the program's main file; None in a notebook.
        work_dir: the directory in which the program runs.
        launch_dir: the directory in which the command was typed; another one if the program runs from a
            copy of its code.
        overrides: the settings that the command changed, as it named them.
        of_code: what the program's code sets the arguments of, ``run`` for its only run or ``runs`` for
            several; empty where they were typed in the command.
        version_manager: what the version manager recorded of the code; None without one.
        output_dir: Hydra's output directory, where the app may write by itself; empty: the run's.
        app_metrics: which files the reader takes for metrics that the app wrote by itself, see `Reader`;
            None for those of its choice.
        tags: those that the run is given.
        study: the name of the study of which the run is a trial; empty: of none.
        trial: the trial's number.
    """

    cmd: str
    executable: str
    current_file_path: str | None
    work_dir: str
    launch_dir: str
    overrides: list[str] = field(default_factory=list)
    version_manager: dict[str, Any] | None = None
    of_code: str = ""
    output_dir: str = ""
    app_metrics: list[str] | None = None
    tags: list[str] = field(default_factory=list)
    study: str = ""
    trial: int | None = None


def relative_to_launch(path: str | Path, launch: Launch) -> Path:
    """Makes a path that a user gave absolute: relative ones start where the command was typed."""
    return Path(os.path.abspath(os.path.join(launch.launch_dir, os.path.expanduser(path))))
