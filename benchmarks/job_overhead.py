"""A job of a sweep: with ``hydra/callbacks=mlxp_logger`` against without."""

import sys
import tempfile
from pathlib import Path

from ._measure import TRIVIAL_APP, Result, take_turns, time_command

JOBS = 50
ROUNDS = 10


def measure() -> Result:
    """Sweeps over 50 trivial jobs in turn; what the process costs is shared out among its jobs."""
    with tempfile.TemporaryDirectory() as directory:
        app = Path(directory, "app.py")
        app.write_text(TRIVIAL_APP)
        rounds = take_turns(
            ROUNDS, lambda: _time_a_job(app, "hydra/callbacks=mlxp_logger"), lambda: _time_a_job(app)
        )
    return Result("job of a sweep", "ms a job", rounds, "difference", bound=10)


def _time_a_job(app: Path, *overrides: str) -> float:
    command = [sys.executable, app.name, "-m", f"+x=range({JOBS})", *overrides]
    return time_command(command, app.parent) / JOBS


if __name__ == "__main__":
    print(measure())
