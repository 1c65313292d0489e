"""The fields in which two runs differ."""

from typing import Any

from mlxpy_core._errors import MlxpyError
from mlxpy_core._io._flatten import public_names
from mlxpy_core._reading._rows import identity
from mlxpy_core._reading._tables._columns import MISSING
from mlxpy_core._reading._tables._run_record import UnreadableRunError, read_run
from mlxpy_core._runs._directory import RunDirectory
from mlxpy_core._runs._info_file import info_stamp


def differences(
    first: RunDirectory, second: RunDirectory, prefixes: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Compares two runs as the reader compares values: 1 is 1.0, and not True.

    Returns:
        An object for each field that differs: ``field``, and ``first`` and ``second``, the value in
        each run that has the field.

    Raises:
        MlxpyError: a run cannot be read.
    """
    ours, theirs = _fields(first), _fields(second)
    names = public_names({**ours, **theirs})
    rows = []
    for field in dict.fromkeys([*ours, *theirs]):
        values = {"first": ours.get(field, MISSING), "second": theirs.get(field, MISSING)}
        if field.startswith(prefixes) and len(set(map(identity, values.values()))) > 1:
            given = {key: value for key, value in values.items() if value is not MISSING}
            rows.append({"field": names.get(field, field), **given})
    return rows


def _fields(run: RunDirectory) -> dict[str, Any]:
    try:
        return read_run(str(run.path), info_stamp(run)).fields
    except UnreadableRunError as error:
        raise MlxpyError(f"run {run.log_id} cannot be read: {error}") from error
    except OSError as error:
        raise MlxpyError(f"run {run.log_id} cannot be read: info.yaml: {error.strerror}") from error
