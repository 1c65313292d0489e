"""Runs that share a job: what its script does with each, and what is noted of each."""

import shlex
import time
from pathlib import Path

from mlxpy_core._io._files import write_unsynced
from mlxpy_core._plugins._scheduler import Scheduler
from mlxpy_core._runs._info_file import INFO_FILE

# Files of a run's .keys: the array that it was submitted in, and that its script has ended there.
_BUNDLE, _ENDED = "bundle", "script_ended"
# So long a run's final status may be on its way through a shared file system.
_LATE_S = 60


def note_bundle(run: Path, directory: Path) -> None:
    """Notes the directory of the array in which a run shares a job with others."""
    write_unsynced(run / ".keys" / _BUNDLE, f"{_bundle_name(directory)}\n", run.parent)


def leave_bundle(run: Path) -> None:
    """Takes a run that is to be submitted out of the job that it shared before."""
    for name in (_BUNDLE, _ENDED):
        (run / ".keys" / name).unlink(missing_ok=True)


def script_ended(run: Path) -> bool:
    """Returns whether a run's script is known to have ended, in a job that may go on with other runs."""
    try:
        return time.time() - (run / ".keys" / _ENDED).stat().st_mtime > _LATE_S
    except OSError:
        return False


def is_still_the_run(name: str) -> str:
    """Returns a shell command that tests whether ``$run`` is the run of a number and an identity.

    Args:
        name: a shell word that is both, as in ``5:r0123456789abcdef``.
    """
    variable = name.removeprefix("$")
    return f'grep -qsx "run_id: ${{{variable}#*:}}" "$run/{INFO_FILE}"'


def lines_of_bundle(scheduler: Scheduler, directory: Path, runs_per_job: int, start: str) -> list[str]:
    """Returns the lines of a script that start runs together and wait for them.

    The runs' numbers and identities are the script's positional parameters.

    Args:
        scheduler: what runs the script.
        directory: the directory of the array.
        runs_per_job: how many of the runs are started.
        start: the line that starts ``$run``.
    """
    final = ["COMPLETE"] if scheduler.can_requeue else ["COMPLETE", "INTERRUPTED"]
    patterns = " ".join(f"-e 'status: {status}'" for status in final)
    bundle = shlex.quote(_bundle_name(directory))
    return [
        "processes=",
        "started=0",
        "for id; do",
        f"    [ $started -lt {runs_per_job} ] || break",
        "    started=$((started + 1))",
        f"    run={shlex.quote(str(directory.parent.parent))}/${{id%:*}}",
        f"    {is_still_the_run('$id')} || continue",
        # The job was put back for the sake of another run: this one is complete, or was cancelled, or
        # submitted again as part of another job.
        f'    if grep -qsx {patterns} "$run/{INFO_FILE}"; then continue; fi',
        f'    grep -qsFx {bundle} "$run/.keys/{_BUNDLE}" || continue',
        # The scheduler does not know which of its job's runs have ended.
        f'    rm -f "$run/.keys/{_ENDED}"',
        # Made anew, by no link that somebody may have put there.
        f'    {{ {start}; ended=$?; set -C; : > "$run/.keys/{_ENDED}"; exit $ended; }} &',
        '    processes="$processes $!"',
        "done",
        "status=0",
        "for process in $processes; do",
        "    wait $process || status=$?",
        "done",
        "exit $status",
    ]


def _bundle_name(directory: Path) -> str:
    return f"{directory.parent.name}/{directory.name}"
