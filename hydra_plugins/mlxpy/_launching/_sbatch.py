"""Slurm's directives as submitit writes them. Seen with submitit 1.5.4."""

import re
from collections.abc import Mapping
from typing import Any

from submitit import SlurmExecutor

from mlxpy_core import MlxpyError


def sbatch_directives(options: Mapping[str, Any]) -> list[str]:
    """Returns the directives of some options of submitit's executor, and none that it writes of itself.

    Raises:
        MlxpyError: one of them would not be a single line.
    """
    for name, value in {**options, **(options.get("additional_parameters") or {})}.items():
        if "\n" in str(value):
            raise MlxpyError(f"{name} becomes a directive: give it in one line, not as {value!r}")
    executor = _SbatchFile(folder=".")
    of_itself = executor.directives({})
    return [one for one in executor.directives(options) if one not in of_itself]


class _SbatchFile(SlurmExecutor):
    """Writes the file that sbatch would get, and submits nothing."""

    @classmethod
    def affinity(cls) -> int:
        return 1  # also where there is no srun

    def directives(self, options: Mapping[str, Any]) -> list[str]:
        # It has defaults for some parameters, and leaves out those that are None.
        left_out = dict.fromkeys(self._valid_parameters())
        self.parameters = {**left_out, **self._convert_parameters(dict(options))}
        return re.findall(r"^#SBATCH (.*)$", self._make_submission_file_text("", ""), re.MULTILINE)
