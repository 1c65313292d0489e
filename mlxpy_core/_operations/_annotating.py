"""What people say of runs, changed while the processes of these may be writing to them."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._files import do_at_once
from mlxpy_core._io._owners import foreign_owner, owner_name
from mlxpy_core._runs._annotations import Annotations, check_tags, read_annotations, write_annotations
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._info_file import info_path, renew_info_stamp
from mlxpy_core._runs._run_claims import claim_operation
from mlxpy_core._runs._summary import renew_summary

Change = Callable[[Annotations], Annotations]
"""Returns what is to be said of a run, of what is said."""


@dataclass
class Annotated:
    """What came of a change.

    Attributes:
        runs: the numbers of the runs that it was made in.
        left: why others are left alone, a sentence each.
    """

    runs: list[int] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def tagged(changes: Sequence[str]) -> Change:
    """Returns the change that adds tags and takes others away: ``+baseline``, ``-old``.

    Raises:
        MlxpyError: there is none, or one is no such change, or both are said of a tag.
    """
    if not changes or any(change[:1] not in ("+", "-") for change in changes):
        raise MlxpyError("no tag: +baseline adds the tag baseline, -baseline takes it away")
    added, taken = (check_tags(change[1:] for change in changes if change[0] == sign) for sign in "+-")
    if both := sorted({*added} & {*taken}):
        raise MlxpyError(f"+{both[0]} and -{both[0]}: is the tag to be added or taken away?")
    tags = {**dict.fromkeys(added, True), **dict.fromkeys(taken, False)}
    return lambda said: replace(said, tags={**said.tags, **tags})


def noted(note: str) -> Change:
    """Returns the change that puts a note in the place of another one."""
    return lambda said: replace(said, note=note)


def archived(value: bool) -> Change:
    """Returns the change that archives runs, or undoes that."""
    return lambda said: replace(said, archived=value)


def annotate(runs: Iterable[RunDirectory], change: Change) -> Annotated:
    """Changes what is said of runs; what one refuses leaves the others."""
    done = Annotated()

    def annotate_one(run: RunDirectory) -> None:
        try:
            _annotate(run, change)
        except MlxpyError as refusal:
            done.left.append(str(refusal))
        else:
            done.runs.append(run.log_id)

    do_at_once(annotate_one, runs)
    done.runs.sort()
    return done


def _annotate(run: RunDirectory, change: Change) -> None:
    """Changes what is said of a run; of several processes that do so at once, none loses anything.

    Raises:
        MlxpyError: the run is another user's, its info.yaml is damaged, or another process has held the
            file for a minute.
        StorageError: the file system refused.
    """
    owner = foreign_owner(info_path(run.path))
    if owner is not None and not os.access(info_path(run.path), os.W_OK):
        raise MlxpyError(f"run {run.log_id} is {owner_name(owner)}'s, who lets nobody else change it")
    claim = claim_operation(run, "annotation", patient=True)
    try:
        said = read_annotations(run.path)
        after = change(said)
        if after != said:
            write_annotations(run, after)
        # Readers look at info.yaml alone. Also if nothing has changed: one may have been killed here.
        renew_summary(run, *renew_info_stamp(run), after)
    except OSError as error:
        raise MlxpyError(f"run {run.log_id} cannot be changed: {error.strerror}") from error
    finally:
        claim.release()
