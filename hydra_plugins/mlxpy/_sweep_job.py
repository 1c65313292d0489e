"""Which job of a sweep this process is: what keeps a job from sweeping again."""

import hashlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from mlxpy_core import SWEEP_JOB_VARIABLE


@dataclass(frozen=True)
class SweepJob:
    """A job of a sweep.

    Attributes:
        number: its number in the sweep.
        overrides: the overrides by which it finds itself among the jobs of the sweep, where its program
            sets the arguments in code; None where the command of the job has its own.
        keeps_return_value: whether the launcher waits for what the task returns.
    """

    number: int
    overrides: list[str] | None
    keeps_return_value: bool

    def environment(self, program: tuple[str, str]) -> dict[str, str]:
        """Returns the variables by which the job's process knows.

        Args:
            program: what `main_program` returns.
        """
        path, digest = program
        return {SWEEP_JOB_VARIABLE: json.dumps({"program": path, "digest": digest, **vars(self)})}

    def index_in(self, jobs: Sequence[Sequence[str]], first: int) -> int:
        """Returns the index of this job in a sweep; ends the program where it is not there."""
        index = self.number - first
        if self.overrides is None or not (
            0 <= index < len(jobs) and list(jobs[index]) == self.overrides
        ):
            refuse_to_sweep()
        return index


def refuse_to_sweep() -> NoReturn:
    """Ends the program in one sentence."""
    sys.stdout.flush()
    raise SystemExit(
        "mlxpy: this program is a job of a sweep already, and sweeps again: its code sets the arguments "
        "of Hydra, or sweeps several times; type them in the command, as python main.py -m ..."
    )


def sweep_job_of_this_process() -> SweepJob | None:
    """Returns the job that this process is; None in a program that a job has started on purpose."""
    try:
        known = json.loads(os.environ[SWEEP_JOB_VARIABLE])
        job = SweepJob(known["number"], known["overrides"], known["keeps_return_value"])
    except (KeyError, ValueError, TypeError):
        return None
    path, digest = main_program()
    return job if path == known["program"] or digest == known["digest"] else None


def main_program() -> tuple[str, str]:
    """Returns the main file, or the command's words, and a digest that tells it in another copy."""
    main_file = getattr(sys.modules.get("__main__"), "__file__", None)
    try:
        path = os.path.realpath(main_file or "")
        content = Path(path).read_bytes()
    except OSError:
        path = " ".join(sys.orig_argv[1:3])
        content = path.encode(errors="surrogateescape")
    return path, hashlib.sha256(content).hexdigest()
