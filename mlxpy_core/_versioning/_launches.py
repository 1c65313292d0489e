"""How this process was launched, and how an earlier run was, also from a copy of its code."""

import os
import shlex
import sys
from collections.abc import Mapping
from typing import Any

from mlxpy_core._runs._launch import Launch

from ._current_copy import original_place
from ._restart import recorded_launch


def launch_of_this_process() -> Launch:
    """Describes how the process that asks was launched."""
    main_file = getattr(sys.modules.get("__main__"), "__file__", None)
    recorded = recorded_launch()
    return Launch(
        cmd=shlex.join(recorded.cmd if recorded else sys.orig_argv),
        executable=sys.executable,
        current_file_path=os.path.abspath(main_file) if main_file else None,
        work_dir=os.getcwd(),
        launch_dir=recorded.directory if recorded else original_place(os.getcwd()),
        version_manager=recorded.version_manager if recorded else None,
    )


def launch_of_info(info: Mapping[str, Any]) -> Launch:
    """Returns what info.yaml holds of how a run was launched."""
    return Launch(
        cmd=info["cmd"],
        executable=info["executable"],
        current_file_path=info["current_file_path"],
        work_dir=info["work_dir"],
        launch_dir=original_place(info["work_dir"]),
        overrides=list(info["overrides"]),
        version_manager=info["version_manager"],
        of_code=info.get("arguments_of_code", ""),
    )
