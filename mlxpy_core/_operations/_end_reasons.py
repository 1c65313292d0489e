"""Why jobs have ended: what their scheduler knows, and what it wrote to their output."""

import contextlib
import os
import re
from collections.abc import Mapping

from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._files import open_regular
from mlxpy_core._plugins._scheduler import Scheduler
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._end_reason import EndReason
from mlxpy_core._runs._status import ENDED, Status

_LAST_OUTPUT = 2**14  # so many bytes of a job's output may hold its scheduler's message
_ENDED_BADLY = ENDED - {Status.COMPLETE}


def reasons_of_ended(scheduler: Scheduler, states: Mapping[str, Status]) -> dict[str, EndReason]:
    """Asks a scheduler why those of its jobs have ended that have, and did not complete."""
    ended = sorted(job_id for job_id, state in states.items() if state in _ENDED_BADLY)
    if not ended:
        return {}
    with contextlib.suppress(MlxpyError):  # the statuses do not wait for it
        return scheduler.end_reasons(ended)
    return {}


def told_reason(scheduler: Scheduler, run: RunDirectory, job: Status | None) -> EndReason | None:
    """Returns why a run's job ended by what its scheduler wrote to the run's error output."""
    if not scheduler.memory_message or job not in _ENDED_BADLY:
        return None
    try:
        descriptor = open_regular(run.path / "log.stderr", run.logs)
        with os.fdopen(descriptor, "rb") as file:
            file.seek(max(0, os.fstat(descriptor).st_size - _LAST_OUTPUT))
            text = file.read(_LAST_OUTPUT).decode(errors="replace")
    except OSError:
        return None
    told = re.search(scheduler.memory_message, text, flags=re.MULTILINE)
    return EndReason.OUT_OF_MEMORY if told else None
