"""The files of runs that are to be submitted, and the scripts by which they are."""

import itertools
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlxpy_core._io._files import write_all_whole
from mlxpy_core._io._links import make_folder
from mlxpy_core._io._yaml import RepeatedDumps
from mlxpy_core._plugins._scheduler import Scheduler
from mlxpy_core._runs._cancellation import forget_cancellation
from mlxpy_core._runs._info import submitted_info
from mlxpy_core._runs._info_file import info_path, keep_info
from mlxpy_core._runs._process import describe_living_process

from ._bundle import leave_bundle, note_bundle
from ._find_scheduler import scheduler_name
from ._grouping import Grouping
from ._job import Job
from ._script import array_script

SCRIPT_NAME = re.compile(r"script\.sh|\.script-\w+\.sh")
"""The names of scripts that are submitted, those besides that a scheduler needs that keeps no copy."""
ARRAY_NAME = re.compile(r"array(\.\d+)?")
"""The names of directories of arrays."""


class RunFiles:
    """Writes the files of runs that are to be submitted; what is the same for all is made once."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._cluster = scheduler.cluster  # asks the scheduler
        self._submitter = describe_living_process()
        self._infos, self._configs = RepeatedDumps(), RepeatedDumps()

    def write(self, job: Job) -> None:
        """Writes the files of a run, each of which is waited for until the disk has it."""
        # The job itself writes the rest. Each file counts: a sweep of a thousand jobs has thousands.
        directory = job.directory
        files = {}
        if job.earlier:
            make_folder(directory.state, directory.logs)
            keep_info(directory)
            forget_cancellation(directory)
            leave_bundle(directory.path)
        else:
            files[directory.config] = self._configs.dump(job.config)
        note, script = directory.job_note, directory.path / "script.sh"
        files[note] = job.note
        files[script] = job.script(self._scheduler)
        info = info_of_job(job, self._scheduler, self._cluster, self._submitter)
        files[info_path(directory.path)] = self._infos.dump(info)  # the last: with it it is a run
        # A new note is synced with the job's id; the note that is there must not be lost.
        unsynced = () if job.earlier else (note,)
        write_all_whole(files, directory.logs, scripts=(script,), unsynced=unsynced)


def info_of_job(
    job: Job, scheduler: Scheduler, cluster: str, submitter: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Makes the info of a run that waits in a queue, see `submitted_info`."""
    return submitted_info(
        job.directory,
        job.run_id,
        job.launch,
        scheduler_name(scheduler),
        cluster,
        job.earlier,
        submitter,
        {
            **({"options": job.changed_options} if job.changed_options else {}),
            **(job.after.fields if job.after else {}),
        },
        job.retries,
    )


def write_script(job: Job, scheduler: Scheduler) -> Path:
    """Writes the script of a job into its run's directory.

    Raises:
        StorageError: it cannot be written.
    """
    path = job.directory.path / "script.sh"
    write_all_whole({path: job.script(scheduler)}, job.directory.logs, scripts=(path,))
    return path


def script_of_group(scheduler: Scheduler, jobs: Sequence[Job], grouping: Grouping) -> Path:
    """Returns the script by which jobs are submitted together; that of an array is written."""
    alone = len(jobs) == 1
    script = jobs[0].directory.path / "script.sh" if alone else _write_array(scheduler, jobs, grouping)
    if scheduler.copies_script:
        return script
    # It starts what lies at the path when the job's turn comes. That may be another run's by then, whose
    # script has another name.
    path = script.with_name(f".script-{jobs[0].run_id}.sh")
    path.unlink(missing_ok=True)
    try:
        os.link(script, path)
    except OSError:  # a file system without hard links
        text = script.read_text(encoding="utf-8", errors="surrogateescape")
        write_all_whole({path: text}, jobs[0].directory.logs, scripts=(path,))
    return path


def _write_array(scheduler: Scheduler, jobs: Sequence[Job], grouping: Grouping) -> Path:
    runs = [job.directory.path for job in jobs]
    # In the first run's directory: it lives as long as the run does. A run that is submitted again may
    # be the first of an array that others still wait in.
    names = itertools.chain(["array"], map("array.{}".format, itertools.count(2)))
    directory = next(path for name in names if not (path := runs[0] / name).exists())
    text = array_script(
        scheduler,
        jobs[0].options,
        runs={job.directory.path: job.run_id for job in jobs},
        runs_per_task=grouping.runs_per_job,
        parallelism=grouping.array_parallelism,
        directory=directory,
    )
    logs = jobs[0].directory.logs
    make_folder(directory, logs)
    if grouping.runs_per_job > 1:
        for run in runs:
            note_bundle(run, directory)
    elif scheduler.output_by_index:
        for index, run in enumerate(runs, scheduler.first_index):
            for end in ("stdout", "stderr"):
                os.symlink(f"../../{run.name}/log.{end}", f"{directory}/{index}.{end}")
    path = directory / "script.sh"
    write_all_whole({path: text}, logs, scripts=(path,))
    return path
