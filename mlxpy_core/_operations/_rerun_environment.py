"""Has a run made again with the versions that it had, by an environment that holds them."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mlxpy_core._errors import MlxpyError
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._scheduling._job import Job
from mlxpy_core._scheduling._script import ShellLine
from mlxpy_core._versioning._environments import environment_python, recorded_requirements
from mlxpy_core._versioning._recorded_code import CodeOfRun


def code_with_environment(
    run: RunDirectory, info: Mapping[str, Any], job: Job | None, code: CodeOfRun
) -> CodeOfRun:
    """Has the code of a run run in an environment that holds the distributions that the run imported.

    Raises:
        MlxpyError: they are not on record, or cannot be installed again.
    """
    version = info["version_manager"] or {}
    if not version.get("requirements"):
        raise MlxpyError(
            f"there is no record of what run {run.log_id} had installed: the callback mlxp_git keeps "
            "one (compute_requirements); leave --env out"
        )
    if job and isinstance(job.command, ShellLine):
        raise MlxpyError(
            f"the command of run {run.log_id} is a line for a shell, which chooses its Python: "
            "leave --env out"
        )
    if job and job.options.container:
        raise MlxpyError(
            f"run {run.log_id} ran in the container {job.options.container}, which holds what it had "
            "installed: leave --env out"
        )
    requirements = recorded_requirements(version, _python_version(run, info))
    python = environment_python(requirements)
    now = [f"{name} is installed from its directory as it is now" for name in requirements.local]
    caveat = "; ".join(filter(None, [code.caveat, *now]))
    return replace(code, command=[python, *code.command[1:]], caveat=caveat)


def _python_version(run: RunDirectory, info: Mapping[str, Any]) -> str:
    recorded = (info["version_manager"] or {}).get("python")
    if isinstance(recorded, str):
        return recorded
    # Earlier versions did not write it down.
    executable = str(info.get("executable"))
    if os.path.isabs(executable) and os.path.exists(executable):
        program = "import platform; print(platform.python_version())"
        done = subprocess.run([executable, "-c", program], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return done.stdout.strip()
    raise MlxpyError(
        f"it is not known which Python run {run.log_id} had, whose interpreter {executable} is gone: "
        "leave --env out"
    )
