"""A sweep of 1,000 jobs to Slurm: by ``mlxp_slurm``, against ``submitit_slurm`` up to its submission."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ._measure import TRIVIAL_APP, Result, clean_environment, take_turns

JOBS = 1000
ROUNDS = 3

# Holds the jobs, so that none ever starts, and leaves what sbatch printed to find them by.
_HOLDING_SBATCH = """\
#!/bin/sh
printed=$({sbatch} --hold "$@") || exit
echo "$printed" > {submitted}.part && mv {submitted}.part {submitted}
echo "$printed"
"""


def measure() -> Result:
    """Submits with the one and the other in turn, and cancels the jobs, which never run.

    submitit waits for its jobs, so it is timed until sbatch is done.
    """
    sbatch = shutil.which("sbatch")
    if not sbatch:
        sys.exit("slurm_sweep needs a Slurm to submit to: there is no sbatch")
    with tempfile.TemporaryDirectory() as directory:
        holding = Path(directory, "bin", "sbatch")
        holding.parent.mkdir()
        holding.write_text(
            _HOLDING_SBATCH.format(sbatch=sbatch, submitted=holding.with_name("submitted"))
        )
        holding.chmod(0o755)
        rounds = take_turns(
            ROUNDS,
            lambda: _submit("mlxp_slurm", holding.parent),
            lambda: _submit("submitit_slurm", holding.parent),
        )
    return Result(f"submission of {JOBS} jobs", "ms", rounds, "ratio", bound=0.04)


def _submit(launcher: str, path: Path) -> float:
    with tempfile.TemporaryDirectory() as directory:
        app = Path(directory, "app.py")
        app.write_text(TRIVIAL_APP)
        environment = clean_environment()
        environment["PATH"] = f"{path}{os.pathsep}{environment['PATH']}"
        submitted = path / "submitted"
        submitted.unlink(missing_ok=True)
        command = [sys.executable, app.name, "-m", f"hydra/launcher={launcher}", f"+x=range({JOBS})"]
        with Path(directory, "printed").open("w+") as printed:
            start = time.perf_counter()
            process = subprocess.Popen(
                command, cwd=directory, env=environment, stdout=printed, stderr=subprocess.STDOUT
            )
            try:
                while process.poll() is None and not (
                    launcher == "submitit_slurm" and submitted.exists()
                ):
                    time.sleep(0.005)
                elapsed = time.perf_counter() - start
            finally:
                process.kill()
                process.wait()
            if not submitted.exists():
                printed.seek(0)
                sys.exit(f"{' '.join(command)} failed:\n{printed.read()}")
        found = re.search(r"\d+", submitted.read_text())
        assert found
        subprocess.run(["scancel", found[0]], check=True)
    return elapsed * 1e3


if __name__ == "__main__":
    print(measure())
